"""Figures in sentences, for all who tell people something."""

from __future__ import annotations


def counted(number: int, what: str) -> str:
    """`1 row`, or `2,000 rows`. what: one of them, whose plural ends in s."""
    return f"{number:,} {what}" + ("" if number == 1 else "s")
