"""A text feature of n claims: a list where they are few, an Arrow array where they are many.

Of a batch, what is done row by row in Python holds its lock, and with it the other thread.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Words: TypeAlias = list[str | None] | pa.Array

_MISSING, _BETWEEN = "\x00", "\x1f"


def codes(
    columns: Sequence[Words], known: Sequence[Mapping[str | None, int]]
) -> npt.NDArray[np.int64]:
    """Codes [n, c] of c columns, 0 for a value that is not known."""
    found = [_codes(*each) for each in zip(columns, known, strict=True)]
    return np.ascontiguousarray(np.array(found, dtype=np.int64).T)


def _codes(words: Words, known: Mapping[str | None, int]) -> list[int] | npt.NDArray[np.int64]:
    if isinstance(words, list):
        return [known.get(word, 0) for word in words]
    encoded = words.dictionary_encode(null_encoding="encode")
    own = np.array([known.get(w, 0) for w in encoded.dictionary.to_pylist()], dtype=np.int64)
    return np.asarray(own[encoded.indices.to_numpy(zero_copy_only=False)])


def missing(words: Words) -> npt.NDArray[np.bool_] | None:
    """Which are [n]; None where none is."""
    if isinstance(words, list):
        return np.array([word is None for word in words]) if None in words else None
    return words.is_null().to_numpy(zero_copy_only=False) if words.null_count else None


def value(words: Words, row: int) -> str | None:
    found: str | None = words[row] if isinstance(words, list) else words[row].as_py()
    return found


def joined(columns: Sequence[Words], rows: int) -> list[bytes]:
    """All words of each row as one."""
    if not columns:
        return [b""] * rows
    if isinstance(columns[0], list):
        given = [[_MISSING if word is None else word for word in column] for column in columns]
        return [_BETWEEN.join(row).encode() for row in zip(*given, strict=True)]
    told = pc.binary_join_element_wise(
        *columns, _BETWEEN, null_handling="replace", null_replacement=_MISSING
    )
    found: list[bytes] = told.cast(pa.binary()).to_pylist()
    return found
