"""Raw claims brought in order of time on disk, and read back as arrays or in slices."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fraud_mlops.contract import AMOUNT, CLAIM_ID, EVENT_TIME, LABEL, LABEL_TIME, Contract
from fraud_mlops.errors import LakehouseError
from fraud_mlops.features.split import microseconds
from fraud_mlops.moments import TICK
from fraud_mlops.settings import settings

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_TIMES = (EVENT_TIME, LABEL_TIME)


class OrderedClaims:
    """All claims in order of event time, then claim id, in a DuckDB file of `folder`.

    Sorting is out of core, within the settings' memory limit. Columns bear positional names in
    there, so that no name of a dataset can be a keyword, an injection, or differ from another
    only in case; times are microseconds since 1970. A claim's place is its rowid, since rows
    are kept as they were inserted.

    A label is used from label_time on, never before event time plus the contract's delay, and
    not at all when that is after `as_of`: label and label_time are then null.
    """

    def __init__(
        self,
        contract: Contract,
        schema: pa.Schema,
        batches: Iterator[pa.RecordBatch],
        *,
        as_of: datetime,
        folder: Path,
        threads: int,
    ) -> None:
        import duckdb

        self._schema = schema
        self._names = {name: f"c{i}" for i, name in enumerate(schema.names)}
        self._stored = pa.schema([_stored(field, self._names[field.name]) for field in schema])
        self._connection: DuckDBPyConnection = duckdb.connect(
            folder / "claims.duckdb",
            config={
                "threads": threads,
                "memory_limit": settings().memory_limit,
                "temp_directory": (folder / "spill").as_posix(),
            },
        )
        self._load(batches, delay=contract.label.delay, as_of=as_of)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._connection.close()

    def _load(
        self, batches: Iterator[pa.RecordBatch], *, delay: timedelta, as_of: datetime
    ) -> None:
        import duckdb

        event, ident = self._names[EVENT_TIME], self._names[CLAIM_ID]
        label, known = self._names[LABEL], self._names[LABEL_TIME]
        usable = f"greatest({known}, {event} + {delay // TICK})"
        mature = f"{usable} <= {microseconds(as_of)}"
        query = f"""
            CREATE TABLE claims AS
            SELECT * REPLACE (
                CASE WHEN {mature} THEN {label} END AS {label},
                CASE WHEN {mature} AND {label} IS NOT NULL THEN {usable} END AS {known})
            FROM raw ORDER BY {event}, {ident}
        """
        source = _Source(batches, self._schema, self._stored)
        self._connection.register("raw", source.reader())
        try:
            self._connection.execute(query)
        except duckdb.Error:
            if source.error is not None:
                raise source.error from None
            raise
        self._connection.unregister("raw")

    def times(self) -> npt.NDArray[np.int64]:
        """Event times in microseconds since 1970, rising: int64 [n]."""
        return self._column(self._names[EVENT_TIME], np.int64)

    def labels(self) -> npt.NDArray[np.int8]:
        """1 fraud, 0 genuine, -1 not known as of `as_of`: int8 [n]."""
        return self._column(f"coalesce({self._names[LABEL]}, -1)", np.int8)

    def label_times(self) -> npt.NDArray[np.int64]:
        """When labels may be used from, 0 where there is none: int64 [n]."""
        return self._column(f"coalesce({self._names[LABEL_TIME]}, 0)", np.int64)

    def amounts(self) -> npt.NDArray[np.float64]:
        """float64 [n], NaN where not known; empty for claims without an amount column."""
        if AMOUNT not in self._names:
            return np.empty(0)
        return self._column(f"coalesce({self._names[AMOUNT]}, 'nan'::DOUBLE)", np.float64)

    def codes(self, entity: str) -> npt.NDArray[np.int32]:
        """A number for each different value of an entity, -1 for null: int32 [n]."""
        name = self._names[entity]
        values = f"""
            SELECT {name} AS value, row_number() OVER () - 1 AS code
            FROM (SELECT DISTINCT {name} FROM claims WHERE {name} IS NOT NULL)
        """
        source = f"claims LEFT JOIN ({values}) ON value = {name}"
        return self._column("coalesce(code, -1)", np.int32, source)

    def slice(self, start: int, stop: int) -> pa.RecordBatch:
        """Claims start <= place < stop in the raw schema."""
        query = f"SELECT * FROM claims WHERE {start} <= rowid AND rowid < {stop}"
        table = self._connection.sql(f"{query} ORDER BY rowid").to_arrow_table()
        columns = [
            column.cast(field.type)
            for column, field in zip(table.columns, self._schema, strict=True)
        ]
        combined = pa.table(columns, schema=self._schema).combine_chunks()
        return combined.to_batches()[0]

    def _column(
        self, expression: str, dtype: npt.DTypeLike, source: str = "claims"
    ) -> npt.NDArray[Any]:
        query = f"SELECT {expression} AS value FROM {source} ORDER BY claims.rowid"
        value = self._connection.sql(query).fetchnumpy()["value"]
        return np.ascontiguousarray(value, dtype=dtype)


def _stored(field: pa.Field, name: str) -> pa.Field:
    return pa.field(name, pa.int64() if field.name in _TIMES else field.type)


class _Source:
    """Raw batches under their stored names; keeps the error that ended them, which DuckDB would
    tell as one of its own."""

    def __init__(
        self, batches: Iterator[pa.RecordBatch], schema: pa.Schema, stored: pa.Schema
    ) -> None:
        self._batches = batches
        self._schema = schema
        self._stored = stored
        self.error: Exception | None = None

    def reader(self) -> pa.RecordBatchReader:
        return pa.RecordBatchReader.from_batches(self._stored, self._renamed())

    def _renamed(self) -> Iterator[pa.RecordBatch]:
        try:
            for batch in self._batches:
                yield self._cast(batch)
        except Exception as error:
            self.error = error
            raise

    def _cast(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        if missing := [name for name in self._schema.names if name not in batch.schema.names]:
            raise LakehouseError(
                f"a raw partition lacks columns {', '.join(missing)} of the contract: it was "
                "written under another version of it. Run ingest again."
            )
        columns = [
            batch.column(name).cast(field.type)
            for name, field in zip(self._schema.names, self._stored, strict=True)
        ]
        return pa.record_batch(columns, schema=self._stored)
