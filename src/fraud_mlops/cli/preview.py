"""What a contract makes of the first rows of its source, by the very code that ingests them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fraud_mlops.claims.origins import FileOrigin, Origin, SyntheticOrigin
from fraud_mlops.claims.quarantine import Quarantine
from fraud_mlops.claims.schema import raw_schema
from fraud_mlops.claims.validation import Rules
from fraud_mlops.contract import (
    AMOUNT,
    CLAIM_ID,
    EVENT_TIME,
    LABEL,
    LABEL_TIME,
    Contract,
    SyntheticSource,
)
from fraud_mlops.fields import in_words

_ROWS = 10_000
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


@dataclass
class Preview:
    """contract: resolved. rows: looked at, the bad ones included. first, last: event times."""

    contract: Contract
    columns: list[Column]
    warnings: tuple[str, ...]
    rows: int = 0
    bad: int = 0
    frauds: int = 0
    genuine: int = 0
    first: datetime | None = None
    last: datetime | None = None
    problems: list[Problem] = field(default_factory=list)


def preview(contract: Contract) -> Preview:
    """Reads some 10,000 rows from the start; raises SourceError as an ingest would."""
    with tempfile.TemporaryDirectory(prefix="check-") as name:
        folder = Path(name)
        generated = contract.source if isinstance(contract.source, SyntheticSource) else None
        as_of = generated.end if generated else datetime.now(UTC)
        origin: Origin = (
            SyntheticOrigin(contract, as_of, min(_ROWS, generated.claims), None, folder)
            if generated
            else FileOrigin(contract, as_of, None)
        )
        seen = Preview(origin.contract, list(_columns(origin)), origin.warnings)
        bad_rows = folder / "bad.parquet"
        with closing(Quarantine(bad_rows)) as quarantine:
            _look(seen, origin, Rules(origin.contract, as_of, origin.names), quarantine)
        if seen.bad:
            records = pq.read_table(bad_rows, columns=_PROBLEMS).to_pylist()
            seen.problems = [Problem(**record) for record in records]
    return seen


def _look(seen: Preview, origin: Origin, rules: Rules, quarantine: Quarantine) -> None:
    for converted in origin.converted():
        rules(converted.claims, converted.faults)
        bad = converted.faults.bad
        if bad.any() or converted.chunk.unreadable:
            quarantine.add(converted.chunk, converted.faults)
        seen.rows += len(converted.chunk) + len(converted.chunk.unreadable)
        _count(seen, converted.claims.filter(pa.array(~bad)))
        if seen.rows >= _ROWS:
            break
    seen.bad = len(quarantine)


def _count(seen: Preview, claims: pa.RecordBatch) -> None:
    if not claims.num_rows:
        return
    labels = claims.column(LABEL)
    seen.frauds += pc.sum(pc.equal(labels, 1)).as_py() or 0
    seen.genuine += pc.sum(pc.equal(labels, 0)).as_py() or 0
    low, high = (pc.min_max(claims.column(EVENT_TIME))[end].as_py() for end in ("min", "max"))
    seen.first = min(seen.first or low, low)
    seen.last = max(seen.last or high, high)


def _columns(origin: Origin) -> Iterator[Column]:
    contract = origin.contract
    told = {CLAIM_ID: "claim id", EVENT_TIME: "event time", LABEL: "label"}
    told |= {LABEL_TIME: "when the label was known", AMOUNT: "amount"}
    told |= dict.fromkeys(contract.entities, "entity")
    told |= dict.fromkeys(contract.numeric or (), "numeric")
    told |= dict.fromkeys(contract.categorical or (), "categorical")
    for canonical in raw_schema(contract):
        source = _source(contract, origin, canonical.name)
        yield Column(canonical.name, source, told[canonical.name], str(canonical.type))
    for name in contract.ignore:
        yield Column("", name, "ignored", "")


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
