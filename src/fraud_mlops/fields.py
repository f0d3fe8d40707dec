"""Kinds of value in a contract, read as people write them in YAML: durations, instants, words."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
EPOCHS = ("unix", "unix_s", "unix_ms", "unix_us", "unix_ns")
"""Formats of times that count from 1970; `unix` counts seconds."""

_NUMBER = re.compile(r"\s*[+-]?[0-9.]+([eE][+-]?[0-9]+)?\s*")
_LOGIN = re.compile(r"[^?#]*:[^?#@]*@")  # a password may hold a slash
_TOKEN = re.compile(r"https?://[^/?#]*@", re.I)
_CONNECTION = re.compile(r"(AccountKey|SharedAccessSignature|Password)=", re.I)
_SIGNED = re.compile(
    r"[?&](sig|signature|x-amz-\w+|x-goog-\w+|\w*token|\w*key|\w*secret|password|pwd)=", re.I
)
_MONTH = re.compile(r"[0-9]{4}-[0-9]{2}")
_DURATION = re.compile(r"([0-9]{1,12})([smhdw])")


class Part(BaseModel):
    """A part of a contract: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def parse_duration(value: Any) -> Any:
    """`30d`, `12h`, `90m`, `45s` or `2w` as a timedelta; a bare 0 is no time at all.

    ISO 8601 (`P30D`), in which a stored contract writes them, is left to pydantic.
    Raises ValueError for anything else: a bare 30 could be days or seconds.
    """
    if isinstance(value, timedelta) or (isinstance(value, str) and value.startswith("P")):
        return value
    if value == 0 and not isinstance(value, bool):
        return timedelta(0)
    if isinstance(value, str) and (match := _DURATION.fullmatch(value.strip())):
        try:
            return timedelta(**{_UNITS[match[2]]: int(match[1])})
        except OverflowError:
            raise ValueError(f"{value!r} is longer than time itself") from None
    raise ValueError(f"{value!r} is not a duration; write 30d, 12h, 90m, 45s or 2w")


def in_words(duration: timedelta) -> str:
    """`30 days`, `2 days, 12:00:00`."""
    return str(duration).removesuffix(", 0:00:00")


def refuse_credentials(uri: str) -> str:
    """`uri`, unless it holds a password or a signature.

    Addresses are shown: in logs, cards, manifests and reports. Raises ValueError, which does not
    repeat the address.
    """
    scheme, separator, rest = uri.partition("://")
    kind = f"{scheme}://" if separator else "kind of"
    signed = separator and (_LOGIN.match(rest) or _SIGNED.search(rest) or _TOKEN.match(uri))
    if signed or _CONNECTION.search(uri):
        raise ValueError(
            f"this {kind} address holds a password or a signature, and addresses are shown in "
            "logs, cards and reports; take it out, and give it in the environment (for Azure "
            "AZURE_STORAGE_SAS_TOKEN, for other stores as their client documents)"
        )
    return uri


def _as_utc(value: datetime) -> datetime:
    try:
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{value} is out of range in UTC") from None


def _midnight(value: Any) -> Any:
    """A YAML date is the first instant of that day.

    Raises ValueError for numbers, which pydantic would take for seconds since 1970: `2024` is
    a year that lacks its month and day.
    """
    if isinstance(value, date) and not isinstance(value, datetime):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    if isinstance(value, (int, float)) or (isinstance(value, str) and _NUMBER.fullmatch(value)):
        raise ValueError(f"{value} is not a date; write 2024-01-31 or 2024-01-31T12:00:00")
    return value


def _first_of_month(value: Any) -> Any:
    """`2024-01`, as months are named, is its first day; YAML reads that as text."""
    return f"{value}-01" if isinstance(value, str) and _MONTH.fullmatch(value) else value


def _word(value: Any) -> Any:
    """Numbers stand for their digits. Raises ValueError for a truth value: which word was it?"""
    if isinstance(value, bool):
        raise ValueError(  # noqa: TRY004 - pydantic reports ValueError
            "YAML reads an unquoted yes, no, on, off, true or false as a truth value; "
            "put quotes around the word as it stands in the source"
        )
    return str(value) if isinstance(value, (int, float)) else value


def _several(value: Any) -> Any:
    """One word stands for a list of it."""
    return (value,) if isinstance(value, (str, int, float)) else value


def _not_negative(value: timedelta) -> timedelta:
    if value < timedelta(0):
        raise ValueError("a duration cannot be negative")
    return value


def _time_format(value: str) -> str:
    if "%" not in value and value not in (*EPOCHS, "ISO8601"):
        raise ValueError(
            f"{value!r} is no time format; write one as strptime has them (%d/%m/%Y %H:%M:%S), "
            f"or one of {', '.join(EPOCHS)}; leave it out for ISO 8601"
        )
    return value


def _sign(value: Any) -> Any:
    r"""`'\t'` in single quotes, or `tab`, is meant as a tab."""
    return "\t" if value in (r"\t", "tab") else value


Address = Annotated[str, Field(min_length=1), AfterValidator(refuse_credentials)]
Duration = Annotated[timedelta, BeforeValidator(parse_duration), AfterValidator(_not_negative)]
Instant = Annotated[datetime, BeforeValidator(_midnight), AfterValidator(_as_utc)]
FirstDay = Annotated[Instant, BeforeValidator(_first_of_month)]
Share = Annotated[float, Field(gt=0, lt=1)]
Days = Annotated[int, Field(gt=0, le=36_500)]
Text = Annotated[str, BeforeValidator(_word)]
Words = Annotated[tuple[Text, ...], BeforeValidator(_several), Field(min_length=1)]
TimeFormat = Annotated[str, AfterValidator(_time_format)]
# CSV is parsed by bytes.
Sign = Annotated[str, BeforeValidator(_sign), Field(pattern=r"^[\x00-\x09\x0b\x0c\x0e-\x7f]$")]
