"""What a contract makes of its source: a dry run by the very code that ingests and splits it."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fraud_mlops.claims.canonical import Converted
from fraud_mlops.claims.faults import hints
from fraud_mlops.claims.files import Chunk
from fraud_mlops.claims.ingest import origin_of
from fraud_mlops.claims.intake import Intake
from fraud_mlops.claims.leaks import leaks
from fraud_mlops.claims.origins import Origin
from fraud_mlops.claims.quarantine import Quarantine
from fraud_mlops.claims.raw_zone import require_one_period, require_same_source
from fraud_mlops.claims.report import Summary
from fraud_mlops.claims.schema import masked_in_source, raw_schema, require_seasonal
from fraud_mlops.claims.staging import Staging
from fraud_mlops.claims.validation import Rules
from fraud_mlops.cli.windows import Windows, windows_of
from fraud_mlops.contract import AMOUNT, CLAIM_ID, EVENT_TIME, LABEL, LABEL_TIME, Contract
from fraud_mlops.errors import ContractError
from fraud_mlops.features.windows import entity_feature_names
from fraud_mlops.fields import in_words
from fraud_mlops.lakehouse.partitions import Lakehouse
from fraud_mlops.sources import SyntheticSource

# No one person, garage or broker of many has so large a share of the claims.
_CROWD = 0.25
_FEW = 20
_PROBLEMS = ["file", "row", "column", "value", "reason"]


class Problem(NamedTuple):
    file: str
    row: int
    column: str | None
    value: str | None
    reason: str


class Column(NamedTuple):
    name: str
    source: str
    role: str
    kind: str
    missing: float | None


class Entity(NamedTuple):
    """distinct: estimated where there are many. missing: share of claims without one."""

    name: str
    source: str
    distinct: int
    missing: float


@dataclass
class Preview:
    """contract: resolved. rows: read, the bad ones included; whole: that is all there are.

    labels_added: of them that only bring the label of an earlier one. problems: of each reason
    the first rows. windows: None where only the first rows were read.
    """

    contract: Contract
    columns: list[Column]
    entities: list[Entity]
    warnings: tuple[str, ...]
    rows: int
    whole: bool
    reasons: dict[str, int]
    problems: list[Problem]
    summary: Summary
    frauds: int
    genuine: int
    labels_added: int
    windows: Windows | None
    refusals: list[str] = field(default_factory=list)

    @property
    def bad(self) -> int:
        return sum(self.reasons.values())

    @property
    def not_known(self) -> int:
        """Claims without a label, as of now."""
        return self.summary.rows - self.frauds - self.genuine


def preview(
    contract: Contract,
    lakehouse: Lakehouse,
    rows: int | None,
    each: int,
    progress: Callable[[str], None],
) -> Preview:
    """Reads the source as an ingest of now into the lakehouse would, and publishes nothing.

    rows: to be read from the start; all when None. each: rows wanted of every reason. Memory is
    flat but for some 50 bytes a claim. Raises SourceError, ContractError and LakehouseError as an
    ingest would.
    """
    require_one_period(contract, lakehouse)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="check-")))
        source = contract.source
        as_of = source.end if isinstance(source, SyntheticSource) else datetime.now(UTC)
        origin = origin_of(contract, lakehouse, as_of, False, None, None, folder, None)
        head = _Head(origin, rows)
        contract = origin.contract
        require_same_source(contract, lakehouse)
        require_seasonal(contract)
        masked = masked_in_source(contract, origin.names)
        bad_rows = folder / "bad.parquet"
        quarantine = stack.enter_context(closing(Quarantine(bad_rows, masked)))
        staging = stack.enter_context(Staging(folder, raw_schema(contract)))
        intake = Intake(head, Rules(contract, as_of, origin.names), staging, quarantine, progress)
        intake.read_all()
        intake.settle_repeats()
        quarantine.close()
        summary = staging.summary()
        claims = staging.columns(EVENT_TIME, LABEL, LABEL_TIME)
        whole = not head.cut
        seen = Preview(
            contract=contract,
            columns=list(_columns(origin, summary)),
            entities=list(_entities(contract, summary)),
            warnings=(
                *origin.warnings,
                *leaks(contract, staging),
                *_crowds(contract, staging, summary),
            ),
            rows=intake.source_rows,
            whole=whole,
            reasons=dict(quarantine.reasons.most_common()),
            problems=_first_of_each(bad_rows, quarantine.reasons, each),
            summary=summary,
            frauds=_count(claims, 1),
            genuine=_count(claims, 0),
            labels_added=intake.labels_added,
            windows=windows_of(contract, as_of, claims) if whole and summary.rows else None,
        )
    seen.refusals += _refusals(seen)
    return seen


class _Head:
    """An origin, or as many whole chunks of it as the first `rows` rows take.

    cut: there are more.
    """

    warnings: tuple[str, ...]

    def __init__(self, origin: Origin, rows: int | None) -> None:
        self._origin, self._rows = origin, rows
        self.contract, self.warnings = origin.contract, origin.warnings
        self.names: Mapping[str, str] = origin.names
        self.total = origin.total if rows is None else None
        self.sample = origin.sample
        self.cut = False

    def converted(self) -> Iterator[Converted]:
        seen = 0
        for converted in self._origin.converted():
            if self._rows is not None and seen >= self._rows:
                self.cut = True
                return
            seen += len(converted.chunk) + len(converted.chunk.unreadable)
            yield converted

    def chunks(self) -> Iterator[Chunk]:
        seen = 0
        for chunk in self._origin.chunks():
            if self._rows is not None and seen >= self._rows:
                return
            seen += len(chunk) + len(chunk.unreadable)
            yield chunk

    def publish_truth(self, uri: str) -> str | None:
        raise NotImplementedError(f"{uri}: nothing is published by looking")


def _count(claims: pa.Table, label: int) -> int:
    return int(pc.sum(pc.equal(claims.column(LABEL), label)).as_py() or 0)


def _refusals(seen: Preview) -> list[str]:
    """Why a run would end before it has published anything, or before it has trained."""
    bad, limit = seen.bad, seen.contract.quality.max_bad_share
    told = []
    if bad and bad > limit * seen.rows:
        told.append(
            f"{bad / seen.rows:.1%} of the rows break the contract, more than "
            f"quality.max_bad_share = {limit:.1%} allows: nothing would be published. Mend the "
            "source or the contract."
        )
    elif not seen.summary.rows:
        told.append("Not one row can be used: nothing would be published.")
    told += hints(seen.contract, seen.reasons) if told else []
    try:
        entity_feature_names(seen.contract)
    except ContractError as error:
        told.append(str(error))
    return told + (seen.windows.refusals if seen.windows else [])


def _first_of_each(path: Path, reasons: Counter[str], each: int) -> list[Problem]:
    """The first rows of every reason, the commonest reason first."""
    by: dict[str, list[Problem]] = {reason: [] for reason, _ in reasons.most_common()}
    if not by:
        return []
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(columns=_PROBLEMS):
            for record in batch.to_pylist():
                if len(by[record["reason"]]) < each:
                    by[record["reason"]].append(Problem(**record))
    return [problem for found in by.values() for problem in found]


def _columns(origin: Origin, summary: Summary) -> Iterator[Column]:
    contract = origin.contract
    told = {CLAIM_ID: "claim id", EVENT_TIME: "event time", LABEL: "label"}
    told |= {LABEL_TIME: "when the label was known", AMOUNT: "amount"}
    told |= dict.fromkeys(contract.entities, "entity")
    told |= dict.fromkeys(contract.numeric or (), "numeric")
    told |= dict.fromkeys(contract.categorical or (), "categorical")
    missing = {column.name: column.missing for column in summary.columns}
    for canonical in raw_schema(contract):
        name = canonical.name
        source = _source(contract, origin, name)
        yield Column(name, source, told[name], str(canonical.type), missing[name])
    for name in contract.ignore:
        yield Column("", name, "ignored", "", None)


def _entities(contract: Contract, summary: Summary) -> Iterator[Entity]:
    profiles = {column.name: column for column in summary.columns}
    for entity, source in contract.entities.items():
        yield Entity(entity, source, profiles[entity].distinct or 0, profiles[entity].missing)


def _crowds(contract: Contract, staging: Staging, summary: Summary) -> Iterator[str]:
    """Entities of which one has so many claims that it stands for nobody."""
    for entity in _entities(contract, summary):
        share = staging.commonest(entity.name) / summary.rows if summary.rows else 0.0
        if share > _CROWD and entity.distinct > _FEW:
            yield (
                f"entity {entity.name!r}: one value of column {entity.source!r} has {share:.0%} of "
                "the claims, and they share one history. If it stands for 'not known', list it: "
                f"`missing: {{{entity.source}: [UNKNOWN]}}`"
            )


def _source(contract: Contract, origin: Origin, name: str) -> str:
    if isinstance(contract.source, SyntheticSource):
        return name
    if name == CLAIM_ID and not contract.claim_id:
        return "(file and row)"
    if name == EVENT_TIME:
        return ", ".join(contract.event_time.columns())
    if name == LABEL_TIME and not contract.label.time_column:
        return f"(event time + {in_words(contract.label.delay)})"
    return origin.names[name]
