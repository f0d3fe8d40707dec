"""The prediction log kept in order: a file a day in place of one a minute, and an end to its past.

Servers write small files, for a crash must not lose much. Once a day is over its files become one.
A record is in the new file before the old ones go, and readers take each record once: killed at
any moment, nothing is lost and nothing counts twice.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import NamedTuple

import pyarrow as pa

from fraud_mlops.lakehouse.content import ContentWriter
from fraud_mlops.lakehouse.parquet import open_parquet, parquet_files
from fraud_mlops.lakehouse.partitions import Lakehouse
from fraud_mlops.lakehouse.stores import (
    delete,
    list_files,
    tag_at,
    tag_of,
)
from fraud_mlops.serving.logged import UnreadableError, logged_days, readable
from fraud_mlops.serving.prediction_log import ZONE, once
from fraud_mlops.serving.records import SCHEMA

_SETTLES = timedelta(hours=1)
"""After midnight, within which servers flush what they scored before it."""


class Tidied(NamedTuple):
    """A day of which `files` files became one, or, with rows 0, were removed."""

    day: str
    files: int
    rows: int


def tidy_predictions(
    lakehouse: Lakehouse, dataset: str, *, keep: timedelta, now: datetime | None = None
) -> list[Tidied]:
    """Removes days that ended longer than `keep` ago, and compacts the others that are over."""
    now = now or datetime.now(UTC)
    gone = list(expire_predictions(lakehouse, dataset, before=now - keep))
    return [*gone, *compact_predictions(lakehouse, dataset, before=now - _SETTLES)]


def expire_predictions(lakehouse: Lakehouse, dataset: str, *, before: datetime) -> Iterator[Tidied]:
    """Removes days whose last moment came before."""
    for day, uri in _days(lakehouse, dataset, before):
        files = len(list_files(uri))
        delete(uri)
        yield Tidied(day, files, 0)


def compact_predictions(
    lakehouse: Lakehouse, dataset: str, *, before: datetime
) -> Iterator[Tidied]:
    """One file for each day that was over by then; a day's records are in memory at a time.

    A file that somebody alters meanwhile, to erase a person from it, leaves its day as it is; so
    does one that cannot be read.
    """
    for day, uri in _days(lakehouse, dataset, before):
        files = parquet_files(uri)
        if len(files) > 1 and (rows := _joined(lakehouse, dataset, day, files)) is not None:
            yield Tidied(day, len(files), rows)


def _days(lakehouse: Lakehouse, dataset: str, before: datetime) -> Iterator[tuple[str, str]]:
    """Days that ended before, and their folders; what is no day is nobody's business here."""
    for day in logged_days(lakehouse, dataset):
        try:
            begins = datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC)
        except ValueError:
            continue
        if begins + timedelta(days=1) <= before:
            yield day, lakehouse.uri(ZONE, dataset, f"day={day}")


def _joined(lakehouse: Lakehouse, dataset: str, day: str, files: list[str]) -> int | None:
    """Rows of the day's one file; None when one of its files cannot be read, or was altered, or
    went, meanwhile."""
    try:
        read = [readable(uri, partial(_read, uri)) for uri in files]
    except (FileNotFoundError, UnreadableError):
        return None
    table = once(pa.concat_tables([part for part, _ in read]))
    # A name of this attempt alone: of two at once, one finds files gone and takes back its own.
    target = lakehouse.uri(ZONE, dataset, f"day={day}", f"whole-{uuid.uuid4().hex[:16]}.parquet")
    with ContentWriter(target, SCHEMA, {"dataset": dataset}) as writer:
        for batch in table.to_batches():
            writer.write(batch)
    if any(tag_at(uri) != tag for uri, (_, tag) in zip(files, read, strict=True)):
        delete(target)
        return None
    for uri in files:
        delete(uri)
    return int(table.num_rows)


def _read(uri: str) -> tuple[pa.Table, str]:
    with open_parquet(uri) as (parquet, stream):
        return parquet.read().replace_schema_metadata().cast(SCHEMA), tag_of(stream)
