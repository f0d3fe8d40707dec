"""The prediction log's write-ahead file: entries one after another, each written at once.

An entry is one record, a JSON object and a line of its own; or records of a batch, which is a line
`{"arrow": bytes}` and so many bytes of an Arrow stream. A file that was cut off ends with a part of
an entry, which belongs to a request that was not answered; what else cannot be read is damage.

Lines are read by Arrow, which leaves Python's lock alone: 10,000 records read in Python slowed
answers down for a second.
"""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.json as pj
from pydantic_core import from_json, to_json

from fraud_mlops.serving.records import SCHEMA, Record

log = logging.getLogger("fraud.serving")

_ROWS = 4096
"""Records of lines that are put together."""

_FRAME = re.compile(rb'\{"arrow":(\d{1,12})\}\n')
_AS_WRITTEN = pa.schema(
    field.with_type(pa.int64()) if pa.types.is_timestamp(field.type) else field for field in SCHEMA
)


def as_lines(records: Sequence[Record]) -> bytes:
    names = SCHEMA.names
    return b"".join(to_json(dict(zip(names, r, strict=True))) + b"\n" for r in records)


def as_frame(records: pa.RecordBatch) -> bytes:
    """records: of SCHEMA."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, SCHEMA) as writer:
        writer.write_batch(records)
    data = sink.getvalue().to_pybytes()
    return b"".join((to_json({"arrow": len(data)}), b"\n", data))


def read_entries(
    path: Path, damaged: Callable[[int], object] = lambda _: None
) -> Iterator[pa.RecordBatch]:
    """Records of the file in order, as SCHEMA; without what was cut off or is no record.

    damaged: told the bytes of each entry that was written to its end and is no record.
    """
    lines: list[bytes] = []
    with path.open("rb") as stream:
        while line := stream.readline():
            frame = _FRAME.fullmatch(line)
            if frame is None:
                lines.append(_as_object(line))
            if lines and (frame is not None or len(lines) == _ROWS):
                yield from _records(lines, damaged)
                lines = []
            if frame is not None:
                yield from _framed(stream, int(frame[1]), damaged)
    if lines:
        yield from _records(lines, damaged)


def _framed(stream: IO[bytes], size: int, damaged: Callable[[int], object]) -> list[pa.RecordBatch]:
    data = stream.read(size)
    if len(data) < size:
        return []
    try:
        return _batches(data)
    except (pa.ArrowException, OSError, ValueError, MemoryError):
        log.warning("prediction log: an entry of %d bytes is no batch of records", size)
        damaged(size)
        return []


def _batches(data: bytes) -> list[pa.RecordBatch]:
    with pa.ipc.open_stream(data) as reader:
        if not reader.schema.equals(SCHEMA):
            raise ValueError("other columns than the log's")
        found = list(reader)
    for records in found:
        records.validate(full=True)
    return found


def _records(lines: list[bytes], damaged: Callable[[int], object]) -> Iterator[pa.RecordBatch]:
    """Those among the lines; where one is none, each half by itself."""
    try:
        yield from _parsed(b"".join(lines))
    except (pa.ArrowException, ValueError):
        middle = len(lines) // 2
        if middle:
            yield from _records(lines[:middle], damaged)
            yield from _records(lines[middle:], damaged)
        elif lines[0].endswith(b"\n"):
            log.warning("prediction log: an entry of %d bytes is no record", len(lines[0]))
            damaged(len(lines[0]))


def _as_object(line: bytes) -> bytes:
    """A list is a record too: in files of an older version, which a crash may have left."""
    if line.startswith(b"["):
        with contextlib.suppress(ValueError):
            values = from_json(line)
            if len(values) == len(SCHEMA):
                return to_json(dict(zip(SCHEMA.names, values, strict=True))) + b"\n"
    return line


def _parsed(data: bytes) -> list[pa.RecordBatch]:
    """Raises ValueError when something in it is no record."""
    read = pj.ReadOptions(use_threads=False, block_size=len(data) + 1)
    parse = pj.ParseOptions(explicit_schema=_AS_WRITTEN, unexpected_field_behavior="error")
    found = pj.read_json(pa.BufferReader(data), read_options=read, parse_options=parse)
    if any(found.column(f.name).null_count for f in SCHEMA if not f.nullable):
        raise ValueError("a record lacks what every record has")
    return list(found.select(SCHEMA.names).cast(SCHEMA).to_batches())
