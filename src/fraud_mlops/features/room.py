"""Where claims begin, and windows for those of whose time the label delay takes more than their
shares leave."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np

from fraud_mlops.contract import ShareSplit, Window
from fraud_mlops.words import counted

LEAST = timedelta(weeks=3)
"""Of validation and of out of time, and twice that of train: less would say little of a model."""

_FEW, _LONG = 0.01, 0.1
"""Of all claims, and of the time of the others, so much is needed to be a beginning."""


def beginning(times: np.ndarray) -> int:
    """Place of the claim with which the claims begin; those before it are strays.

    A wrong year is enough to put a claim decades before all others. So they begin after the last
    gap among the earliest hundredth that is longer than a tenth of the time of all the rest.
    times: int64 microseconds, sorted. Of fewer than a hundred claims every one counts.
    """
    few = int(_FEW * len(times))
    gaps = np.diff(times[: few + 1])
    long = np.flatnonzero(gaps > _LONG * (times[-1] - times[few])) if few else gaps
    return int(long[-1]) + 1 if few and len(long) else 0


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


def strays_in_words(strays: int, first: datetime, last: datetime, begin: datetime) -> str:
    """first, last: of the strays. begin: where the claims begin without them."""
    when = f"of {first:%F}" if strays == 1 else f"from {first:%F} to {last:%F}"
    return (
        f"{counted(strays, 'claim')} {when} long before all others, which begin {begin:%F}: train "
        "may have them, and the windows are laid as if they were not there. Look whether their "
        "dates are right"
    )
