"""What one file holds, told by the contract's own reader from a few of its columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import MAXYEAR, UTC, date, datetime

import pyarrow as pa
import pyarrow.compute as pc

from fraud_mlops.claims.canonical import Converter
from fraud_mlops.claims.files import file_of
from fraud_mlops.claims.inference import named_columns
from fraud_mlops.claims.reading import Source, has_claims, open_source, read_columns
from fraud_mlops.contract import EVENT_TIME, Contract
from fraud_mlops.errors import SourceError
from fraud_mlops.lakehouse.local_files import as_named, printable
from fraud_mlops.lakehouse.partitions import Lakehouse
from fraud_mlops.lakehouse.periods import partition_value
from fraud_mlops.lakehouse.stores import filesystem, is_local
from fraud_mlops.landing.aside import SetAside, files_aside, judged_by
from fraud_mlops.landing.listing import Landed
from fraud_mlops.sources import FileSource

EPOCH = date(1970, 1, 1)


@dataclass(frozen=True)
class FileClaims:
    """partitions: those that the file has claims of, in order. next_event: the first of its claims
    that has not happened yet, which an ingest of now puts into quarantine; None without any."""

    partitions: tuple[str, ...]
    rows: int
    next_event: datetime | None = None


def file_uri(source: FileSource, file: Landed) -> str:
    """The address of a file of the source."""
    if is_local(source.uri):
        return file.path
    return str(filesystem(source.uri)[0].unstrip_protocol(file.path))


def look_into(
    contract: Contract, uri: str, like: str | None = None, *, now: datetime | None = None
) -> FileClaims:
    """Which partitions a file of the contract's source touches, and which claims are yet to come.

    Reads event time and label, and nothing else. like: a file that it must agree with in the
    columns that are read, since a source is one table: those that the contract names, or all where
    it leaves features to be found. now: the clock's when left out.
    Raises SourceError for a file that ingest would stumble over: it cannot be read, lacks a
    column or has others than `like`, or more rows than `quality.max_bad_share` allows have no
    readable time or an unknown label.
    """
    source = _opened(contract, uri)
    source.require(named_columns(contract))
    if like is not None:
        _opened(contract, like).require_like(source, read_columns(contract))
    return _read(contract, uri, source, now or datetime.now(UTC))


def is_other_text(contract: Contract, source: FileSource, uri: str, like: str | None) -> bool:
    """Whether a file is what an ingest passes over: a text of other things beside the claims.

    like: one of those that hold claims.
    """
    file, usual = file_of(source, uri), None if like is None else file_of(source, like)
    beside = usual is not None and usual.suffix != ".txt" and ".txt" not in source.uri.lower()
    return beside and file.suffix == ".txt" and not has_claims(contract, source, file)


def usual_file(contract: Contract, uris: Iterable[str]) -> str | None:
    """The first of those files that have the columns that most of them have; None for no good one.

    To hold others against: the first one that lands may be the odd one.
    """
    alike: dict[object, list[str]] = {}
    for uri in uris:
        with suppress(SourceError):
            source = _opened(contract, uri)
            source.require(named_columns(contract))
            alike.setdefault(source.signature(read_columns(contract)), []).append(uri)
    return max(alike.values(), key=len)[0] if alike else None


def still_aside(contract: Contract, lakehouse: Lakehouse) -> list[SetAside]:
    """Files that are set aside, except those that pass the contract as it is now."""
    judge, found = judged_by(contract), []
    for record in files_aside(lakehouse, contract.name):
        if record.contract == judge:
            found.append(record)
            continue
        try:
            look_into(contract, as_named(record.uri))
        except SourceError as error:
            found.append(record.model_copy(update={"reason": printable(str(error))}))
    return found


def _opened(contract: Contract, uri: str) -> Source:
    return open_source(contract, only=uri)


def _read(contract: Contract, uri: str, source: Source, now: datetime) -> FileClaims:
    few = contract.model_copy(
        update={"claim_id": None, "amount": None, "entities": {}, "numeric": (), "categorical": ()}
    )
    convert = Converter(few, now, source.signs)
    wanted = set(few.role_columns())
    rows, found, reasons = 0, set(), Counter[str]()
    next_event: datetime | None = None
    for chunk in source.chunks([name for name in source.columns if name in wanted]):
        converted = convert(chunk)
        rows += len(chunk) + len(chunk.unreadable)
        reasons["unreadable row"] += len(chunk.unreadable)
        reasons.update(f"{f.reason} in {f.column!r}" for _, f in converted.faults)
        times = converted.claims.column(EVENT_TIME).drop_null()
        found |= set(pc.unique(partition_value(times, contract.partition)).to_pylist())
        next_event = _earlier(next_event, _first_after(times, now))
    _require_good(contract, uri, rows, +reasons)
    if not found:
        raise SourceError(f"{uri}: not one row has a readable event time")
    return FileClaims(tuple(sorted(found)), rows, next_event)


def _first_after(times: pa.Array, now: datetime) -> datetime | None:
    later = times.filter(pc.greater(times, pa.scalar(now, times.type)))
    # Python has no word for times beyond the year 9999, and nobody waits for them.
    sane = later.filter(pc.less_equal(pc.year(later), MAXYEAR))
    return pc.min(sane).as_py() if len(sane) else None


def _earlier(one: datetime | None, other: datetime | None) -> datetime | None:
    return other if one is None else one if other is None else min(one, other)


def _require_good(contract: Contract, uri: str, rows: int, reasons: Counter[str]) -> None:
    bad, limit = reasons.total(), contract.quality.max_bad_share
    if bad > limit * rows:
        told = ", ".join(f"{count:,} {reason}" for reason, count in reasons.most_common(3))
        raise SourceError(
            f"{uri}: {bad:,} of {rows:,} rows are bad, more than quality.max_bad_share = "
            f"{limit:.1%} allows: {told}"
        )
