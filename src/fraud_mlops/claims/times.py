"""Event and label times: one column in ISO 8601, a stated format or epochs, or dates in parts.

All times come out as timestamp[us, UTC]; times without a zone are taken as UTC.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fraud_mlops.claims.values import Mask, Parsed, codes, is_text, mask_of, none_bad, numbers, text
from fraud_mlops.contract import TimeParts
from fraud_mlops.errors import ContractError

UTC_TIME = pa.timestamp("us", "UTC")
# Seconds, milliseconds, ... as microseconds each, for `format: unix_ms` and the like.
EPOCH_UNITS = {"unix": 1e6, "unix_s": 1e6, "unix_ms": 1e3, "unix_us": 1.0, "unix_ns": 1e-3}
_EPOCH_LIMITS = ((1e11, "unix_s"), (1e14, "unix_ms"), (1e17, "unix_us"), (np.inf, "unix_ns"))

# 0001-01-01 and 10000-01-01 in microseconds.
_CALENDAR = (-62_135_596_800_000_000, 253_402_300_800_000_000)
_INT64 = 2.0**63 - 1024

# Day and all: a month alone is no moment. pandas would also read "today".
_ISO = r"^\d{4}([-/]?)\d{2}([-/]?)\d{2}([Tt ]|$)"
# As databases, Java and people spell them, for what pandas reads: a zone's name behind its offset,
# UTC as a word, small letters, and the midnight that ends a day, of which a day is to be added.
_SPELLINGS = (
    (r"^([\d/-]+[Tt ][\d:.]+ ?(?:[Zz]|[+-][\d:]{2,5}))\[[\w+/-]+\]$", r"\1"),
    (r"^([\d/-]+[Tt ][\d:.]+) ?(?:UTC|GMT|z)$", r"\1Z"),
    (r"^([\d/-]+)t", r"\1T"),
)
_DAYS_END = r"^([\d/-]+[T ])24((?::?00(?::?00(?:\.0+)?)?)?(?: ?(?:Z|[+-][\d:]{2,5}))?)$"
# 202401311345 and 20240131134559.
_COMPACT = r"^(19|20)\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])([01]\d|2[0-3])[0-5]\d([0-5]\d)?$"
_DIGITS_OF_DATES = ((1e7, 1e8), (19e10, 21e10), (19e12, 21e12))
_EPOCH = r"^-?\d{9,19}(\.\d+)?$"

_MONTHS = "january february march april may june july august september october november december"
_DAYS = "monday tuesday wednesday thursday friday saturday sunday"

IntColumn = npt.NDArray[np.int64]


def times(array: pa.Array, form: str | None = None) -> Parsed:
    """A column of moments.

    form: None for ISO 8601 and Unix epochs (whose unit is told by their size; give
        `unix_s`, `unix_ms`, `unix_us` or `unix_ns` to be sure), else a strptime format.
    """
    kind = array.type
    parsed = _typed(array) if _is_temporal(kind) else _read(array, form)
    outside = mask_of(pc.invert(_in_calendar(parsed.values)))
    if not outside.any():
        return parsed
    values = pc.if_else(pa.array(outside), pa.scalar(None, UTC_TIME), parsed.values)
    return Parsed(values, parsed.bad | outside)


def _is_temporal(kind: pa.DataType) -> bool:
    return bool(pa.types.is_timestamp(kind) or pa.types.is_date(kind))


def _typed(array: pa.Array) -> Parsed:
    if pa.types.is_date(array.type):
        # Both kinds of date fit milliseconds.
        array = array.cast(pa.date64()).cast(pa.int64()).cast(pa.timestamp("ms"))
    # A cast to a finer unit would wrap round.
    outside = mask_of(pc.invert(_in_calendar(array)))
    known = pc.if_else(pa.array(outside), pa.scalar(None, array.type), array)
    return Parsed(_in_utc(known.cast(pa.timestamp("us", _zone(array.type)), safe=False)), outside)


def _zone(kind: pa.DataType) -> str | None:
    try:
        zone: str | None = kind.tz
    except UnicodeDecodeError:
        raise ContractError("the zone of a column of times is no text") from None
    return zone


def _in_calendar(moments: pa.Array) -> pa.Array:
    """Within the years 1 to 9999, as Python, pandas and most stores count them."""
    scale = EPOCH_UNITS[f"unix_{moments.type.unit}"]
    low, high = (int(max(-_INT64, min(_INT64, limit / scale))) for limit in _CALENDAR)
    count = moments.cast(pa.int64())
    return pc.and_(pc.greater_equal(count, low), pc.less(count, high))


def _read(array: pa.Array, form: str | None) -> Parsed:
    kind = array.type
    if form in EPOCH_UNITS:
        return _epochs(array, EPOCH_UNITS[str(form)])
    if pa.types.is_nested(kind) or pa.types.is_boolean(kind) or pa.types.is_time(kind):
        return Parsed(pa.nulls(len(array), UTC_TIME), mask_of(pc.is_valid(array)))
    if form:
        return _formatted(text(array), form)
    if _no_dates(array):
        return _epochs(array, None)
    return _iso_or_epoch(array if is_text(kind) else text(array), compact_only=not is_text(kind))


def _no_dates(array: pa.Array) -> bool:
    """Whether it is of numbers, and none has as many digits as a date: 20240131, 202401311345."""
    kind = array.type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        return False
    counts = numbers(array).values.to_numpy(zero_copy_only=False)
    return not any(np.any((low <= counts) & (counts < high)) for low, high in _DIGITS_OF_DATES)


def _in_utc(moments: pa.Array) -> pa.Array:
    if moments.type.tz is None:
        return pc.assume_timezone(moments, "UTC")
    return moments.cast(UTC_TIME)


def _iso_or_epoch(words: pa.Array, *, compact_only: bool) -> Parsed:
    for kind in (pa.timestamp("us"), UTC_TIME):
        try:
            return Parsed(_in_utc(words.cast(kind)), none_bad(words))
        except pa.ArrowInvalid:
            continue
    words = codes(words)
    iso = pc.match_substring_regex(words, _ISO)
    # As epochs they would be moments of 1976, or of the year 2573.
    compact = pc.match_substring_regex(words, _COMPACT)
    # A number column holds epochs however small they are, and dates only as 20240131.
    epoch = pc.invert(iso) if compact_only else pc.match_substring_regex(words, _EPOCH)
    epoch = pc.and_(epoch, pc.invert(compact))
    null = pa.scalar(None, pa.string())
    dates = _iso(pc.if_else(iso, words, null))
    whole = pc.utf8_rpad(pc.if_else(compact, words, null), 14, "0")
    minutes = _some(whole, "%Y%m%d%H%M%S")
    seconds = _epochs(pc.if_else(epoch, words, null), None)
    values = pc.coalesce(dates.values, minutes.values, seconds.values)
    return Parsed(values, mask_of(pc.and_(pc.is_valid(words), pc.is_null(values))))


def _some(words: pa.Array, form: str) -> Parsed:
    """As `_formatted`; pandas takes a thousand times a value's time to find that there is none."""
    if words.null_count == len(words):
        return Parsed(pa.nulls(len(words), UTC_TIME), none_bad(words))
    return _formatted(words, form)


def _iso(words: pa.Array) -> Parsed:
    for spelling, usual in _SPELLINGS:
        words = pc.replace_substring_regex(words, spelling, usual)
    ends = pc.match_substring_regex(words, _DAYS_END)
    if not pc.any(ends).as_py():
        return _some(words, "ISO8601")
    read = _formatted(pc.replace_substring_regex(words, _DAYS_END, r"\100\2"), "ISO8601")
    next_day = pc.add(read.values, pa.scalar(86_400_000_000, pa.duration("us")))
    return Parsed(pc.if_else(ends, next_day, read.values), read.bad)


def _formatted(words: pa.Array, form: str) -> Parsed:
    import pandas as pd

    series = pd.Series(words.to_pandas(), dtype="str")
    try:
        moments = pd.to_datetime(series, format=form, errors="coerce", utc=True).dt.as_unit("us")
    except ValueError as error:
        raise ContractError(f"time format {form!r}: {error}; correct it in the contract") from None
    values = pa.array(moments, UTC_TIME, from_pandas=True)
    return Parsed(values, mask_of(pc.and_(pc.is_valid(words), pc.is_null(values))))


def _epochs(array: pa.Array, microseconds: float | None) -> Parsed:
    """microseconds: those in one unit; told for each value by its size when None."""
    count, bad = numbers(array)
    units = count.to_numpy(zero_copy_only=False)
    size = np.abs(units)
    if microseconds is None:
        limits = [size < limit for limit, _ in _EPOCH_LIMITS]
        scale = np.select(limits, [EPOCH_UNITS[unit] for _, unit in _EPOCH_LIMITS], np.nan)
    else:
        scale = np.full(len(units), microseconds)
    scaled = np.round(units * scale)
    valid = np.isfinite(scaled) & (np.abs(scaled) < 2.0**62)
    moments = np.where(valid, scaled, 0).astype(np.int64)
    values = pa.array(moments, pa.int64(), mask=~valid).cast(UTC_TIME)
    return Parsed(values, bad | (mask_of(pc.is_valid(count)) & ~valid))


class FromParts(NamedTuple):
    """Moments of n rows, and the rows that each source column spoils."""

    values: pa.Array
    faults: list[tuple[Mask, str]]


def from_parts(columns: Mapping[str, pa.Array], parts: TimeParts) -> FromParts:
    """Puts moments together from `parts`; missing hours, minutes and seconds are 0.

    Without a day and a weekday, the first of the month. Week w with weekday d is the w-th such
    weekday of the month, or the last one where the month has no w-th: calendars count a
    week that the month only begins.
    """
    faults: list[tuple[Mask, str]] = []

    def part(name: str, read: Callable[[str], int | None], absent: int) -> IntColumn:
        column = getattr(parts, name)
        if column is None:
            return np.full(rows, absent, dtype=np.int64)
        values, bad = _codes(columns[column], read)
        faults.append((bad, column))
        return values

    rows = len(columns[parts.year])
    year = part("year", _year, 1970)
    month = part("month", _month, 1)
    first = ((year - 1970) * 12 + month - 1).astype("datetime64[M]")
    start = first.astype("datetime64[D]")
    length = ((first + 1).astype("datetime64[D]") - start).astype(np.int64)
    if parts.week_of_month:
        week = part("week_of_month", _bounded(1, 6), 1)
        weekday = part("day_of_week", _weekday, 0)
        day = _day_in_week(start, length, week, weekday)
    else:
        day = part("day", _bounded(1, 31), 1)
        if parts.day:
            faults.append((day > length, parts.day))
    hour = part("hour", _bounded(0, 23), 0)
    minute = part("minute", _bounded(0, 59), 0)
    second = part("second", _bounded(0, 59), 0)

    seconds = (start.astype(np.int64) + day - 1) * 86400 + hour * 3600 + minute * 60 + second
    bad = np.logical_or.reduce([mask for mask, _ in faults])
    values = pa.array(seconds * 1_000_000, pa.int64(), mask=bad).cast(UTC_TIME)
    return FromParts(values, faults)


def _day_in_week(
    start: npt.NDArray[np.datetime64], length: IntColumn, week: IntColumn, weekday: IntColumn
) -> IntColumn:
    """Day of the month, from 1; weekday 0 is Monday, as 1970-01-05 was."""
    first = 1 + (weekday - (start.astype(np.int64) + 3)) % 7
    last_week: IntColumn = (length - first) // 7
    day: IntColumn = first + 7 * np.minimum(week - 1, last_week)
    return day


def _codes(array: pa.Array, read: Callable[[str], int | None]) -> tuple[IntColumn, Mask]:
    """Each distinct word is read once; a missing word is as bad as an unreadable one."""
    words = text(array).dictionary_encode()
    table = [read(word.lower().rstrip(".")) for word in words.dictionary.to_pylist()] + [None]
    index = pc.fill_null(words.indices, len(table) - 1).to_numpy(zero_copy_only=False)
    known = np.array([value is not None for value in table], dtype=np.bool_)
    codes = np.array([1 if value is None else value for value in table], dtype=np.int64)
    return codes[index], ~known[index]


def _whole(word: str) -> int | None:
    digits = word.removesuffix(".0")
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 10 else None


def _bounded(low: int, high: int) -> Callable[[str], int | None]:
    def read(word: str) -> int | None:
        number = _whole(word)
        return number if number is not None and low <= number <= high else None

    return read


def _year(word: str) -> int | None:
    """Four digits, or two as POSIX reads them: 69 to 99 are 19xx."""
    number = _whole(word)
    if number is not None and number < 100 and len(word.removesuffix(".0")) == 2:
        return number + (1900 if number >= 69 else 2000)
    return number if number is not None and 1800 <= number <= 2999 else None


def _month(word: str) -> int | None:
    return _named(word, _MONTHS.split()) or _bounded(1, 12)(word)


def _weekday(word: str) -> int | None:
    """Monday is 0. Numbers are ISO's (1 Monday to 7 Sunday), with 0 for Sunday too."""
    named = _named(word, _DAYS.split())
    number = named if named is not None else _bounded(0, 7)(word)
    return None if number is None else (number - 1) % 7


def _named(word: str, names: list[str]) -> int | None:
    """Position, from 1, of the one name that starts with `word` (two letters or more)."""
    if len(word) < 2:
        return None
    hits = [i for i, name in enumerate(names, 1) if name.startswith(word)]
    return hits[0] if len(hits) == 1 else None
