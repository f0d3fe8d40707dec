"""Predictions of the log by the claims' own time, a period at a time, in memory of one period."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fraud_mlops.contract import CLAIM_ID, EVENT_TIME
from fraud_mlops.lakehouse.parquet import open_parquet
from fraud_mlops.lakehouse.partitions import Lakehouse
from fraud_mlops.lakehouse.stores import again, list_files
from fraud_mlops.serving.prediction_log import ZONE, once
from fraud_mlops.serving.records import CHAMPION, SCHEMA

COLUMNS = (
    *("request_id", CLAIM_ID, EVENT_TIME, "scored_at", "role", "model_version"),
    *("score", "alert", "features_sha256"),
)
_READERS = 8


class _File(NamedTuple):
    """first, last: event times in it."""

    uri: str
    first: datetime
    last: datetime


class LoggedScores:
    """The champion's answers. Opens every file's footer once, and then the files that hold a
    period's claims, once too where periods overlap and come in order."""

    def __init__(self, lakehouse: Lakehouse, dataset: str) -> None:
        self._folder = lakehouse.uri(ZONE, dataset)
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
            self._held[uri] = again(uri, partial(_decided, uri)) if known is None else known
        tables = [_of(self._held[uri], start, end) for uri in wanted]
        if not tables:
            return pa.schema([SCHEMA.field(name) for name in COLUMNS]).empty_table()
        return once(pa.concat_tables(tables))

    def _list(self) -> list[_File]:
        found = [f.path for f in list_files(self._folder) if f.path.endswith(".parquet")]
        with ThreadPoolExecutor(_READERS) as pool:
            spans = list(pool.map(_spanned, [f"{self._folder}/{path}" for path in found]))
        return [file for file in spans if file is not None]


def _spanned(uri: str) -> _File | None:
    def look() -> _File | None:
        with open_parquet(uri) as (parquet, _):
            metadata = parquet.metadata
        place = parquet.schema_arrow.get_field_index(EVENT_TIME)
        groups = [_column(metadata, i, place).statistics for i in range(metadata.num_row_groups)]
        spans = [s for s in groups if s is not None and s.has_min_max]
        if not groups:
            return None
        if len(spans) < len(groups):
            return _File(uri, datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))
        return _File(uri, min(s.min for s in spans), max(s.max for s in spans))

    try:
        return again(uri, look)
    except FileNotFoundError:
        return None


def _column(metadata: pq.FileMetaData, group: int, place: int) -> pq.ColumnChunkMetaData:
    """By place in the footer, which counts the inside of lists; those come behind ours."""
    return metadata.row_group(group).column(place)


def _decided(uri: str) -> pa.Table:
    with open_parquet(uri) as (parquet, _):
        table = parquet.read(columns=list(COLUMNS))
    decided = table.filter(pc.equal(table.column("role"), CHAMPION))
    return decided.select(list(COLUMNS)).replace_schema_metadata()


def _of(table: pa.Table, start: datetime, end: datetime) -> pa.Table:
    times = table.column(EVENT_TIME)
    first, last = (pa.scalar(moment, times.type) for moment in (start, end))
    return table.filter(pc.and_(pc.greater_equal(times, first), pc.less(times, last)))
