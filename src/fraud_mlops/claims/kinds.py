"""What the values of one column are: numbers, categories, or nothing that a model can use."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fraud_mlops.claims.times import times
from fraud_mlops.claims.values import Mask, Signs, codes, is_number, is_text, numbers

# Text with more distinct values than this, or than half of its rows, names rather than describes.
_MOST_CATEGORIES = 10_000
_FEW = 20
# A text column is numeric when so many of its values are; the others go to quarantine. Likewise
# one of dates, and one of numbers that are given out in order.
_NEARLY_ALL = 0.99
# Whole numbers count the rows where so many of them rise, or fall, by small steps. What a column
# that is called an id needs is less: its like without such a name may be sorted, or amounts.
_MANY = 1_000
_SMALL_STEP = 10
_LONG = 6
_CALLED_ID = {"id", "no", "nr", "num", "number", "key", "code", "ref"}
_WORD = r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])"

_PLAIN_NUMBER = r"^[+-]?[\d.]+$"
_COMPACT_DAY = r"^(19|20)\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(\d{4}(\d\d)?)?$"
_DAY, _DAY_2 = r"(?:0?[1-9]|[12]\d|3[01])", r"(?:0[1-9]|[12]\d|3[01])"
_MONTH, _MONTH_2 = r"(?:0?[1-9]|1[0-2])", r"(?:0[1-9]|1[0-2])"
_MONTHS_NAME = r"(?i:jan|feb|m[aä]r|apr|ma[iy]|ju[nl]|aug|sep|o[ck]t|nov|de[cz])"
# With the day before the month, behind it, and with the month's name. Of years of two digits only
# those that no version (3.4.17) looks like.
_DATES = [
    rf"^(?:{one}[./-]{two}[./-]\d{{4}}|{one}/{two}/\d\d|{one_2}[.-]{two_2}[.-]\d\d)([ T,]|$)"
    for one, two, one_2, two_2 in (
        (_DAY, _MONTH, _DAY_2, _MONTH_2),
        (_MONTH, _DAY, _MONTH_2, _DAY_2),
    )
]
_DATES += [rf"^{_DAY}[./-]{_MONTHS_NAME}[./-](\d{{4}}|\d\d)([ T,]|$)"]
_UNIT = r"(?:\p{Sc}|%|EUR|USD|GBP|CHF|CAD|AUD|JPY|INR|PLN|SEK|NOK|DKK|CZK|HUF|BRL|ZAR)"
_WITH_UNIT = rf"^[+-]?(?:{_UNIT}\s*[+-]?\d[\d.,' ]*|\d[\d.,' ]*{_UNIT})$"


class Kind(NamedTuple):
    """numeric, categorical or out; and why, where a person should know.

    looks: what a column is left out for that may be a feature all the same.
    """

    kind: str
    why: str | None = None
    looks: str | None = None


def kind_of(array: pa.Array, signs: Signs, name: str = "", apart: int = 1) -> Kind:
    """Of a column of single values, in the order of the rows, without its words for missing.

    apart: each value is of a row so far behind the one before.
    """
    words = codes(array)
    known = len(words) - words.null_count
    distinct = pc.count_distinct(words, mode="only_valid").as_py()
    if not known:
        return Kind("out", "is left out: it is empty (all null)")
    if distinct == 1 and known == len(words):
        return Kind("out", f"is left out: it is always {pc.drop_null(words)[0].as_py()!r}")
    if _is_date(array, words):
        return _likely_none(
            "it holds dates, neither number nor category", "or `categorical` to keep it"
        )
    how: str | None = None
    if is_number(array.type) or (is_text(array.type) and not _coded(words)):
        values, bad = numbers(array, signs)
        unread = int(bad.sum())
        if known - unread >= _NEARLY_ALL * known:
            naming = _names_claims(pc.drop_null(values).to_numpy(), name, apart)
            return _likely_none(naming, "if it measures something") if naming else _numeric(unread)
        how = _nearly_numeric(words, bad)
    elif not is_text(array.type) and not pa.types.is_boolean(array.type):
        return Kind("out", f"is left out: it holds {array.type}, neither number nor category")
    if distinct > max(_FEW, known // 2) or distinct > _MOST_CATEGORIES:
        names = (
            f"{distinct:,} distinct values in {known:,} rows name claims rather than describe "
            "them; make it an entity, or list it under `categorical`"
        )
        return Kind("out", f"is left out: {how or names}")
    return Kind("categorical", f"is a category: {how}" if how else None)


def _is_date(array: pa.Array, words: pa.Array) -> bool:
    """Text that says a day, or whole numbers that all read as one (20240131). Other numbers are
    none, though they would be read as seconds since 1970."""
    if not (is_text(array.type) or is_number(array.type)):
        return False
    compact = pc.match_substring_regex(words, _COMPACT_DAY)
    bare = pc.match_substring_regex(words, _PLAIN_NUMBER)
    number = pc.and_(bare, pc.invert(compact))
    moments = times(pc.if_else(number, pa.scalar(None, pa.string()), words)).values
    written = [pc.fill_null(pc.match_substring_regex(words, form), False) for form in _DATES]
    dates = max(pc.sum(pc.or_(pc.is_valid(moments), form)).as_py() for form in written)
    return bool(dates >= _NEARLY_ALL * (len(words) - words.null_count))


_OTHERWISE = {
    "source.csv.decimal is ','": Signs(","),
    "source.csv.decimal is ',' and source.csv.thousands '.'": Signs(",", "."),
    "source.csv.thousands is ','": Signs(".", ","),
}


def _nearly_numeric(words: pa.Array, bad: Mask) -> str | None:
    """How the numbers that a text column seems to hold are read as such; None for other words. bad:
    which are no numbers as the source writes them."""
    known = len(words) - words.null_count
    for said, other in _OTHERWISE.items():
        if known - int(numbers(words, other).bad.sum()) >= _NEARLY_ALL * known:
            return f"its values are numbers where {said}; say so, or list it under `categorical`"
    if pc.sum(pc.match_substring_regex(words, _WITH_UNIT)).as_py() >= _NEARLY_ALL * known:
        return (
            f"its values are numbers with a unit ({pc.drop_null(words)[0].as_py()!r}); write them "
            "without it, or list it under `categorical`"
        )
    if 2 * int(bad.sum()) >= known:
        return None
    word = words.filter(pa.array(bad)).value_counts().sort(order="descending", by="counts")[0]
    return (
        f"most of its values are numbers, and {word['values'].as_py()!r} is not; where that means "
        "not known, list it under `missing`, else list the column under `numeric`, or `categorical`"
    )


def _coded(words: pa.Array) -> bool:
    """Digits with leading zeros (`00501`) are a code, not a quantity."""
    return bool(pc.any(pc.match_substring_regex(words, r"^0\d+$")).as_py())


def _numeric(unread: int) -> Kind:
    why = f"is taken as numeric, but {unread} of its values are no numbers" if unread else None
    return Kind("numeric", why)


def _likely_none(looks: str, unless: str) -> Kind:
    return Kind("out", f"is left out: {looks}; list it under `numeric` {unless}", looks)


def _names_claims(values: np.ndarray, name: str, apart: int) -> str | None:
    """Why whole numbers do: they are given out in order, or each one once and of one length."""
    distinct, rows, called_id = len(np.unique(values)), len(values), _is_called_id(name)
    if rows <= _FEW or distinct < _NEARLY_ALL * rows:
        return None
    if not (np.isfinite(values).all() and (values == np.floor(values)).all()):
        return None
    steps = np.diff(values)
    rising = max(steps, -steps, key=lambda way: (way > 0).sum())
    most = np.inf if called_id else _SMALL_STEP * apart
    if (called_id or rows >= _MANY) and ((rising > 0) & (rising <= most)).mean() >= _NEARLY_ALL:
        return "it numbers the rows, in order and without repeating"
    sizes = np.abs(values)
    digits = {len(str(int(end))) for end in (sizes.min(), sizes.max())}
    if called_id and distinct == rows >= _MANY and len(digits) == 1 and max(digits) >= _LONG:
        return f"whole numbers of {max(digits)} digits that never repeat name claims"
    return None


def _is_called_id(name: str) -> bool:
    return not _CALLED_ID.isdisjoint(word.lower() for word in re.findall(_WORD, name))
