"""Numbers out of Thrift's compact protocol, which Parquet's footer and page headers are written in.

pyarrow does not show all of them, and ends the whole process over some that are damaged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MOST_ITEMS = 200_000
"""Of all lists that are looked into."""
MOST_VALUES = 1_000_000
"""Of all, looked into or not: a second, in Python."""
_DEEPEST = 16

I32, I64, STRUCT = 5, 6, 12
_I16, _BINARY, _LISTS = 4, 8, (9, 10)
_BITS = {_I16: 16, I32: 32, I64: 64}
_SIZES = {1: 0, 2: 0, 3: 1, 7: 8}
"""True, false, a byte and a double, as fields; as items of a list, true and false have a byte."""

Shape = Mapping[int, Any]
"""What is wanted of a struct, by its fields' numbers: I32 or I64, another's shape, or a list with
the shape of its structs. A field of another kind is none, as for every reader of Thrift."""


class TooMuchError(ValueError):
    """What may be well-formed, and takes longer to look at than a body may."""


@dataclass
class Left:
    """Of what may be read of one body, all its Thrift together."""

    values: int = MOST_VALUES
    items: int = MOST_ITEMS


class Compact:
    """Raises ValueError for what another reader might take for something else, TooMuchError past
    what is left, and IndexError past the end of the data."""

    def __init__(self, data: bytes, left: Left) -> None:
        self._data, self.at, self._left = data, 0, left

    def struct(self, shape: Shape, depth: int = 0) -> dict[int, Any]:
        """The fields that are wanted and there; `at` is behind it then."""
        found: dict[int, Any] = {}
        seen: set[int] = set()
        number = 0
        while head := self._byte():
            kind, step = head & 15, head >> 4
            number = number + step if step else self._whole(16)
            if not 0 < number < 1 << 15 or number in seen:
                raise ValueError("its Thrift has a field twice, or one that none has")
            seen.add(number)
            value = self._value(kind, shape.get(number), depth)
            if value is not None:
                found[number] = value
        return found

    def _value(self, kind: int, wanted: Any, depth: int) -> Any:
        if depth > _DEEPEST:
            raise ValueError("its Thrift is nested too deeply")
        self._take(1)
        if kind in _BITS:
            number = self._whole(_BITS[kind])
            return number if kind == wanted else None
        if kind == STRUCT:
            known = isinstance(wanted, Mapping)
            told = self.struct(wanted if known else {}, depth + 1)
            return told if known else None
        if kind in _LISTS:
            return self._list(wanted, depth)
        if kind == _BINARY:
            size = self._varint()
            self.at += size
        elif kind in _SIZES:
            self.at += _SIZES[kind]
        else:
            raise ValueError("its Thrift holds what Parquet's never does")
        return None

    def _list(self, wanted: Any, depth: int) -> list[dict[int, Any]] | None:
        head = self._byte()
        size, kind = head >> 4, head & 15
        if size == 15:
            size = self._varint()
        if isinstance(wanted, list) and kind == STRUCT:
            self._take(size)
            self._left.items -= size
            if self._left.items < 0:
                raise TooMuchError(
                    f"it has more than {MOST_ITEMS:,} row groups and columns of them"
                )
            return [self.struct(wanted[0], depth + 1) for _ in range(size)]
        if kind in _SIZES:
            self.at += size * max(_SIZES[kind], 1)
        else:
            for _ in range(size):
                self._value(kind, None, depth + 1)
        return None

    def _take(self, values: int) -> None:
        self._left.values -= values
        if self._left.values < 0:
            raise TooMuchError(
                f"its footer and its pages' headers have more than {MOST_VALUES:,} values"
            )

    def _byte(self) -> int:
        byte = self._data[self.at]
        self.at += 1
        return byte

    def _whole(self, bits: int) -> int:
        value = self._varint()
        if value >> bits:
            raise ValueError("a number in its Thrift is too large")
        return (value >> 1) ^ -(value & 1)

    def _varint(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
        raise ValueError("a number in its Thrift has no end")
