"""Everything a run depends on, settled and pinned before its first claim is read."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import PurePosixPath

from pydantic import BaseModel, ConfigDict, PositiveInt

from fraud_mlops import catalog
from fraud_mlops.command_options import options
from fraud_mlops.contract import Contract
from fraud_mlops.errors import SettingsError
from fraud_mlops.lakehouse.ranges import PartitionRange
from fraud_mlops.lakehouse.stores import absolute, is_local, models_root
from fraud_mlops.models.candidates import (
    MAX_CANDIDATES,
    SEEDS,
    Candidate,
    draw_candidates,
    load_candidates,
)
from fraud_mlops.registry.pointers import read_pointer
from fraud_mlops.settings import settings
from fraud_mlops.sources import SyntheticSource
from fraud_mlops.spark.choice import ENGINES, Engine

ASSETS = ("raw_zone", "model_artifact", "ml_outputs", "metrics")
"""What flows publish, in the order in which each builds on those before it."""

_BATCH_JOB, _DATABRICKS = "AWS_BATCH_JOB_ID", "DATABRICKS_RUNTIME_VERSION"
_VOLUMES = "/Volumes"  # of a Databricks driver, which outlive it
_LAUNCH_ID = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")


class RunPlan(BaseModel):
    """A run's inputs; the same plan gives the same outputs.

    named: the dataset as the person gave it, a name or a path, for commands to go on with.
    as_of: labels that become known after it are unknown to the run. hindsight: it was given, so
    that what a source says of later times is left out, and no mistake; else it is when the
    source is read.
    champion: version that was champion when the run began; None for a first run.
    partitions: the only ones wanted; as many as there are when None. assets: what is published.
    engine: what builds features and scores, this machine or Spark; by size when `auto`.
    threads: of the CPU, that it trains and scores by: float32 sums, and so a model's bytes, depend
    on their number.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    contract: Contract
    named: str
    launch_id: str
    run: str
    output_uri: str
    model_uri: str
    as_of: datetime
    sample_size: int | None
    source_seed: int | None
    seed: int
    candidates: tuple[Candidate, ...]
    champion: str | None
    threads: PositiveInt
    partitions: PartitionRange | None = None
    assets: tuple[str, ...] = ASSETS
    engine: Engine = "auto"
    hindsight: bool = False

    def publishes(self, *assets: str) -> bool:
        """Whether any of these is wanted."""
        return not set(assets).isdisjoint(self.assets)

    @property
    def options(self) -> str:
        """Of a flow that goes on with this run's dataset, lakehouse and registry."""
        return options(self.named, root=self.output_uri, models=self.model_uri)

    @property
    def lake_options(self) -> str:
        """Of a command that has nothing to do with the registry."""
        return options(self.named, root=self.output_uri)

    @property
    def threads_here(self) -> int:
        """As many as were planned with; fewer on a machine of fewer."""
        return min(self.threads, settings().threads)


def plan_run(
    dataset: str,
    *,
    run: str,
    launch_id: str | None = None,
    output_uri: str | None = None,
    model_uri: str | None = None,
    as_of: str | None = None,
    sample_size: int | None = None,
    seed: int | None = None,
    candidates: int | None = 4,
    candidates_file: str | None = None,
    partition_start: str | None = None,
    partition_end: str | None = None,
    assets: str | None = None,
    of_assets: Sequence[str] = ASSETS,
    engine: str = "auto",
) -> RunPlan:
    """Reads contract, candidates and champion; what is left out comes from the settings.

    dataset: a name, or the path of a contract. as_of: ISO 8601; by default the end of a
    generated source, and now for claims in files. seed: of training, and of a generated source.
    candidates: how many to draw; None for a run that trains none. partition_start, partition_end:
    first and last, both included; the first alone is that one. assets: names from `of_assets`
    with commas between; all of them when left out. engine: of features and scores, by size when
    `auto`.
    Raises ContractError or SettingsError for what cannot be planned with.
    """
    contract = catalog.load(dataset)
    _require_seed(seed or 0)
    root = absolute(output_uri or settings().lakehouse_uri)
    models = models_root(root, model_uri or settings().model_uri)
    _require_lasting(root, models)
    chosen = _candidates(candidates, candidates_file, seed or 0)
    pointer = read_pointer(models, contract.name, "champion")
    return RunPlan(
        contract=contract,
        named=dataset,
        launch_id=_launch_id(launch_id or run.rpartition("/")[2]),
        run=run,
        output_uri=root,
        model_uri=models,
        as_of=_as_of(as_of, contract),
        hindsight=as_of is not None,
        sample_size=sample_size,
        source_seed=seed,
        seed=seed or 0,
        candidates=tuple(chosen),
        champion=pointer.version if pointer else None,
        threads=settings().threads,
        partitions=_partitions(partition_start, partition_end, contract),
        assets=_assets(assets, of_assets),
        engine=_engine(engine),
    )


def _require_lasting(*roots: str) -> None:
    """A job of AWS Batch and a driver of Databricks have disks that go with them."""
    lost = [root for root in roots if is_local(root) and not _is_shared(root)]
    if lost and (place := _passing_place()):
        kind, store = place
        raise SettingsError(
            f"{lost[0]} would be a folder of {kind}, and go with it. Where the run is "
            f"started, or the flow is deployed, set LAKEHOUSE_URI={store} (and "
            "FRAUD_MODEL_URI, if that is a folder), or give --output-uri and --model-uri; "
            "or name in SHARED_FOLDERS a folder that all machines have mounted alike"
        )


def _is_shared(root: str) -> bool:
    """In a folder that outlives the machine."""
    shared = [folder for folder in (settings().shared_folders or "").split(":") if folder]
    if _DATABRICKS in os.environ:
        shared.append(_VOLUMES)
    path = PurePosixPath(posixpath.normpath(root.removeprefix("file://")))
    return any(path.is_relative_to(folder) for folder in shared)


def _passing_place() -> tuple[str, str] | None:
    """What this process is in that will go, and a store that it reaches."""
    if _BATCH_JOB in os.environ:
        return "a job of AWS Batch", "s3://BUCKET/FOLDER"
    if _DATABRICKS in os.environ:
        return "a Databricks driver", "abfss://CONTAINER@ACCOUNT.dfs.core.windows.net/FOLDER"
    return None


def _engine(name: str) -> Engine:
    for known in ENGINES:
        if name == known:
            return known
    raise SettingsError(f"--engine {name}: choose one of {', '.join(ENGINES)}")


def _partitions(first: str | None, last: str | None, contract: Contract) -> PartitionRange | None:
    if first:
        return PartitionRange.of(first, last or None, contract.partition)
    if last:
        raise SettingsError(f"--partition-end {last} needs --partition-start, the first partition")
    return None


def _assets(text: str | None, known: Sequence[str]) -> tuple[str, ...]:
    named = [name.strip() for name in (text or "").split(",") if name.strip()]
    if unknown := [name for name in named if name not in known]:
        raise SettingsError(
            f"--assets {', '.join(unknown)}: this flow publishes {', '.join(known)}"
        )
    return tuple(name for name in known if name in named or not named)


def _require_seed(seed: int) -> None:
    if not 0 <= seed < SEEDS:
        raise SettingsError(f"--seed is {seed}; give 0 to {SEEDS - 1}")


def _candidates(count: int | None, file: str | None, seed: int) -> list[Candidate]:
    if file:
        listed = load_candidates(file)
        if len(listed) > MAX_CANDIDATES:
            raise SettingsError(f"{file}: {len(listed)} candidates; give up to {MAX_CANDIDATES}")
        return listed
    if count is None:
        return []
    if not 1 <= count <= MAX_CANDIDATES:
        raise SettingsError(f"--candidates is {count}; give 1 to {MAX_CANDIDATES}")
    return draw_candidates(count, seed)


def _launch_id(text: str) -> str:
    if not _LAUNCH_ID.match(text):
        raise SettingsError(
            f"launch id {text!r} is no name: use letters, digits, '.', '_' and '-', at most 100"
        )
    return text


def _as_of(text: str | None, contract: Contract) -> datetime:
    """Of claims in files the future is nothing that could be known, and a wrong year would take
    their claims and labels of the future for known ones."""
    source, now = contract.source, datetime.now(UTC)
    if text is None:
        return source.end if isinstance(source, SyntheticSource) else now
    moment = _moment(text)
    if moment > now and not isinstance(source, SyntheticSource):
        raise SettingsError(
            f"--as-of {text} is after now, {now:%F %H:%M} UTC, and nobody knows yet what will be "
            "known then. Leave it out for all that is known now, or give an earlier time"
        )
    return moment


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise SettingsError(
            f"--as-of {text!r} is not a time; write 2024-12-31 or 2024-12-31T12:00Z"
        ) from None
