"""Words that rows of an Arrow column share: little in a body, much once each row has its own."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fraud_mlops.serving.single_values import LONGEST_WORD

_VIEW = 16
"""Bytes of a view, which begin with the word's length."""

DELTAS = frozenset({"DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY"})
"""Parquet's encodings of words that share their beginnings. pyarrow takes them apart at once."""


def is_words(kind: pa.DataType) -> bool:
    return _is_plain(_bare(kind)) or _is_view(_bare(kind))


def holds_single_values(kind: pa.DataType) -> bool:
    """Of a length that is known or can be looked at: no lists, no runs, no dictionaries of such."""
    kind = _bare(kind)
    if pa.types.is_dictionary(kind):
        words = kind.value_type
        return _is_plain(words) or bool(pa.types.is_primitive(words))
    if pa.types.is_fixed_size_binary(kind):
        return int(kind.byte_width) <= 4 * LONGEST_WORD
    return not (pa.types.is_nested(kind) or pa.types.is_run_end_encoded(kind))


def longest_shared(column: pa.Array) -> int:
    """Bytes of the longest word that more than one row may point at; 0 where none can."""
    while isinstance(column, pa.ExtensionArray):
        column = column.storage
    if pa.types.is_dictionary(column.type):
        words = column.dictionary
        return (pc.max(pc.binary_length(words)).as_py() or 0) if _is_plain(words.type) else 0
    if not _is_view(column.type) or not len(column):
        return 0
    start, end = column.offset * _VIEW, (column.offset + len(column)) * _VIEW
    views = np.frombuffer(column.buffers()[1], np.int32, (end - start) // 4, start)
    lengths = np.where(column.is_valid().to_numpy(zero_copy_only=False), views[:: _VIEW // 4], 0)
    return int(lengths.max())


def _bare(kind: pa.DataType) -> pa.DataType:
    while isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
    return kind


def _is_plain(kind: pa.DataType) -> bool:
    is_a = pa.types
    text = is_a.is_string(kind) or is_a.is_large_string(kind)
    return bool(text or is_a.is_binary(kind) or is_a.is_large_binary(kind))


def _is_view(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string_view(kind) or pa.types.is_binary_view(kind))
