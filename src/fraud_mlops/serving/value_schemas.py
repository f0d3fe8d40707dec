"""What JSON schema can say of the values that `single_values` reads; made from the contract.

Patterns are of ECMA 262, and of Python. Beyond them are spellings that nobody uses, such as
exponents of three digits, which are read all the same; and what no pattern can say: which days a
month has, and that a number that comes as text is not below any least but 0.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from fraud_mlops.claims.values import POINT, Signs

Tree = dict[str, Any]

BLANKS = r"[\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]*"
"""As Arrow trims them."""

_POWER = r"([eE][+-]?[0-9]{1,2})?"
_THOUSANDS = {".": r"\.", ",": ",", " ": r"[ \xa0\u202f]", "'": r"['\u2019]"}
_ASCII_BLANKS = r"[\t\n\f\r ]*"
"""Those that may be around a number with signs between its thousands."""
_NAN = "[+-]?[nN][aA][nN]"
_MONTH, _DAY = "(0[1-9]|1[0-2])", "(0[1-9]|[12][0-9]|3[01])"
_DATE = f"[0-9]{{4}}(-{_MONTH}-{_DAY}|/{_MONTH}/{_DAY}|{_MONTH}{_DAY})"
_HOUR, _SIXTY = "([01][0-9]|2[0-3])", "[0-5][0-9]"
_CLOCK = (
    rf"(([01]?[0-9]|2[0-3])(:?{_SIXTY}(:?{_SIXTY}(\.[0-9]{{1,9}})?)?)?"
    r"|24(:?00(:?00(\.0{1,9})?)?)?)"
)
_ZONE = rf"( ?(UTC|GMT|([Zz]|[+-]{_HOUR}(:?{_SIXTY})?)(\[[A-Za-z0-9_+/-]{{1,64}}\])?))?"
_EPOCH = r"-?[0-9]{9,19}(\.[0-9]{1,9})?"
_FIRST, _END = -6.21355968e19, 2.534023008e20
"""The years 1 and 10000 in nanoseconds since 1970, which are the largest unit of Unix times."""


def of_number(
    missing: Sequence[str] = (), least: float | None = None, signs: Signs = POINT
) -> Tree:
    """missing: the column's own words for 'not known'. signs: of numbers that come as text."""
    point, sign = _escaped(signs.decimal), "[+-]?" if least != 0 else r"\+?"
    below = sign + _written("[0-9]", point)
    if least == 0:
        below += "|-" + _written("0", point)
    pattern = _blank_or(below, _NAN, *map(_escaped, missing))
    if signs.thousands:
        groups = rf"[1-9][0-9]{{0,2}}({_THOUSANDS[signs.thousands]}[0-9]{{3}}){{1,60}}"
        whole = rf"{sign}{groups}({point}[0-9]{{0,100}})?"
        pattern += f"|^{_ASCII_BLANKS}{whole}{_ASCII_BLANKS}$"
    said: Tree = {"type": ["number", "string"], "pattern": pattern}
    if least is None or least <= 0:
        said["type"].append("boolean")
    if least is not None and not missing:
        said["minimum"] = least
    return said


def _written(digit: str, point: str) -> str:
    """Finite for certain."""
    return f"({digit}{{1,200}}{point}?{digit}{{0,100}}|{point}{digit}{{1,100}}){_POWER}"


def of_moment(missing: Sequence[str] = (), form: str | None = None) -> Tree:
    """form: of the source's own, of which a pattern says nothing."""
    if form:
        return {"type": ["string", "number"]}
    written = rf"{_DATE}([Tt ]{_CLOCK}{_ZONE})?"
    return {
        "type": ["string", "number"],
        "pattern": _blank_or(written, _EPOCH, *map(_escaped, missing)),
        "minimum": _FIRST,
        "exclusiveMaximum": _END,
    }


def saying(told: Tree) -> Callable[[Tree], None]:
    """For pydantic's `json_schema_extra` of a field that may be null."""

    def say(field: Tree) -> None:
        field["anyOf"][0].update(told)

    return say


def _blank_or(*patterns: str) -> str:
    return f"^{BLANKS}({'|'.join(patterns)})?{BLANKS}$"


def _escaped(word: str) -> str:
    """As it stands; `re.escape` escapes more than ECMA 262 takes."""
    return re.sub(r"[\^$\\.*+?()\[\]{}|/]", r"\\\g<0>", word)
