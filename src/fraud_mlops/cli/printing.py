"""Tables for people. What data says is never taken for markup."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

_PIPE_WIDTH = 180


def console() -> Console:
    """The terminal's width, or enough for a line a row where output goes to a file or a pipe."""
    from rich.console import Console

    narrow = sys.stdout.isatty() or "COLUMNS" in os.environ
    width = None if narrow else _PIPE_WIDTH
    return Console(width=width, markup=False, highlight=False, emoji=False)


def show_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    title: str = "",
    right: Sequence[str] = (),
) -> None:
    """right: columns of numbers. None is shown as nothing."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, title=title or None, title_justify="left", pad_edge=False)
    table.show_header = any(columns)
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*("" if value is None else str(value) for value in row))
    console().print(table)


def say(text: str = "") -> None:
    console().print(text, soft_wrap=True)


def number(value: float | None) -> str:
    """Three digits after the point; whole numbers with thousands, without a point."""
    if value is None or value != value:
        return ""
    return f"{value:,.0f}" if value == int(value) else f"{value:.3f}"


def interval(low: float | None, high: float | None) -> str:
    return f"{number(low)} to {number(high)}" if low is not None and high is not None else ""


def minute(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}"
