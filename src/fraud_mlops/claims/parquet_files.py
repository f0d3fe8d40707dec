"""Parquet as a stream of record batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fraud_mlops.claims.files import Chunk, SourceFile
from fraud_mlops.claims.values import plain, plain_type
from fraud_mlops.errors import SourceError

_BATCH_ROWS = 1 << 16
_MAGIC = b"PAR1"


@contextmanager
def open_parquet(file: SourceFile) -> Iterator[pq.ParquetFile]:
    """Raises SourceError that tells a truncated Parquet from something else altogether."""
    try:
        opened = file.fs.open(file.path, "rb")
    except OSError as error:
        raise SourceError(f"{file.name}: cannot be opened: {error}") from error
    with opened as stream:
        try:
            parquet = pq.ParquetFile(stream)
        except (pa.ArrowException, OSError) as error:
            raise SourceError(f"{file.name}: {_why(file, error)}") from error
        yield parquet


def _why(file: SourceFile, error: Exception) -> str:
    size = file.fs.size(file.path)
    if not size:
        return "is empty (0 bytes)"
    with file.fs.open(file.path, "rb") as stream:
        starts = stream.read(4) == _MAGIC
        stream.seek(max(0, size - 4))
        ends = stream.read(4) == _MAGIC
    if not starts and file.compression:
        return "is packed, and Parquet is read as it is: unpack it"
    if not starts:
        return "is not Parquet; set `source.format: csv` if it is text"
    if not ends:
        return f"is a truncated Parquet: its footer is missing after {size:,} bytes. Fetch it again"
    return f"is a damaged Parquet: {error}. Fetch it again"


def read_types(file: SourceFile) -> tuple[list[str], list[pa.DataType]]:
    """Names and types of the columns, as `read_chunks` gives them."""
    with open_parquet(file) as parquet:
        schema = parquet.schema_arrow
        return schema.names, [plain_type(kind) for kind in schema.types]


def count_rows(file: SourceFile) -> int:
    with open_parquet(file) as parquet:
        return int(parquet.metadata.num_rows)


def read_chunks(file: SourceFile, columns: Sequence[str]) -> Iterator[Chunk]:
    """Streams `columns`: text as string, all else in types of their own."""
    with open_parquet(file) as parquet:
        row = 1
        wanted = set(columns)
        chosen = [n for n in parquet.schema_arrow.names if n in wanted]
        try:
            for batch in parquet.iter_batches(_BATCH_ROWS, columns=chosen, use_threads=False):
                rows = np.arange(row, row + batch.num_rows, dtype=np.int64)
                row += batch.num_rows
                yield Chunk(file, _plain(batch), rows)
        except (pa.ArrowException, OSError) as error:
            raise SourceError(
                f"{file.name}, near row {row}: damaged Parquet: {error}. Fetch it again"
            ) from error


def _plain(batch: pa.RecordBatch) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([plain(a) for a in batch.columns], batch.schema.names)
