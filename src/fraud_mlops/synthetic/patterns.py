"""Structure between claims: bursts of claims at one provider, and claims that follow another.

Rows are ordered by time, so a span of days is a span of rows. All structure stays within one
block of rows, which is what lets blocks be made on their own and in any order.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]

_BURST_SIZES = (6, 13)  # smallest, and one past the largest
_BURST_DAYS = 6.0
_FOLLOW_DAYS = (0.3, 4.0)


@dataclass(frozen=True)
class Bursts:
    """Claims that gather at one provider within days; one entry a claim, rows unique.

    `position` counts from 0 within the burst, in order of time.
    """

    row: Rows
    burst: Rows
    position: Rows
    count: int
    first_row: Rows

    def without(self, taken: NDArray[np.bool_]) -> Bursts:
        """The bursts less the rows marked in `taken`."""
        free = ~taken[self.row]
        return replace(
            self, row=self.row[free], burst=self.burst[free], position=self.position[free]
        )


def draw_bursts(rng: np.random.Generator, rows: int, share: float, rows_per_day: float) -> Bursts:
    """Bursts that take up about `share` of the rows, each within six days."""
    low, high = _BURST_SIZES
    count = _stochastic_round(rng, share * rows / ((low + high - 1) / 2))
    sizes = rng.integers(low, high, count)
    span = float(np.clip(_BURST_DAYS * rows_per_day, 3 * high, max(rows // 2, 1)))
    first = rng.random(count) * max(rows - span, 0.0)
    offsets = np.sort(rng.random((count, high - 1)), axis=1) * span
    taken = np.arange(high - 1) < sizes[:, None]
    row = np.minimum((first[:, None] + offsets).astype(np.int64), rows - 1)[taken]
    burst, position = np.nonzero(taken)
    # Two bursts may want one row; the earlier of them has it.
    row, kept = np.unique(row, return_index=True)
    return Bursts(row, burst[kept], position[kept], count, first.astype(np.int64))


@dataclass(frozen=True)
class FollowUps:
    """Pairs of rows: `row` comes from the same policyholder as `source`, days before it."""

    row: Rows
    source: Rows


def draw_follow_ups(
    rng: np.random.Generator, rows: int, share: float, rows_per_day: float, taken: NDArray[np.bool_]
) -> FollowUps:
    """Follow-ups on about `share` of the rows; neither side is a row marked in `taken`."""
    count = _stochastic_round(rng, share * rows) if rows > 1 else 0
    low, high = _FOLLOW_DAYS
    gap = rng.uniform(low * rows_per_day, high * rows_per_day, count)
    # A small source has few claims a day, a huge one more a day than a block holds.
    gap = np.clip(gap, 1.0, rows / 2).astype(np.int64)
    source = (rng.random(count) * (rows - gap)).astype(np.int64)
    row, first = np.unique(source + gap, return_index=True)
    source = source[first]
    follows = np.zeros(rows, np.bool_)
    follows[row] = True
    good = ~(taken[row] | taken[source] | follows[source])
    return FollowUps(row[good], source[good])


def _stochastic_round(rng: np.random.Generator, value: float) -> int:
    return int(value + rng.random())
