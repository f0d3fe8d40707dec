"""One value of a claim that comes as JSON, read as ingest reads a column of them.

Values as they mostly are, numbers as numbers and moments in full, are read by pydantic alone; all
others by ingest's own functions, in a column of one: numbers that are text, dates without a time,
what the contract calls missing, true and false as words.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

import pyarrow as pa
import pyarrow.compute as pc
from pydantic_core import CoreSchema, core_schema

from fraud_mlops.claims.times import times
from fraud_mlops.claims.values import (
    POINT,
    Parsed,
    Signs,
    codes,
    is_text,
    mask_of,
    numbers,
    text,
    without,
)

LONGEST_WORD = 512

_MOMENT = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?"
    r"(Z|[+-][0-9]{2}:[0-9]{2})?$"
)
_FULL = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T"
# Ingest takes \x1c to \x1f for blanks, and pydantic does not; it reads 17.0 as the code 17.
_PLAIN_WORD = "^([^\x1c-\x1f]*([^0\x1c-\x1f]|[^.\x1c-\x1f]0)|0)$"


@dataclass(frozen=True, eq=False)
class _Way:
    """usual: how most values are read, None for no short way. column: how one of all others is;
    None is missing, ValueError none at all. told: what is said then."""

    usual: CoreSchema | None
    column: Callable[[pa.Array], Any]
    told: str
    schema: dict[str, Any]

    def __get_pydantic_core_schema__(self, _source: Any, _handler: Any) -> CoreSchema:
        others = core_schema.no_info_plain_validator_function(self._other)
        return core_schema.union_schema(
            [others] if self.usual is None else [self.usual, others],
            mode="left_to_right",
            custom_error_type="not_readable",
            custom_error_message=self.told,
        )

    def __get_pydantic_json_schema__(self, _schema: Any, _handler: Any) -> dict[str, Any]:
        return dict(self.schema)

    def _other(self, value: Any) -> Any:
        finite = isinstance(value, float) and math.isfinite(value)
        if not (finite or isinstance(value, (str, int))):
            raise ValueError
        try:
            return self.column(pa.array([value]))
        except (OverflowError, pa.ArrowException):  # digits that no column of whole numbers holds
            return self.column(pa.array([str(value)]))


def number(missing: Sequence[str] = (), least: float | None = None, signs: Signs = POINT) -> Any:
    """Type of a field. missing: the column's own words for 'not known'. signs: of numbers that come
    as text."""

    def read(column: pa.Array) -> float | None:
        values, bad = numbers(without(column, missing), signs)
        value: float | None = values[0].as_py()
        if bad[0] or (value is not None and (math.isinf(value) or not _fits(value))):
            raise ValueError
        return value

    def _fits(value: float) -> bool:
        return least is None or value >= least

    usual = core_schema.float_schema(strict=True, allow_inf_nan=False, ge=least)
    told = "Input should be a valid number, and finite"
    schema: dict[str, Any] = {"type": ["number", "string", "boolean"]}
    if least is not None:
        told += f", {least:g} or more"
        if not missing:
            schema["minimum"] = least
    if signs.decimal != POINT.decimal:
        told += f"; as text with {signs.decimal!r} before its fraction"
    return Annotated[Any, _Way(usual, read, told, schema)]


def word(missing: Sequence[str] = (), *, short_way: bool = True) -> Any:
    """Likewise. short_way: whether who takes the value looks for missing words itself."""

    def read(column: pa.Array) -> str | None:
        value: str | None = codes(without(column, missing))[0].as_py()
        if value is not None and len(value) > LONGEST_WORD:
            raise ValueError
        return value

    usual = core_schema.str_schema(
        strict=True, strip_whitespace=True, min_length=1, max_length=LONGEST_WORD,
        pattern=_PLAIN_WORD,
    )  # fmt: skip
    told = f"Input should be text of at most {LONGEST_WORD} characters, a number, true or false"
    schema = {"type": ["string", "number", "boolean"], "maxLength": LONGEST_WORD}
    return Annotated[Any, _Way(usual if short_way else None, read, told, schema)]


def moments(column: pa.Array, form: str | None) -> Parsed:
    """form: of the source's own. Beside it, what it does not read is read as answers have it:
    ISO 8601 with a T."""
    found = times(column, form)
    if form is None or not is_text(column.type) or not found.bad.any():
        return found
    words = text(column)
    full = pc.and_(pc.match_substring_regex(words, _FULL), pa.array(found.bad))
    others = times(pc.if_else(full, words, pa.scalar(None, pa.string()))).values
    return Parsed(pc.coalesce(found.values, others), found.bad & mask_of(pc.is_null(others)))


def moment(missing: Sequence[str] = (), form: str | None = None) -> Any:
    """Likewise; in UTC, which is meant where no zone is given. form: as `moments` has it."""

    def read(column: pa.Array) -> datetime | None:
        values, bad = moments(without(column, missing), form)
        if bad[0]:
            raise ValueError
        value: datetime | None = values[0].as_py()
        return None if value is None else value.astimezone(UTC)

    usual = core_schema.chain_schema(
        [
            core_schema.str_schema(strict=True, pattern=_MOMENT),
            core_schema.no_info_after_validator_function(_in_utc, core_schema.datetime_schema()),
        ]
    )
    own = f"{form} or " if form else ""
    such = f"{own}such as 2024-03-15T10:00:00Z"
    told = f"Input should be a moment, {such}, of the years 1 to 9999 in UTC"
    schema = {"type": ["string", "number"]}
    short_way = not missing and (form is None or _leaves_full(form))
    return Annotated[Any, _Way(usual if short_way else None, read, told, schema)]


def _leaves_full(form: str) -> bool:
    """Whether moments in full are read as they would be without the format, day and month too."""
    zones = ("", "Z", "+01:00")
    full = pa.array([f"2003-02-01T04:05:06{part}{zone}" for part in ("", ".5") for zone in zones])
    return bool(moments(full, form).values.equals(times(full).values))


def _in_utc(given: datetime) -> datetime:
    """The calendar's first and last hours may lie outside it once they are in UTC."""
    try:
        return given.replace(tzinfo=UTC) if given.tzinfo is None else given.astimezone(UTC)
    except OverflowError:
        raise ValueError from None
