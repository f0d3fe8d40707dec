"""Parquet whose content has a hash: equal rows in equal order, equal hash.

The hash covers the bytes before the footer, so that what a writer says about itself (run,
contract version) is no part of it, and rows are cut into row groups of one size, so that the
batches in which they came are not either.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import BinaryIO, Self

import pyarrow as pa
import pyarrow.parquet as pq

from fraud_mlops.lakehouse.stores import atomic_writer

DATA_VERSION = "data_version"
CODEC = "zstd"
_DIGITS = 32
ROW_GROUP = 1 << 17
_BLOCK = 1 << 20
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
        self._stack = ExitStack()
        self.rows = 0
        self.bytes = 0
        self.data_version = ""

    def __enter__(self) -> Self:
        self._target = _HashingFile(
            self._stack.enter_context(atomic_writer(self._uri, replacing=self._replacing))
        )
        try:
            self._parquet = pq.ParquetWriter(
                self._target, self._schema, compression=CODEC, write_page_index=False
            )
        except BaseException as error:
            self._stack.__exit__(type(error), error, error.__traceback__)
            raise
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
        self._parquet.write_table(table.slice(0, rows).combine_chunks(), row_group_size=rows)
        self._waiting = table.slice(rows).to_batches()
        self._waiting_rows -= rows
        self.rows += rows

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if kind is not None:
            self._target.abandon()
            self._parquet.close()
            self._stack.__exit__(kind, error, at)
            return
        with self._stack:
            if self._waiting_rows:
                self._flush(self._waiting_rows)
            self.data_version = self._target.digest()
            self._parquet.add_key_value_metadata(
                {**self._metadata, DATA_VERSION: self.data_version}
            )
            self._parquet.close()
            self.bytes = self._target.tell()


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
