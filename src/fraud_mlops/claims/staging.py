"""Valid claims on local disk, until all of the source is known to be good.

DuckDB finds claims that come twice and brings the claims in order, out of core: memory stays
within the settings' limit, whatever the number of rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from fraud_mlops.claims.repeats import HELD, OTHER, POSITION, TOLD, Repeats, settle
from fraud_mlops.claims.report import ColumnProfile, Summary
from fraud_mlops.claims.times import UTC_TIME
from fraud_mlops.claims.values import Mask
from fraud_mlops.contract import CLAIM_ID, EVENT_TIME, LABEL
from fraud_mlops.errors import SettingsError
from fraud_mlops.settings import settings

# Few, since several copies of a batch of wide rows are alive at a time.
_BATCH_ROWS = 1 << 15
# Enough labelled claims to tell which columns go with the label.
_LABELS = 200_000


class Staging:
    """Claims in source order under positional column names.

    DuckDB's names know no case, and it would take times with a zone for the session's: so the
    columns are called c0, c1, ... and times are stored without their zone, which is UTC.
    """

    def __init__(self, folder: Path, schema: pa.Schema) -> None:
        self._schema = schema
        self._path = folder / "claims.parquet"
        self._spill = folder / "spill"
        self._stored = pa.schema(
            [pa.field(f"c{i}", _stored(f.type)) for i, f in enumerate(schema)]
            + [pa.field(POSITION, pa.int64()), pa.field(OTHER, pa.bool_())]
            + [pa.field(TOLD, pa.int8()), pa.field(HELD, pa.bool_())]
        )
        text = [f.name for f in self._stored if pa.types.is_string(f.type)]
        self._writer = pq.ParquetWriter(
            self._path, self._stored, compression="lz4", use_dictionary=text
        )
        self._connection: Any = None
        self.rows = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._writer.close()
        if self._connection is not None:
            self._connection.close()

    def add(
        self,
        claims: pa.RecordBatch,
        told: pa.Array,
        held: Mask,
        positions: npt.NDArray[np.int64],
    ) -> None:
        """told: labels as the source has them, known yet or not. held: those of them that are
        blank until their time. positions: where each row stands in the source, to find it there
        again."""
        if not claims.num_rows:
            return
        arrays = [a.cast(f.type) for a, f in zip(claims.columns, self._stored, strict=False)]
        arrays += [pa.array(positions), pa.repeat(False, len(positions)), told]
        arrays += [pa.array(held)]
        self._writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=self._stored))
        self.rows += claims.num_rows

    def add_others(self, claim_ids: pa.Array, positions: npt.NDArray[np.int64]) -> None:
        """Claims of partitions that are not wanted: they only say which ids are taken."""
        if not len(claim_ids):
            return
        known = {self._column(CLAIM_ID): claim_ids, POSITION: pa.array(positions)}
        known[OTHER] = pa.repeat(True, len(positions))
        arrays = [known.get(f.name, pa.nulls(len(positions), f.type)) for f in self._stored]
        self._writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=self._stored))

    @contextmanager
    def _within_limit(self) -> Iterator[None]:
        import duckdb

        try:
            yield
        except duckdb.OutOfMemoryException as error:
            raise SettingsError(
                f"FRAUD_MEMORY_LIMIT={settings().memory_limit} is too little to order "
                f"{self.rows:,} claims; raise it. DuckDB: {str(error).splitlines()[0]}"
            ) from None

    def settle_repeats(self) -> Repeats:
        """Leaves the first record of each claim, with the label that a later one adds to it.

        Raises SettingsError, as all that reads the claims does, when memory does not suffice.
        """
        with self._within_limit():
            return settle(self._open(), self._schema, self._path.with_name("settled.parquet"))

    def in_order(self) -> Iterator[pa.RecordBatch]:
        """All claims by event time, then claim id, in the canonical schema."""
        columns = ", ".join(self._column(name) for name in self._schema.names)
        order = f"{self._column(EVENT_TIME)}, {self._column(CLAIM_ID)}"
        with self._within_limit():
            ordered = self._open().sql(f"SELECT {columns} FROM claims ORDER BY {order}")
            for batch in ordered.to_arrow_reader(_BATCH_ROWS):
                arrays = [a.cast(f.type) for a, f in zip(batch.columns, self._schema, strict=True)]
                yield pa.RecordBatch.from_arrays(arrays, schema=self._schema)

    def columns(self, *names: str) -> pa.Table:
        """Some columns of all claims, in no order, as the canonical schema has them."""
        columns = ", ".join(self._column(name) for name in names)
        with self._within_limit():
            found = self._open().sql(f"SELECT {columns} FROM claims").to_arrow_table()
        fields = [self._schema.field(name) for name in names]
        arrays = [a.cast(f.type) for a, f in zip(found.columns, fields, strict=True)]
        return pa.table(arrays, schema=pa.schema(fields))

    def labels_by_value(self, name: str) -> pa.Table:
        """Of each value of a column: its claims that are fraud and genuine, in either of two
        halves into which claims fall by chance, as fraud0, fraud1, genuine0 and genuine1.

        Of some 200,000 labelled claims where there are more, the same ones for each column.
        """
        value, label, claim = (self._column(column) for column in (name, LABEL, CLAIM_ID))
        counts = ", ".join(
            f"count(*) FILTER ({label} = {is_fraud} AND hash({claim}) % 2 = {half}) AS {kind}{half}"
            for is_fraud, kind in enumerate(("genuine", "fraud"))
            for half in (0, 1)
        )
        with self._within_limit():
            there = self._open()
            ((labelled,),) = there.execute(f"SELECT count({label}) FROM claims").fetchall()
            stride = -(-labelled // _LABELS) or 1
            return there.sql(
                f"SELECT {value} AS value, {counts} FROM claims WHERE {label} IS NOT NULL "
                f"AND (hash({claim}) // 2) % {stride} = 0 GROUP BY {value}"
            ).to_arrow_table()

    def commonest(self, name: str) -> int:
        """Claims that have the one value which most claims have, of those that have any."""
        value = self._column(name)
        with self._within_limit():
            (claims,) = (
                self._open()
                .execute(
                    f"SELECT max(n) FROM (SELECT count({value}) AS n FROM claims GROUP BY {value})"
                )
                .fetchone()
            )
        return int(claims or 0)

    def summary(self) -> Summary:
        """One pass over the claims for the report and the data card."""
        measures = [
            "count(*)",
            f"min({self._column(EVENT_TIME)})",
            f"max({self._column(EVENT_TIME)})",
        ]
        measures.append(f"avg({self._column(LABEL)})")
        measures.append(f"count(*) FILTER ({HELD} AND {self._column(LABEL)} IS NULL)")
        for i, field in enumerate(self._schema):
            measures.append(f"count(c{i})")
            if pa.types.is_floating(field.type):
                measures += [
                    f"{f}(CASE WHEN isfinite(c{i}) THEN c{i} END)" for f in ("min", "avg", "max")
                ]
            elif pa.types.is_string(field.type) and field.name != CLAIM_ID:
                measures.append(f"approx_count_distinct(c{i})")
        with self._within_limit():
            found = self._open().execute(f"SELECT {', '.join(measures)} FROM claims").fetchall()
        row = iter(found[0])
        rows, first, last, fraud_rate, held = (next(row) for _ in range(5))
        columns = tuple(self._profile(f, rows, row) for f in self._schema)
        return Summary(rows, first, last, fraud_rate, held, columns)

    def _profile(self, field: pa.Field, rows: int, row: Iterator[Any]) -> ColumnProfile:
        known = next(row)
        missing = 1 - known / rows if rows else 0.0
        if pa.types.is_floating(field.type):
            low, mean, high = next(row), next(row), next(row)
            return ColumnProfile(
                name=field.name, kind="number", missing=missing, min=low, mean=mean, max=high
            )
        if pa.types.is_string(field.type):
            distinct = rows if field.name == CLAIM_ID else int(next(row) or 0)
            return ColumnProfile(name=field.name, kind="text", missing=missing, distinct=distinct)
        kind = "label" if pa.types.is_integer(field.type) else "time"
        return ColumnProfile(name=field.name, kind=kind, missing=missing)

    def _column(self, name: str) -> str:
        return f"c{self._schema.get_field_index(name)}"

    def _open(self) -> Any:
        """The connection; no row can be added from here on."""
        if self._connection is None:
            import duckdb

            self._writer.close()
            self._connection = duckdb.connect(
                config={
                    "memory_limit": settings().memory_limit,
                    "threads": settings().threads,
                    "temp_directory": str(self._spill),
                    "preserve_insertion_order": False,  # which takes memory, and is of no use
                }
            )
            path = str(self._path).replace("'", "''")
            self._connection.execute(f"CREATE TEMP VIEW staged AS FROM read_parquet('{path}')")
            self._connection.execute(f"CREATE TEMP VIEW claims AS FROM staged WHERE NOT {OTHER}")
        return self._connection


def _stored(kind: pa.DataType) -> pa.DataType:
    return pa.timestamp("us") if kind == UTC_TIME else kind
