"""Rows that break the contract, kept whole with the reason."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from fraud_mlops.claims import faults as reasons
from fraud_mlops.claims.faults import Fault, Faults
from fraud_mlops.claims.files import Chunk, Unreadable
from fraud_mlops.claims.schema import MASK
from fraud_mlops.claims.values import text

SCHEMA = pa.schema(
    [
        pa.field("file", pa.string(), nullable=False),
        pa.field("row", pa.int64(), nullable=False),
        pa.field("column", pa.string()),
        pa.field("value", pa.string()),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("record", pa.string(), nullable=False),
    ]
)


class Quarantine:
    """Gathers bad rows in a local Parquet file until it is known that they are all.

    masked: source columns whose values are in the records alone: what is said of a bad row goes
    into logs, messages and terminals.
    """

    def __init__(self, path: Path, masked: Collection[str] = ()) -> None:
        self._path, self._masked = path, masked
        self._writer: pq.ParquetWriter | None = None
        self.reasons: Counter[str] = Counter()
        self.examples: dict[str, str] = {}

    def __len__(self) -> int:
        return self.reasons.total()

    def add(self, chunk: Chunk, faults: Faults) -> None:
        """The rows of `chunk` that are at fault, and its unreadable lines."""
        rows = [_unreadable(chunk, line) for line in chunk.unreadable]
        bad = np.flatnonzero(faults.bad)
        records = _records(chunk, bad)
        rows += [
            self._row(chunk, at, fault, record)
            for (at, fault), record in zip(faults, records, strict=True)
        ]
        self._write(rows)

    def _row(self, chunk: Chunk, at: int, fault: Fault, record: str) -> dict[str, Any]:
        value = None
        if fault.column is not None and fault.column in chunk.batch.schema.names:
            value = text(chunk[fault.column].slice(at, 1))[0].as_py()
        return {
            "file": chunk.file.name,
            "row": int(chunk.rows[at]),
            "column": fault.column,
            "value": MASK if value is not None and fault.column in self._masked else value,
            "reason": fault.reason,
            "record": record,
        }

    def _write(self, rows: Sequence[dict[str, Any]]) -> None:
        if not rows:
            return
        for row in rows:
            self.reasons[row["reason"]] += 1
            self.examples.setdefault(row["reason"], _where(row))
        self._writer = self._writer or pq.ParquetWriter(self._path, SCHEMA, compression="zstd")
        self._writer.write_batch(pa.RecordBatch.from_pylist(list(rows), SCHEMA))

    def publish(self, uri: str) -> str | None:
        """Copies the file to `uri`, whole or not at all; without bad rows there is no file."""
        from fraud_mlops.lakehouse.stores import delete, exists, upload

        self.close()
        if not self.reasons:
            if exists(uri):  # of an earlier attempt under this launch id
                delete(uri)
            return None
        upload(self._path, uri)
        return uri

    def close(self) -> None:
        if self._writer:
            self._writer.close()
            self._writer = None


def _unreadable(chunk: Chunk, line: Unreadable) -> dict[str, Any]:
    return {
        "file": chunk.file.name,
        "row": line.row,
        "column": None,
        "value": f"{line.found} fields where there are {line.expected} columns",
        "reason": reasons.UNREADABLE_ROW,
        "record": json.dumps({"line": line.line}, ensure_ascii=False),
    }


def _records(chunk: Chunk, rows: npt.NDArray[np.int64]) -> list[str]:
    if not len(rows):
        return []
    batch = chunk.batch.take(pa.array(rows))
    # Python has no word for times beyond the year 9999, Arrow has.
    columns = [a.cast(pa.string()) if pa.types.is_temporal(a.type) else a for a in batch.columns]
    records = pa.RecordBatch.from_arrays(columns, batch.schema.names).to_pylist()
    return [
        json.dumps({k: _plain(v) for k, v in r.items()}, default=str, ensure_ascii=False)
        for r in records
    ]


def _plain(value: Any) -> Any:
    """JSON knows no infinities."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _where(row: dict[str, Any]) -> str:
    column = f", column {row['column']!r}" if row["column"] else ""
    value = f": {row['value']!r}" if row["value"] is not None else ""
    return f"{row['file']}, row {row['row']}{column}{value}"
