"""Figures and names in sentences, for all who tell people something."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def counted(number: int, what: str) -> str:
    """`1 row`, or `2,000 rows`. what: one of them, whose plural ends in s."""
    return f"{number:,} {what}" + ("" if number == 1 else "s")


def share_of(share: float) -> str:
    """`4.13%`, or `5%`: so that a share just beyond a limit does not read like it."""
    return f"{share:.2%}".replace(".00%", "%")


def closest(name: str, known: Iterable[str]) -> str | None:
    """The known name that `name` most likely stands for, whatever the case."""
    by_fold = {other.strip().casefold(): other for other in known}
    hits = get_close_matches(name.strip().casefold(), by_fold, n=1, cutoff=0.6)
    return by_fold[hits[0]] if hits else None
