"""Words of an Arrow column: where rows share a long one, it is little in a body, and much once each
row has its own."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fraud_mlops.serving.single_values import LONGEST_WORD

_VIEW = 16
"""Bytes of a view, which begin with the word's length."""

LONGEST = 4 * LONGEST_WORD
"""Bytes: a character may have four."""


def is_words(kind: pa.DataType) -> bool:
    return _is_plain(_bare(kind)) or _is_view(_bare(kind))


def holds_single_values(kind: pa.DataType) -> bool:
    """Of a length that is known or can be looked at: no lists, no runs, no dictionaries of such."""
    kind = _bare(kind)
    if pa.types.is_dictionary(kind):
        words = kind.value_type
        return _is_plain(words) or pa.types.is_primitive(words) or pa.types.is_decimal(words)
    if pa.types.is_fixed_size_binary(kind):
        return int(kind.byte_width) <= LONGEST
    return not (pa.types.is_nested(kind) or pa.types.is_run_end_encoded(kind))


def is_shared_view(kind: pa.DataType) -> bool:
    """Words as views in a dictionary, which Arrow has no way to give each row of."""
    kind = _bare(kind)
    return bool(pa.types.is_dictionary(kind) and _is_view(kind.value_type))


def word_bytes(column: pa.Array) -> npt.NDArray[np.int64]:
    """Of each row's word, its own or shared; 0 where there is none."""
    while isinstance(column, pa.ExtensionArray):
        column = column.storage
    if pa.types.is_dictionary(column.type):
        places = pc.fill_null(column.indices, 0).to_numpy(zero_copy_only=False)
        found = word_bytes(column.dictionary)[places] if len(column.dictionary) else 0 * places
    elif _is_plain(column.type):
        found = pc.fill_null(pc.binary_length(column), 0).to_numpy(zero_copy_only=False)
    elif _is_view(column.type) and len(column):
        start, end = column.offset * _VIEW, (column.offset + len(column)) * _VIEW
        found = np.frombuffer(column.buffers()[1], np.int32, (end - start) // 4, start)
        found = found[:: _VIEW // 4]
    else:
        return np.zeros(len(column), dtype=np.int64)
    if column.null_count:
        found = np.where(column.is_valid().to_numpy(zero_copy_only=False), found, 0)
    sizes: npt.NDArray[np.int64] = found.astype(np.int64)
    return sizes


def without_rows(column: pa.Array, rows: npt.NDArray[np.bool_]) -> pa.Array:
    """Null in those rows, and nothing copied."""
    while isinstance(column, pa.ExtensionArray):
        column = column.storage
    if pa.types.is_dictionary(column.type):
        indices = without_rows(column.indices, rows)
        return pa.DictionaryArray.from_arrays(indices, column.dictionary)
    kept = column.is_valid().to_numpy(zero_copy_only=False) & ~rows
    before = np.zeros(column.offset, dtype=np.bool_)
    valid = pa.py_buffer(np.packbits(np.concatenate([before, kept]), bitorder="little"))
    buffers = [valid, *column.buffers()[1:]]
    return pa.Array.from_buffers(column.type, len(column), buffers, offset=column.offset)


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
