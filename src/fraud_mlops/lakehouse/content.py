"""Parquet whose content has a hash: equal rows in equal order, equal hash.

The hash covers the bytes before the footer, so that what a writer says about itself (run,
contract version) is no part of it, and rows are cut into row groups of one size, so that the
batches in which they came are not either.

Columns get a dictionary where their first rows repeat themselves; a dictionary of values that are
all different is tried for each row group, costs time, and is given up for larger pages
(benchmarks/bench_lakehouse.py: a fifth of the time to write and of the size).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import BinaryIO, Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fraud_mlops.lakehouse.stores import atomic_writer

DATA_VERSION = "data_version"
CODEC = "zstd"
_DIGITS = 32
ROW_GROUP = 1 << 17
_BLOCK = 1 << 20
_SAMPLE = 1 << 15
_REPEATING = 1 / 3
"""Distinct values of the sample, at most, for a column to have a dictionary."""
_TAIL = 8  # footer length and magic


class ContentWriter:
    """One Parquet object, visible when the block ends well; its version is known from then on.

    Memory holds one row group, whatever the number of rows. replacing: as of `atomic_writer`.
    """

    def __init__(
        self,
        uri: str,
        schema: pa.Schema,
        metadata: Mapping[str, str],
        *,
        replacing: str | None = None,
    ) -> None:
        self._uri = uri
        self._replacing = replacing
        self._schema = schema.remove_metadata()
        self._metadata = dict(metadata)
        self._waiting: list[pa.RecordBatch] = []
        self._waiting_rows = 0
        self._parquet: pq.ParquetWriter | None = None
        self._stack = ExitStack()
        self.rows = 0
        self.bytes = 0
        self.data_version = ""

    def __enter__(self) -> Self:
        self._target = _HashingFile(
            self._stack.enter_context(atomic_writer(self._uri, replacing=self._replacing))
        )
        return self

    def write(self, batch: pa.RecordBatch) -> None:
        """Raises pyarrow.ArrowInvalid for a batch of another schema."""
        if batch.schema.remove_metadata() != self._schema:
            batch = batch.cast(self._schema)
        self._waiting.append(batch)
        self._waiting_rows += batch.num_rows
        while self._waiting_rows >= ROW_GROUP:
            self._flush(ROW_GROUP)

    def _flush(self, rows: int) -> None:
        table = pa.Table.from_batches(self._waiting, self._schema)
        # Dictionaries and null counts depend on chunks: one chunk a row group.
        group = table.slice(0, rows).combine_chunks()
        self._writer(group).write_table(group, row_group_size=rows)
        self._waiting = table.slice(rows).to_batches()
        self._waiting_rows -= rows
        self.rows += rows

    def _writer(self, first: pa.Table) -> pq.ParquetWriter:
        """Made when the first rows are known: the same content is written the same way."""
        if self._parquet is None:
            self._parquet = pq.ParquetWriter(
                self._target,
                self._schema,
                compression=CODEC,
                use_dictionary=repeating_columns(first.slice(0, _SAMPLE)),
                write_page_index=False,
            )
        return self._parquet

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if kind is not None:
            self._target.abandon()
            if self._parquet is not None:
                self._parquet.close()
            self._stack.__exit__(kind, error, at)
            return
        with self._stack:
            if self._waiting_rows:
                self._flush(self._waiting_rows)
            parquet = self._writer(self._schema.empty_table())
            self.data_version = self._target.digest()
            parquet.add_key_value_metadata({**self._metadata, DATA_VERSION: self.data_version})
            parquet.close()
            self.bytes = self._target.tell()


def repeating_columns(sample: pa.Table) -> list[str]:
    """Those whose values repeat themselves, by their paths in Parquet."""
    found = []
    for field in sample.schema:
        values, path = sample[field.name], field.name
        if pa.types.is_list(field.type):
            values, path = pc.list_flatten(values), f"{path}.list.element"
        if _distinct(values) <= _REPEATING * len(values):
            found.append(path)
    return found


def _distinct(values: pa.ChunkedArray) -> int:
    try:
        return int(pc.count_distinct(values, mode="all").as_py())
    except pa.ArrowNotImplementedError:  # of nulls alone, and of what is a dictionary already
        return 0


def content_hash(stream: BinaryIO) -> str:
    """The data version by the bytes themselves, of a seekable Parquet stream."""
    size = stream.seek(0, 2)
    stream.seek(size - _TAIL)
    footer = int.from_bytes(stream.read(4), "little")
    left = size - _TAIL - footer
    digest = hashlib.sha256()
    stream.seek(0)
    while left > 0 and (block := stream.read(min(_BLOCK, left))):
        digest.update(block)
        left -= len(block)
    return digest.hexdigest()[:_DIGITS]


class _HashingFile:
    """What pyarrow needs of a file it writes to, with a hash of all that went by."""

    def __init__(self, target: BinaryIO) -> None:
        self._target = target
        self._digest = hashlib.sha256()
        self._position = 0
        self._abandoned = False
        self.closed = False

    def abandon(self) -> None:
        """The footer that pyarrow writes in any case goes nowhere from here on."""
        self._abandoned = True

    def write(self, data: bytes) -> int:
        if self._abandoned:
            return len(data)
        self._target.write(data)
        self._digest.update(data)
        self._position += len(data)
        return len(data)

    def digest(self) -> str:
        return self._digest.hexdigest()[:_DIGITS]

    def tell(self) -> int:
        return self._position

    def flush(self) -> None:
        self._target.flush()

    def close(self) -> None:
        """The writer that opened the target closes it."""
        self.closed = True

    def readable(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False
