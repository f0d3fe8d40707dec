"""Predictions of the log: of some days, or by the claims' own time in memory of one period; and the
latest of them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from typing import NamedTuple, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fraud_mlops.contract import CLAIM_ID, EVENT_TIME
from fraud_mlops.errors import LakehouseError, StoreError
from fraud_mlops.lakehouse.local_files import StoredFile
from fraud_mlops.lakehouse.parquet import open_parquet, parquet_files
from fraud_mlops.lakehouse.partitions import Lakehouse
from fraud_mlops.lakehouse.stores import again, list_children, list_files
from fraud_mlops.serving.prediction_log import ZONE, once
from fraud_mlops.serving.records import CHAMPION, SCHEMA

COLUMNS = (
    *("request_id", CLAIM_ID, EVENT_TIME, "scored_at", "role", "model_version"),
    *("score", "alert", "features_sha256"),
)
_WANTED = pa.schema([SCHEMA.field(name) for name in COLUMNS])
_READERS = 8
_NEWEST = 16
"""Files of a day with an answer among which its latest is: servers write side by side."""
_DAY = "day="
_Read = TypeVar("_Read")


def logged_days(lakehouse: Lakehouse, dataset: str) -> list[str]:
    """Those on which anything was answered, in order: `2026-01-31`."""
    folders = list_children(lakehouse.uri(ZONE, dataset))
    return sorted(name.removeprefix(_DAY) for name in folders if name.startswith(_DAY))


def read_predictions(
    lakehouse: Lakehouse, dataset: str, days: tuple[str, str] | None = None
) -> pa.Table:
    """Logged predictions in order of when they were made; days: first and last, both included.

    All of them in memory; `LoggedScores` has few columns, a period at a time. Raises
    UnreadableError for a file that is none of the log's.
    """
    try:
        return _predictions(lakehouse, dataset, days)
    except FileNotFoundError:  # compacted meanwhile: the same records stand elsewhere
        return _predictions(lakehouse, dataset, days)


def _predictions(lakehouse: Lakehouse, dataset: str, days: tuple[str, str] | None) -> pa.Table:
    tables = []
    for day in logged_days(lakehouse, dataset):
        if days is None or days[0] <= day <= days[1]:
            files = parquet_files(lakehouse.uri(ZONE, dataset, f"{_DAY}{day}"))
            tables += [readable(uri, partial(_whole, uri)) for uri in files]
    return once(pa.concat_tables(tables)) if tables else SCHEMA.empty_table()


def _whole(uri: str) -> pa.Table:
    with open_parquet(uri) as (parquet, _):
        return parquet.read().replace_schema_metadata()


class _File(NamedTuple):
    """first, last: event times in it."""

    uri: str
    first: datetime
    last: datetime


class LoggedScores:
    """The champion's answers. Opens every file's footer once, and then the files that hold a
    period's claims, once too where periods overlap and come in order.

    unreadable: files that are none of the log's, by their paths in it; the others are measured.
    """

    def __init__(self, lakehouse: Lakehouse, dataset: str) -> None:
        self._folder = lakehouse.uri(ZONE, dataset)
        self.unreadable: set[str] = set()
        self._files = self._list()
        self._held: dict[str, pa.Table] = {}

    def between(self, start: datetime, end: datetime) -> pa.Table:
        """COLUMNS of claims with start <= event time < end, in order of when they were scored,
        each answer once."""
        try:
            return self._between(start, end)
        except FileNotFoundError:  # compacted meanwhile: the same records stand elsewhere
            self._files = self._list()
            return self._between(start, end)

    def _between(self, start: datetime, end: datetime) -> pa.Table:
        wanted = [f.uri for f in self._files if f.first < end and f.last >= start]
        held, self._held = self._held, {}
        for uri in wanted:
            known = held.get(uri)
            found = self._read(uri, partial(_decided, uri)) if known is None else known
            if found is not None:
                self._held[uri] = found
        tables = [_of(table, start, end) for table in self._held.values()]
        return once(pa.concat_tables(tables)) if tables else _WANTED.empty_table()

    def _list(self) -> list[_File]:
        with ThreadPoolExecutor(_READERS) as pool:
            spans = list(pool.map(self._spanned, parquet_files(self._folder)))
        return [file for file in spans if file is not None]

    def _spanned(self, uri: str) -> _File | None:
        try:
            return self._read(uri, partial(_span, uri))
        except FileNotFoundError:
            return None

    def _read(self, uri: str, read: Callable[[], _Read]) -> _Read | None:
        try:
            return readable(uri, read)
        except UnreadableError:
            self.unreadable.add(uri.removeprefix(f"{self._folder}/"))
            return None


def latest_answer(lakehouse: Lakehouse, dataset: str) -> tuple[datetime, str] | None:
    """When a champion last answered, and which; None while none has."""
    folder = lakehouse.uri(ZONE, dataset)
    days: dict[str, list[StoredFile]] = {}
    for file in list_files(folder):
        if file.path.endswith(".parquet"):
            days.setdefault(file.path.partition("/")[0], []).append(file)
    for day in sorted(days, reverse=True):
        newest = sorted(days[day], key=lambda file: file.changed, reverse=True)
        answers = filter(None, (_last(f"{folder}/{file.path}") for file in newest))
        if found := list(islice(answers, _NEWEST)):
            return max(found)
    return None


def _last(uri: str) -> tuple[datetime, str] | None:
    try:
        answers = readable(uri, partial(_decided, uri))
    except (FileNotFoundError, UnreadableError):
        return None
    if not answers.num_rows:
        return None
    times = answers.column("scored_at")
    latest = pc.max(times)
    return latest.as_py(), answers["model_version"][pc.index(times, latest).as_py()].as_py()


class UnreadableError(LakehouseError):
    """A file that is not one of the log's: half a copy, or somebody else's."""


def readable(uri: str, read: Callable[[], _Read]) -> _Read:
    """What is read of a file of the log. Raises UnreadableError, FileNotFoundError, and StoreError,
    MemoryError or OSError with a number where it is the store or the machine that is at fault."""
    try:
        return again(uri, read)
    except (FileNotFoundError, StoreError, MemoryError):
        raise
    except (LakehouseError, pa.ArrowException, OSError, LookupError, ValueError) as error:
        if getattr(error, "errno", None):
            raise
        raise UnreadableError(f"{uri}: is no file of the prediction log: {error}") from None


def _span(uri: str) -> _File | None:
    """None without rows."""
    with open_parquet(uri) as (parquet, _):
        metadata = parquet.metadata
    place = parquet.schema_arrow.names.index(EVENT_TIME)
    groups = [_column(metadata, i, place).statistics for i in range(metadata.num_row_groups)]
    spans = [s for s in groups if s is not None and s.has_min_max]
    if not groups:
        return None
    if len(spans) < len(groups):
        return _File(uri, datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))
    return _File(uri, min(s.min for s in spans), max(s.max for s in spans))


def _column(metadata: pq.FileMetaData, group: int, place: int) -> pq.ColumnChunkMetaData:
    """By place in the footer, which counts the inside of lists; those come behind ours."""
    return metadata.row_group(group).column(place)


def _decided(uri: str) -> pa.Table:
    with open_parquet(uri) as (parquet, _):
        table = parquet.read(columns=list(COLUMNS))
    decided = table.filter(pc.equal(table.column("role"), CHAMPION))
    return decided.select(list(COLUMNS)).replace_schema_metadata().cast(_WANTED)


def _of(table: pa.Table, start: datetime, end: datetime) -> pa.Table:
    times = table.column(EVENT_TIME)
    first, last = (pa.scalar(moment, times.type) for moment in (start, end))
    return table.filter(pc.and_(pc.greater_equal(times, first), pc.less(times, last)))
