"""Source values as text, numbers and labels: whole columns at a time, bad values marked.

CSV columns arrive as text, so that a value that cannot be read is one bad cell of a known row
and not the end of the file. Parquet columns arrive typed and go through the same functions.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fraud_mlops.contract import Label

Mask = np.ndarray[tuple[int], np.dtype[np.bool_]]

# "nan" is a missing number and "inf" a number that a rule refuses: both can be read.
_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$|^[+-]?(?i:inf|infinity|nan)$"
_THOUSANDS = {".": "[.]", ",": "[,]", " ": r"[ \x{A0}\x{202F}]", "'": r"['\x{2019}]"}
_WHOLE = r"^(-?\d+)\.0+$"
# As whole floats are written; "1.00" and "007.0" are words of their own.
_WHOLE_FLOAT = r"^(-?(?:0|[1-9]\d*))\.0$"
_LARGEST_EXACT_INTEGER = 2.0**53


class Parsed(NamedTuple):
    """A column of n values, null where there is none, and where a value could not be read."""

    values: pa.Array
    bad: Mask


def mask_of(condition: pa.Array) -> Mask:
    """A boolean Arrow array as numpy; null counts as false."""
    flags: Mask = pc.fill_null(condition, False).to_numpy(zero_copy_only=False)
    return flags


def none_bad(array: pa.Array) -> Mask:
    return np.zeros(len(array), dtype=np.bool_)


def is_text(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def is_number(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    )


def plain_type(kind: pa.DataType) -> pa.DataType:
    """What `plain` makes of a type."""
    if isinstance(kind, pa.BaseExtensionType):
        return plain_type(kind.storage_type)
    if pa.types.is_dictionary(kind):
        return plain_type(kind.value_type)
    return pa.string() if is_text(kind) or _is_binary(kind) else kind


def plain(array: pa.Array) -> pa.Array:
    """Without dictionary and extension types; text, and bytes that are text, as string.

    Some writers mark no text as such. Bytes that are none, and those of one length (UUIDs),
    become hexadecimal digits.
    """
    kind = array.type
    if isinstance(kind, pa.BaseExtensionType):
        return plain(array.storage)
    if pa.types.is_dictionary(kind):
        return plain(array.dictionary_decode())
    if not _is_binary(kind):
        return array.cast(pa.string()) if is_text(kind) else array
    fixed = pa.types.is_fixed_size_binary(kind)
    if not fixed:
        with contextlib.suppress(pa.ArrowInvalid):
            return array.cast(pa.binary()).cast(pa.string())
    words = [b if b is None else b.hex() if fixed else _word(b) for b in array.to_pylist()]
    return pa.array(words, pa.string())


def _word(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.hex()


def _is_binary(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_binary_view(kind)
        or pa.types.is_fixed_size_binary(kind)
    )


def text(array: pa.Array) -> pa.Array:
    """Text without blanks around it; empty text is null. Whole floats lose their `.0`."""
    kind = array.type
    if pa.types.is_floating(kind):
        return _float_text(array)
    if pa.types.is_nested(kind):
        return pa.nulls(len(array), pa.string())
    words = pc.utf8_trim_whitespace(array.cast(pa.string()))
    empty = pc.equal(words, "")
    if pc.any(empty).as_py():
        return pc.if_else(empty, pa.scalar(None, pa.string()), words)
    return words


def codes(array: pa.Array) -> pa.Array:
    """`text` of ids, entities and categories: whole floats lose their `.0` where they are text
    already as well. One CSV writes the code 17 as 17.0, since another one is missing."""
    words = text(array)
    if pc.any(pc.ends_with(words, ".0")).as_py():
        return pc.replace_substring_regex(words, _WHOLE_FLOAT, r"\1")
    return words


def code(value: object) -> str | None:
    """The same of one value."""
    found: str | None = codes(pa.array([value]))[0].as_py()
    return found


def _float_text(array: pa.Array) -> pa.Array:
    """pandas writes codes as floats once one is missing: 3.0 is the code 3."""
    array = _nan_as_null(array.cast(pa.float64()))
    whole = pc.and_(
        pc.equal(pc.floor(array), array), pc.less(pc.abs(array), _LARGEST_EXACT_INTEGER)
    )
    codes = pc.if_else(whole, array, pa.scalar(None, pa.float64())).cast(pa.int64())
    return pc.coalesce(codes.cast(pa.string()), array.cast(pa.string()))


def without(array: pa.Array, missing: Sequence[str]) -> pa.Array:
    """Null where the value is one of `missing`, the column's own words for 'not known'.

    `0` stands for `0.0` too, and the other way round.
    """
    if not missing:
        return array
    words = text(array)
    unknown = pc.or_(
        pc.is_in(words, value_set=pa.array(missing, pa.string())),
        pc.is_in(_short(words), value_set=_short(pa.array(missing, pa.string()))),
    )
    return pc.if_else(unknown, pa.scalar(None, array.type), array)


class Signs(NamedTuple):
    """How a source writes its numbers; thousands: between groups of three digits, where it has
    them. A space stands for the narrow and the fixed one too, an apostrophe for the curly one."""

    decimal: str = "."
    thousands: str | None = None


POINT = Signs()


def numbers(array: pa.Array, signs: Signs = POINT) -> Parsed:
    """float64; NaN becomes null, infinities are kept for a rule to find.

    With a decimal sign other than the point, a point makes a value unreadable: `1.234` would
    otherwise be taken for 1.234 where 1234 is meant. So does a sign between thousands that stands
    anywhere else: `1.23`.
    """
    kind = array.type
    if is_number(kind) or pa.types.is_boolean(kind):
        values = array.cast(pa.uint8()) if pa.types.is_boolean(kind) else array
        return Parsed(_nan_as_null(values.cast(pa.float64(), safe=False)), none_bad(array))
    if not is_text(kind) and not pa.types.is_null(kind):
        return Parsed(pa.nulls(len(array), pa.float64()), mask_of(pc.is_valid(array)))
    digits = array.cast(pa.string())
    if signs.thousands:
        digits = _ungrouped(digits, signs.thousands, signs.decimal)
    if signs.decimal != ".":
        digits = pc.replace_substring(pc.replace_substring(digits, ".", "?"), signs.decimal, ".")
    try:
        return Parsed(_nan_as_null(digits.cast(pa.float64())), none_bad(array))
    except pa.ArrowInvalid:
        digits = text(digits)
        readable = pc.match_substring_regex(digits, _NUMBER)
        values = pc.if_else(readable, digits, pa.scalar(None, pa.string())).cast(pa.float64())
        return Parsed(_nan_as_null(values), mask_of(pc.invert(readable)))


def _ungrouped(digits: pa.Array, thousands: str, decimal: str) -> pa.Array:
    """Without the signs between thousands, where they stand between groups of three digits."""
    sign = _THOUSANDS[thousands]
    grouped = rf"^\s*[+-]?[1-9]\d{{0,2}}({sign}\d{{3}})+([{decimal}]\d*)?\s*$"
    whole = pc.fill_null(pc.match_substring_regex(digits, grouped), False)
    return pc.if_else(whole, pc.replace_substring_regex(digits, sign, ""), digits)


def _nan_as_null(array: pa.Array) -> pa.Array:
    nan = pc.is_nan(array)
    if pc.any(nan).as_py():
        return pc.if_else(nan, pa.scalar(None, pa.float64()), array)
    return array


def labels(array: pa.Array, label: Label) -> Parsed:
    """int8: 1 fraud, 0 genuine, null unknown. `1.0` is read as `1` where that is a label, and the
    other way round."""
    words = text(array)
    fraud, genuine = (pa.array(named, pa.string()) for named in (label.fraud, label.genuine))
    values = _mapped(words, fraud, genuine)
    unread = mask_of(pc.and_(pc.is_valid(words), pc.is_null(values)))
    if unread.any():
        values = pc.coalesce(values, _mapped(_short(words), _short(fraud), _short(genuine)))
        unread = mask_of(pc.and_(pc.is_valid(words), pc.is_null(values)))
    return Parsed(values, unread)


def _short(words: pa.Array) -> pa.Array:
    """`3` for `3.0`, as whole numbers are written where a column has gone through floats."""
    return pc.replace_substring_regex(words, _WHOLE, r"\1")


def short(word: str) -> str:
    """The same of one word."""
    return re.sub(_WHOLE, r"\1", word, flags=re.ASCII)


def _mapped(words: pa.Array, fraud: pa.Array, genuine: pa.Array) -> pa.Array:
    one, zero = pa.scalar(1, pa.int8()), pa.scalar(0, pa.int8())
    known = pc.if_else(pc.is_in(words, value_set=genuine), zero, pa.scalar(None, pa.int8()))
    return pc.if_else(pc.is_in(words, value_set=fraud), one, known)
