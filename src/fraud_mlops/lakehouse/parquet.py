"""Reading Parquet objects: only the bytes that are asked for, in flat memory, one version whole."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, BinaryIO, cast

import pyarrow as pa
import pyarrow.parquet as pq

from fraud_mlops.errors import LakehouseError, StoreError
from fraud_mlops.lakehouse.content import DATA_VERSION
from fraud_mlops.lakehouse.stores import filesystem, is_local, list_files, open_input

_SPAN = 64 << 20
"""Bytes of row groups, as they are in memory, that are fetched at a time from another store."""

Condition = tuple[str, str, Any]
"""Column, operator (=, !=, <, <=, >, >=, in, not in) and value, as in pyarrow's `filters`."""


WRITE_AGAIN = "Write the partition again (docs/stores.md, A damaged partition)."


def parquet_files(folder: str) -> list[str]:
    """Addresses of those below a folder, in order of path; none when it is not there."""
    return [f"{folder}/{f.path}" for f in list_files(folder) if f.path.endswith(".parquet")]


@contextmanager
def open_parquet(uri: str) -> Iterator[tuple[pq.ParquetFile, BinaryIO]]:
    """A Parquet object on any store. Raises FileNotFoundError, LakehouseError for a damaged one,
    and StoreError where it is the machine that cannot read: no right, too many files, a disk."""
    with ExitStack() as stack:
        try:
            stream = stack.enter_context(_opened(uri))
            parquet = pq.ParquetFile(stream, pre_buffer=not is_local(uri))
        except (FileNotFoundError, StoreError, MemoryError):
            raise
        except (pa.ArrowException, OSError) as error:
            if number := getattr(error, "errno", None):
                raise StoreError(f"{uri}: cannot be read: {os.strerror(number)}") from None
            raise LakehouseError(
                f"{uri}: damaged or truncated Parquet: {str(error).rstrip('.')}. {WRITE_AGAIN}"
            ) from None
        yield parquet, stream


def _opened(uri: str) -> AbstractContextManager[BinaryIO]:
    """A local file by Arrow itself: its threads let go of what they have read when they like, and
    of Python's bytes they cannot while Python is ending."""
    if is_local(uri):
        return cast("AbstractContextManager[BinaryIO]", pa.OSFile(filesystem(uri)[1]))
    return open_input(uri)


def stored_version(uri: str, parquet: pq.ParquetFile) -> str:
    """Of the content, as its writer put it down. LakehouseError where another program wrote it."""
    stored = (parquet.metadata.metadata or {}).get(DATA_VERSION.encode())
    if stored is None:
        raise LakehouseError(f"{uri}: carries no data version; it was not written by this project")
    return str(stored.decode())


def user_metadata(parquet: pq.ParquetFile) -> dict[str, str]:
    """What the writer said of the object, the data version with it."""
    stored = parquet.metadata.metadata or {}
    return {k.decode(): v.decode() for k, v in stored.items() if k != b"ARROW:schema"}


def batches_of(
    parquet: pq.ParquetFile,
    stream: BinaryIO,
    rows: int,
    columns: Sequence[str] | None,
    where: Sequence[Condition],
) -> Iterator[pa.RecordBatch]:
    """Row groups that statistics do not rule out, some at a time; of them the rows that fit."""
    condition = pq.filters_to_expression(list(where)) if where else None
    wanted = None if columns is None else list(columns)
    read = wanted
    if wanted is not None and where:
        read = list(dict.fromkeys([*wanted, *(name for name, *_ in where)]))
    groups = _not_ruled_out(stream, condition) if where else range(parquet.num_row_groups)
    for span in _spans(parquet.metadata, groups):
        for batch in parquet.iter_batches(rows, row_groups=span, columns=read):
            if condition is None:
                yield batch
                continue
            fitting = pa.Table.from_batches([batch]).filter(condition)
            if wanted is not None:
                fitting = fitting.select(wanted)
            yield from fitting.combine_chunks().to_batches()


def _not_ruled_out(stream: BinaryIO, condition: Any) -> list[int]:
    import pyarrow.dataset as ds  # which brings pandas

    fragment = ds.ParquetFileFormat().make_fragment(stream)
    return [group.id for group in fragment.subset(condition).row_groups]


def _spans(metadata: pq.FileMetaData, groups: Sequence[int]) -> Iterator[list[int]]:
    """Row groups in order, together no larger than a span, or one that is larger."""
    span: list[int] = []
    size = 0
    for group in groups:
        more = metadata.row_group(group).total_byte_size
        if span and size + more > _SPAN:
            yield span
            span, size = [], 0
        span.append(group)
        size += more
    if span:
        yield span
