"""What a Parquet body unpacks to, found out before anything is unpacked.

A footer may say anything of its pages; a reader allocates what each page's own header says, and
decodes as that says. Both are read from their Thrift (FileMetaData and PageHeader of
parquet.thrift): a column's metadata by pyarrow, where damaged, ends the process by SIGABRT.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import pairwise
from typing import IO, Any, NamedTuple

from api.thrift import I32, I64, Compact, Left, TooMuchError

MOST_PAGES = 50_000
LONGEST_FOOTER = 4 << 20
LONGEST_HEADERS = 16 << 20
"""Of all pages together; they hold little but statistics."""
_WINDOWS = (1 << 8, 1 << 12, 1 << 16)
"""Bytes that are looked for a header's end in; no page's is longer than the last."""

_GROUPS, _COLUMNS, _ROWS, _META = 4, 1, 3, 3
_PACKED_CHUNK, _DATA_AT, _DICTIONARY_AT = 7, 9, 11
_CHUNK = {_META: {_PACKED_CHUNK: I64, _DATA_AT: I64, _DICTIONARY_AT: I64}}
_FOOTER = {_GROUPS: [{_COLUMNS: [_CHUNK], _ROWS: I64}]}

_UNPACKED, _PACKED = 2, 3
_DATA, _DATA_2 = 5, 8
_ENCODINGS = ((_DATA, 2), (_DATA_2, 4))
"""Where they stand in pages of values, of the first kind and the second."""
_PAGE = {_UNPACKED: I32, _PACKED: I32} | {kind: {place: I32} for kind, place in _ENCODINGS}
_DELTA_LENGTH, _DELTA = 6, 7


class Chunk(NamedTuple):
    """A column of one row group: where its pages begin and end."""

    start: int
    end: int


class Group(NamedTuple):
    rows: int
    chunks: list[Chunk]


class Page(NamedTuple):
    """deltas: whether its words share their beginnings or stand apart from their lengths."""

    bytes: int
    deltas: bool


class Parquet:
    """A body, and what is left of what may be read of its Thrift. Raises ValueError for what is
    none, TooMuchError for what takes too long to look at."""

    def __init__(self, body: IO[bytes]) -> None:
        self._body, self._left, self._headers = body, Left(), LONGEST_HEADERS

    def row_groups(self) -> list[Group]:
        """By the footer."""
        length = self._body.seek(0, os.SEEK_END)
        self._body.seek(max(0, length - 8))
        tail = self._body.read(8)
        size = int.from_bytes(tail[:4], "little")
        if tail[4:] != b"PAR1" or size > length - 8:
            raise ValueError("it has no footer")
        if size > LONGEST_FOOTER:
            raise TooMuchError(f"its footer has more than {LONGEST_FOOTER:,} bytes")
        self._body.seek(length - 8 - size)
        try:
            told = Compact(self._body.read(size), self._left).struct(_FOOTER)
            groups = [_group(group) for group in told[_GROUPS]]
        except (IndexError, KeyError):
            raise ValueError("its footer does not say where columns are") from None
        _check_apart(groups)
        return groups

    def pages(self, chunk: Chunk) -> Iterator[Page]:
        """Of a column of one row group, by their own headers."""
        place = chunk.start
        while place < chunk.end:
            told, size = self._header(place)
            self._headers -= size
            if self._headers < 0:
                raise TooMuchError(f"its pages' headers have more than {LONGEST_HEADERS:,} bytes")
            unpacked, packed = told.get(_UNPACKED, -1), told.get(_PACKED, -1)
            if min(unpacked, packed) < 0:
                raise ValueError("a page does not say how large it is")
            encodings = (told.get(kind, {}).get(at) for kind, at in _ENCODINGS)
            yield Page(unpacked, any(found in (_DELTA_LENGTH, _DELTA) for found in encodings))
            place += size + packed

    def _header(self, place: int) -> tuple[dict[int, Any], int]:
        """The header there, and how long it is."""
        for window in _WINDOWS:
            self._body.seek(place)
            data = self._body.read(window)
            try:
                reading = Compact(data, self._left)
                return reading.struct(_PAGE), reading.at
            except IndexError:
                if len(data) < window:
                    break
        raise ValueError("a page's header has no end")


def _group(told: dict[int, Any]) -> Group:
    if told[_ROWS] < 0:
        raise ValueError("its footer tells of less than no rows")
    return Group(told[_ROWS], [_chunk(chunk[_META]) for chunk in told[_COLUMNS]])


def _chunk(told: dict[int, Any]) -> Chunk:
    start, dictionary = told[_DATA_AT], told.get(_DICTIONARY_AT, 0)
    if 0 < dictionary < start:
        start = dictionary
    size = told[_PACKED_CHUNK]
    if min(start, size) < 0:
        raise ValueError("its footer places a column before its beginning")
    return Chunk(start, start + size)


def _check_apart(groups: list[Group]) -> None:
    """A page that many columns share would be looked at, and unpacked, for each. Where there are no
    rows, there need be no pages, and the footer may place them anywhere."""
    chunks = sorted(chunk for group in groups if group.rows for chunk in group.chunks)
    if any(chunk.end > after.start for chunk, after in pairwise(chunks)):
        raise ValueError("its footer places two columns at once")
