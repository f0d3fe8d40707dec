"""Figures in sentences, for all who tell people something."""

from __future__ import annotations


def counted(number: int, what: str) -> str:
    """`1 row`, or `2,000 rows`. what: one of them, whose plural ends in s."""
    return f"{number:,} {what}" + ("" if number == 1 else "s")


def share_of(share: float) -> str:
    """`4.13%`, or `5%`: so that a share just beyond a limit does not read like it."""
    return f"{share:.2%}".replace(".00%", "%")
