"""What an Arrow stream unpacks to, found out before anything is unpacked.

A compressed buffer begins with its length unpacked, and a reader allocates so much at once: a body
of some kilobytes can ask for gigabytes. Lengths are read from the messages' own tables (the
FlatBuffers of Message.fbs in the Arrow format), which pyarrow does not show.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import IO, NamedTuple

import pyarrow as pa

_RECORD_BATCH, _DICTIONARY_BATCH = 3, 2
_HEADER_TYPE, _HEADER = 1, 2
_LENGTH, _BUFFERS, _COMPRESSION, _DATA = 0, 2, 3, 1
_NOT_COMPRESSED = -1


class Unpacked(NamedTuple):
    """bytes: of all buffers. rows: of all record batches; one without any takes a row's time, and
    counts as one. at_once: bytes of the largest record batch and all dictionaries, which stay."""

    bytes: int
    rows: int
    at_once: int


def unpacked(body: IO[bytes], most: int) -> Unpacked:
    """What the whole stream is; counting ends once there are more bytes than `most`.

    The body is put back to its beginning. Raises ArrowException or ValueError for what is no
    stream.
    """
    total = rows = largest = kept = 0
    try:
        for message in pa.ipc.MessageReader.open_stream(body):
            table = memoryview(message.metadata)
            kind, header = _header(table)
            if header is None or message.body is None:
                continue
            size = sum(_lengths(table, header, message.body))
            total += size
            if kind == _RECORD_BATCH:
                rows += max(_rows(table, header), 1)
                largest = max(largest, size)
            else:
                kept += size
            if total > most:
                break
    except struct.error:
        raise ValueError("a message points outside itself") from None
    finally:
        body.seek(0)
    return Unpacked(total, rows, largest + kept)


def _header(table: memoryview) -> tuple[int, int | None]:
    """What kind of batch a message is, and where its table is; None for one that is none."""
    root = _offset(table, 0)
    at = _field(table, root, _HEADER_TYPE)
    kind = table[at] if at is not None else 0
    header = _followed(table, root, _HEADER)
    if kind == _DICTIONARY_BATCH and header is not None:
        header = _followed(table, header, _DATA)
    return kind, header if kind in (_RECORD_BATCH, _DICTIONARY_BATCH) else None


def _rows(table: memoryview, header: int) -> int:
    at = _field(table, header, _LENGTH)
    (rows,) = struct.unpack_from("<q", table, at) if at is not None else (0,)
    if rows < 0:
        raise ValueError("a batch has less than no rows")
    return int(rows)


def _lengths(table: memoryview, header: int, body: pa.Buffer) -> Iterator[int]:
    packed = _field(table, header, _COMPRESSION) is not None
    buffers = _followed(table, header, _BUFFERS)
    if buffers is None:
        return
    (count,) = struct.unpack_from("<I", table, buffers)
    content = memoryview(body)
    for i in range(count):
        start, length = struct.unpack_from("<qq", table, buffers + 4 + 16 * i)
        if not packed or length < 8 or start < 0:
            yield max(length, 0)
            continue
        (unpacked,) = struct.unpack_from("<q", content, start)
        if unpacked < _NOT_COMPRESSED:
            raise ValueError("a buffer has less than no bytes")
        yield length if unpacked == _NOT_COMPRESSED else unpacked


def _offset(table: memoryview, at: int) -> int:
    """Where the offset at `at` leads."""
    (distance,) = struct.unpack_from("<I", table, at)
    return at + int(distance)


def _field(table: memoryview, at: int, number: int) -> int | None:
    """Place of a table's field; None where it is left out."""
    (back,) = struct.unpack_from("<i", table, at)
    names = at - int(back)
    (size,) = struct.unpack_from("<H", table, names)
    if 4 + 2 * number >= size:
        return None
    (distance,) = struct.unpack_from("<H", table, names + 4 + 2 * number)
    return at + int(distance) if distance else None


def _followed(table: memoryview, at: int, number: int) -> int | None:
    place = _field(table, at, number)
    return None if place is None else _offset(table, place)
