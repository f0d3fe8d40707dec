"""When claims happen: by season, weekday and hour of day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

_WEEKDAY = (1.15, 1.05, 1.0, 1.05, 1.20, 0.85, 0.70)  # Monday first
_HOUR = (
    *(0.25, 0.18, 0.15, 0.12, 0.15, 0.30, 0.65, 1.30, 1.60, 1.45, 1.35, 1.35),
    *(1.40, 1.35, 1.35, 1.40, 1.65, 1.80, 1.50, 1.10, 0.85, 0.70, 0.55, 0.40),
)
_WINTER = 0.22
_HOUR_SECONDS = 3_600
_DAY_SECONDS = 86_400
_THURSDAY = 3  # 1970-01-01


def to_seconds(moment: datetime) -> int:
    """Whole seconds since 1970, rounded up: never before `moment`."""
    seconds = moment.astimezone(UTC).timestamp()
    return int(-(-seconds // 1))


@dataclass(frozen=True)
class Calendar:
    """The claim intensity between two instants, as its cumulative share on an hourly grid."""

    start: int
    end: int
    edges: NDArray[np.float64]
    share: NDArray[np.float64]

    def times(self, quantiles: NDArray[np.float64]) -> NDArray[np.int64]:
        """Seconds since 1970 at these quantiles; ascending when the quantiles are."""
        seconds = np.interp(quantiles, self.share, self.edges).astype(np.int64)
        seconds += self.start
        return np.minimum(seconds, max(self.end - 1, self.start), out=seconds)

    @property
    def days(self) -> float:
        return (self.end - self.start) / _DAY_SECONDS


@lru_cache(maxsize=8)
def calendar(start: datetime, end: datetime) -> Calendar:
    """Winters, Mondays, Fridays and rush hours bring more claims."""
    first, last = to_seconds(start), max(to_seconds(end), to_seconds(start) + 1)
    edges = np.append(np.arange(0, last - first, _HOUR_SECONDS), last - first).astype(np.float64)
    middle = first + (edges[:-1] + edges[1:]) / 2
    day = (middle // _DAY_SECONDS).astype(np.int64)
    year = 1 + _WINTER * np.cos(2 * np.pi * (day - 15) / 365.2425)
    week = np.array(_WEEKDAY)[(day + _THURSDAY) % 7]
    hour = np.array(_HOUR)[((middle % _DAY_SECONDS) // _HOUR_SECONDS).astype(np.int64)]
    mass = np.cumsum(year * week * hour * np.diff(edges))
    return Calendar(first, last, edges, np.concatenate([[0.0], mass / mass[-1]]))


def months(ascending: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Month (0 = January) of each of these ascending seconds since 1970."""
    if not len(ascending):
        return np.empty(0, np.uint8)
    low, high = ascending[[0, -1]].astype("M8[s]").astype("M8[M]")
    edges = np.arange(low, high + 1)
    first_rows = np.searchsorted(ascending, edges.astype("M8[s]").astype(np.int64))
    counts = np.diff(np.append(first_rows, len(ascending)))
    return np.repeat((edges.astype(np.int64) % 12).astype(np.uint8), counts)
