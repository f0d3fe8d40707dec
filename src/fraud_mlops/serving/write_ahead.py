"""The prediction log's write-ahead file: entries one after another, each written at once.

An entry is one record, a JSON list and a line of its own; or records of a batch, which is a line
`{"arrow": bytes}` and so many bytes of an Arrow stream. A file that was cut off ends with a part of
an entry, which belongs to a request that was not answered.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import pyarrow as pa
from pydantic_core import to_json

from fraud_mlops.serving.records import SCHEMA, Record

_ROWS = 4096
"""Records of lines that are put together."""


def as_lines(records: Sequence[Record]) -> bytes:
    return b"".join(to_json(record) + b"\n" for record in records)


def as_frame(records: pa.RecordBatch) -> bytes:
    """records: of SCHEMA."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, SCHEMA) as writer:
        writer.write_batch(records)
    data = sink.getvalue().to_pybytes()
    return b"".join((to_json({"arrow": len(data)}), b"\n", data))


def read_entries(path: Path) -> Iterator[pa.RecordBatch]:
    """Records of the file in order, as SCHEMA; without what was cut off or is no record."""
    waiting: list[Record] = []
    with path.open("rb") as stream:
        while line := stream.readline():
            entry = _entry(line)
            if isinstance(entry, list):
                waiting.append(tuple(entry))
            if waiting and (isinstance(entry, dict) or len(waiting) == _ROWS):
                yield _batch(waiting)
                waiting = []
            if isinstance(entry, dict):
                yield from _framed(stream, entry["arrow"])
    if waiting:
        yield _batch(waiting)


def _entry(line: bytes) -> list[object] | dict[str, int] | None:
    with contextlib.suppress(ValueError):
        found = json.loads(line)
        if isinstance(found, list) and len(found) == len(SCHEMA):
            return found
        if isinstance(found, dict) and isinstance(found.get("arrow"), int):
            return found
    return None


def _framed(stream: IO[bytes], size: int) -> Iterator[pa.RecordBatch]:
    data = stream.read(size)
    if len(data) == size:
        with pa.ipc.open_stream(data) as reader:
            yield from reader


def _batch(rows: list[Record]) -> pa.RecordBatch:
    columns = zip(*rows, strict=True)
    arrays = [pa.array(c, field.type) for c, field in zip(columns, SCHEMA, strict=True)]
    return pa.record_batch(arrays, schema=SCHEMA)
