"""Everything that files hold, also packed, and marks that are looked for in it."""

from __future__ import annotations

import base64
import gzip
import io
import json
import re
import sqlite3
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path

import pyarrow.parquet as pq

_BASE64 = re.compile(rb"[A-Za-z0-9+/]{400,}={0,2}")
_DEEPEST = 5


def leaks(folder: Path, marks: Mapping[str, str]) -> list[str]:
    """`file: name of the mark` for each that is in a file below the folder, or in its name."""
    forms = {name: list(_forms(mark)) for name, mark in marks.items()}
    found = []
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and not p.is_symlink()):
        texts = [str(path.relative_to(folder)).encode(), *held(path)]
        found += [
            f"{path.relative_to(folder)}: {name}"
            for name, shapes in forms.items()
            if any(shape in text for shape in shapes for text in texts)
        ]
    return found


def _forms(mark: str) -> Iterator[bytes]:
    """As it is, and what base64 makes of it wherever in a text it begins."""
    plain = mark.encode()
    yield plain
    for before in range(3):
        packed = base64.b64encode(b"\0" * before + plain)
        # First and last characters depend on what stands beside the mark.
        yield packed[(4 if before else 0) : -4]


def held(path: Path) -> list[bytes]:
    """What a file holds: its bytes, and what is packed in them."""
    if (rows := _database(path)) is not None:
        return [path.read_bytes(), rows]
    return list(_layers(path.read_bytes(), 0))


def _layers(data: bytes, depth: int) -> Iterator[bytes]:
    yield data
    if depth < _DEEPEST:
        for inner in _unpacked(data):
            yield from _layers(inner, depth + 1)


def _unpacked(data: bytes) -> Iterable[bytes]:
    if data[:2] == b"\x1f\x8b":
        return [gzip.decompress(data)]
    if data[:4] == b"PK\x03\x04":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return [archive.read(name) for name in archive.namelist()]
    if data[:4] == b"PAR1":
        return _parquet(data)
    if data[257:262] == b"ustar":
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            return [stream.read() for member in archive if (stream := archive.extractfile(member))]
    if data[:1] == b"\x78":
        try:
            return [zlib.decompress(data)]
        except zlib.error:
            return []
    # Cards hold their data so.
    return [base64.b64decode(text[: len(text) // 4 * 4]) for text in _BASE64.findall(data)]


def _parquet(data: bytes) -> list[bytes]:
    file = pq.ParquetFile(io.BytesIO(data))
    metadata = file.schema_arrow.metadata or {}
    rows = json.dumps(file.read().to_pylist(), default=str)
    return [rows.encode(), *metadata.keys(), *metadata.values()]


def _database(path: Path) -> bytes | None:
    """Values of every row: in the file itself they may be cut in pieces."""
    with path.open("rb") as stream:
        if stream.read(16) != b"SQLite format 3\0":
            return None
    with closing(sqlite3.connect(path)) as database:
        return "\n".join(database.iterdump()).encode()
