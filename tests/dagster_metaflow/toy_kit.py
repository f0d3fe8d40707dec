"""The toy flow as assets, in a folder of its own, run as users run them."""

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import dagster as dg
import psutil

from dagster_metaflow import MetaflowFlow, MetaflowResource, metaflow_assets
from dagster_metaflow.backends.local import LocalBackend
from dagster_metaflow.backends.processes import MARK
from dagster_metaflow.ledger import RECORD, LaunchRecord

HERE = Path(__file__).parent
FILE = Path(os.environ.get("TOY_FLOW", HERE / "toy" / "toy_flow.py"))
FLOW = MetaflowFlow(FILE, inputs=[FILE.with_name("contract.txt")])
MONTHS = dg.StaticPartitionsDefinition([f"2024-{month:02}" for month in range(1, 7)])
T = TypeVar("T")


class Toy:
    """One ledger, one Metaflow datastore, one Dagster instance."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def lake(self) -> Path:
        return self.folder / "lake"

    # -- what the toy does ---------------------------------------------------------------------

    def fail(self, step: str, times: int = 1) -> None:
        (self.folder / f"fail_{step}").write_text("x\n" * times)

    def hold(self, step: str) -> None:
        (self.folder / f"hold_{step}").touch()

    def release(self, step: str) -> None:
        (self.folder / f"hold_{step}").unlink(missing_ok=True)

    def wait_while_held(self, name: str) -> None:
        while (self.folder / f"hold_{name}").exists():
            (self.folder / f"held_{name}").write_text(str(os.getpid()))
            time.sleep(0.02)

    def is_held(self, step: str) -> int:
        """Number of the task that waits, 0 when none does."""
        path = self.folder / f"held_{step}"
        return int(path.read_text() or 0) if path.exists() else 0

    def wait_held(self, step: str) -> int:
        return wait_for(lambda: self.is_held(step), f"step {step} to be reached", 120)

    def tell(self, word: str) -> None:
        (self.folder / word).touch()

    @property
    def steps_run(self) -> Counter[str]:
        path = self.folder / "count"
        return Counter(path.read_text().split() if path.exists() else [])

    @property
    def published(self) -> Counter[str]:
        path = self.folder / "published"
        return Counter(path.read_text().splitlines() if path.exists() else [])

    @property
    def metaflow_runs(self) -> list[str]:
        return sorted(p.name for p in (self.folder / ".metaflow" / "ToyFlow").glob("[0-9]*"))

    def metaflow_tags(self, run: str) -> set[str]:
        meta = self.folder / ".metaflow" / "ToyFlow" / run / "_meta" / "_self.json"
        return set(json.loads(meta.read_text())["tags"])

    @property
    def launches(self) -> list[LaunchRecord]:
        files = (self.lake / "_reports" / "ToyFlow").glob(f"*/{RECORD}")
        found = [LaunchRecord.model_validate_json(file.read_text()) for file in files]
        return sorted(found, key=lambda record: record.launched)

    def processes(self) -> list[psutil.Process]:
        """Living processes of this toy's launches, whoever their parents are."""
        return [p for p in psutil.process_iter() if self._is_ours(p)]

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            environment = process.environ()
            ours = environment.get("TOY_FOLDER") == str(self.folder) and MARK in environment
            return ours and process.status() != psutil.STATUS_ZOMBIE
        except (psutil.Error, OSError):
            return False

    def supervisors(self) -> list[psutil.Process]:
        return [p for p in self.processes() if "supervisor.py" in " ".join(p.cmdline())]

    def supervisor(self) -> psutil.Process:
        [found] = self.supervisors()
        return found

    def scheduler(self) -> psutil.Process:
        return self.supervisor().children()[0]

    # -- as assets -----------------------------------------------------------------------------

    @property
    def local(self) -> dict[str, Any]:
        """Settings of the local backend."""
        variables = {
            "TOY_FOLDER": str(self.folder),
            "METAFLOW_HOME": str(self.folder / "metaflow_home"),
            # Else Metaflow looks for its records in the folders above too.
            "METAFLOW_DATASTORE_SYSROOT_LOCAL": str(self.folder),
            "METAFLOW_USER": "toy",
            "PYTHONWARNINGS": "ignore",
        }
        return {"working_directory": str(self.folder), "environment": variables}

    def resource(self, **settings: Any) -> MetaflowResource:
        local = LocalBackend(**{**self.local, **settings.pop("local", {})})
        given = {"ledger_root": str(self.lake), "local": local, "poll_seconds": 0.05}
        return MetaflowResource(**{**given, **settings})

    def assets(self, **options: Any) -> dg.AssetsDefinition:
        checks = [dg.AssetCheckSpec("sound", asset=name) for name in ("first", "second")]
        given: dict[str, Any] = {
            "flow": FLOW,
            "assets": ["first", "second"],
            "check_specs": checks,
            "name": "toy",
        }

        given.update(options)

        @metaflow_assets(**given)
        def toy(context: dg.AssetExecutionContext, metaflow: MetaflowResource) -> Iterator[Any]:
            for event in metaflow.run(context, given["flow"]).stream():
                self.wait_while_held("dagster")
                yield event

        return toy

    def instance(self) -> dg.DagsterInstance:
        """A persistent one, as of `dagster dev` with DAGSTER_HOME."""
        self.home.mkdir(exist_ok=True)
        settings = self.home / "dagster.yaml"
        if not settings.exists():
            settings.write_text("telemetry: {enabled: false}\n")
        return dg.DagsterInstance.from_config(str(self.home))

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def materialize(
        self,
        *,
        instance: dg.DagsterInstance | None = None,
        assets: dg.AssetsDefinition | None = None,
        config: dict[str, Any] | None = None,
        resource: MetaflowResource | None = None,
        **options: Any,
    ) -> dg.ExecuteInProcessResult:
        return dg.materialize(
            [assets or self.assets()],
            instance=instance,
            resources={"metaflow": resource or self.resource()},
            run_config={"ops": {"toy": {"config": config}}} if config else None,
            raise_on_error=False,
            **options,
        )

    def materialize_range(self, first: str, last: str, **options: Any) -> dg.ExecuteInProcessResult:
        """Months of 2024 in one run of Dagster's."""
        tags = {
            "dagster/asset_partition_range_start": first,
            "dagster/asset_partition_range_end": last,
        }
        return self.materialize(assets=self.assets(partitions_def=MONTHS), tags=tags, **options)

    def stop_all(self) -> None:
        for process in self.processes():
            try:
                process.send_signal(signal.SIGKILL)
            except psutil.NoSuchProcess:
                continue


@dataclass(frozen=True)
class Finished:
    """A toy that has been materialized once, undisturbed."""

    toy: Toy
    instance: dg.DagsterInstance
    result: dg.ExecuteInProcessResult


def wait_for(look: Callable[[], T], what: str, seconds: float = 60.0) -> T:
    deadline = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:g} s for {what}")
        time.sleep(0.05)
    return found


def materialized(instance: dg.DagsterInstance, asset: str) -> Sequence[dg.EventLogRecord]:
    """Materializations of an asset, the first one first."""
    records = instance.fetch_materializations(dg.AssetKey(asset.split("/")), limit=100).records
    return list(reversed(records))


def told(event: dg.EventLogRecord) -> dict[str, Any]:
    """Metadata of a materialization, as plain values."""
    assert event.asset_materialization is not None
    return {name: one.value for name, one in event.asset_materialization.metadata.items()}


def failure(result: dg.ExecuteInProcessResult) -> str:
    """What the operator reads of a failed step."""
    event = result.failure_data_for_node("toy")
    assert event is not None
    assert event.error is not None
    return event.error.cause.message if event.error.cause else event.error.message
