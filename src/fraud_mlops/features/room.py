"""Windows for claims of whose time the label delay takes more than their shares leave."""

from __future__ import annotations

from datetime import datetime, timedelta

from fraud_mlops.contract import ShareSplit, Window

LEAST = timedelta(weeks=3)
"""Of validation and of out of time, and twice that of train: less would say little of a model."""


def room(begin: datetime, end: datetime, gap: timedelta) -> timedelta:
    """What the two gaps leave of the claims' time."""
    return max(end - begin - 2 * gap, timedelta(0))


def days_short(begin: datetime, end: datetime, gap: timedelta) -> int:
    """How many more days of claims the least windows need; 0 where there are enough."""
    return max(-((end - begin - 2 * gap - 4 * LEAST) // timedelta(days=1)), 0)


def between_gaps(
    begin: datetime, end: datetime, gap: timedelta, shares: ShareSplit
) -> tuple[Window, Window, Window] | None:
    """The least windows, and of the time beyond each its share; None without the time.

    begin, end: midnights, and so is where a window begins.
    """
    if days_short(begin, end, gap):
        return None
    beyond = room(begin, end, gap) - 4 * LEAST
    oot = midnight(end - LEAST - shares.oot * beyond)
    judged = midnight(oot - gap - LEAST - shares.validation * beyond)
    return (
        Window(start=begin, end=judged - gap),
        Window(start=judged, end=oot - gap),
        Window(start=oot, end=end),
    )


def midnight(moment: datetime) -> datetime:
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)
