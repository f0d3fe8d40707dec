"""What a Parquet body unpacks to, found out before anything is unpacked.

A footer may say anything of its pages; a reader allocates what each page's own header says, and
decodes as that says. Headers are read from their Thrift (PageHeader of parquet.thrift, in the
compact protocol), which pyarrow does not show.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, NamedTuple

import pyarrow.parquet as pq

MOST_PAGES = 100_000
_WINDOW, _LONGEST_HEADER = 256, 16 << 20
_DEEPEST = 8

_UNPACKED, _PACKED = 2, 3
_ENCODINGS = ((5, 2), (8, 4))
"""Where they stand in pages of values, of the first kind and the second."""
_DELTA_LENGTH, _DELTA = 6, 7

_, _TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _STRUCT = (*range(9), 12)


class Page(NamedTuple):
    """deltas: whether its words share their beginnings or stand apart from their lengths."""

    bytes: int
    deltas: bool


def pages(body: IO[bytes], chunk: pq.ColumnChunkMetaData) -> Iterator[Page]:
    """Of one column in one row group. Raises ValueError for what is no page."""
    place = chunk.data_page_offset
    if chunk.has_dictionary_page and 0 < chunk.dictionary_page_offset < place:
        place = chunk.dictionary_page_offset
    end = place + chunk.total_compressed_size
    while place < end:
        told, size = _header(body, place)
        unpacked, packed = told.get((_UNPACKED,), -1), told.get((_PACKED,), -1)
        if min(unpacked, packed) < 0:
            raise ValueError("a page does not say how large it is")
        yield Page(unpacked, any(told.get(at) in (_DELTA_LENGTH, _DELTA) for at in _ENCODINGS))
        place += size + packed


def _header(body: IO[bytes], place: int) -> tuple[dict[tuple[int, ...], int], int]:
    """Numbers of the header there, by the fields that lead to them, and how long it is."""
    window = _WINDOW
    while True:
        body.seek(place)
        data = body.read(window)
        found: dict[tuple[int, ...], int] = {}
        try:
            return found, _struct(data, 0, (), found)
        except IndexError:
            if len(data) < window or window >= _LONGEST_HEADER:
                raise ValueError("a page's header has no end") from None
        window *= 16


def _struct(data: bytes, at: int, path: tuple[int, ...], found: dict[tuple[int, ...], int]) -> int:
    """Where it ends. What another reader might take for something else is refused."""
    number = 0
    seen: set[int] = set()
    while data[at]:
        kind, step = data[at] & 15, data[at] >> 4
        at += 1
        if step:
            number += step
        else:
            number, at = _whole(data, at)
        if not 0 < number < 1 << 15 or number in seen or len(path) > _DEEPEST:
            raise ValueError("a page's header has a field twice, or one that none has")
        seen.add(number)
        if kind == _STRUCT:
            at = _struct(data, at, (*path, number), found)
        elif kind == _I32:
            value, at = _whole(data, at)
            if not -(1 << 31) <= value < 1 << 31:
                raise ValueError("a number of a page's header is too large")
            found[*path, number] = value
        else:
            at = _after(data, at, kind)
    return at + 1


def _after(data: bytes, at: int, kind: int) -> int:
    if kind in (_I16, _I64):
        return _varint(data, at)[1]
    if kind == _BINARY:
        size, at = _varint(data, at)
        return at + size
    sizes = {_TRUE: 0, _FALSE: 0, _BYTE: 1, _DOUBLE: 8}
    if kind not in sizes:
        raise ValueError("a page's header holds what none does")
    return at + sizes[kind]


def _whole(data: bytes, at: int) -> tuple[int, int]:
    value, at = _varint(data, at)
    return (value >> 1) ^ -(value & 1), at


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 64, 7):
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError("a number has no end")
