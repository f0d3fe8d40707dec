"""All claims and all labels, each in order of time: the clock that histories are read by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

DAY = 86_400_000_000  # microseconds

Integers = npt.NDArray[np.int64]
Places = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float64]


class Before(NamedTuple):
    """How many claims, and how many labels, came before a point in time: int32 [n] each."""

    claims: Places
    labels: Places


@dataclass(frozen=True)
class Timeline:
    """n claims in order of event time and m known labels in order of when they became known.

    times: microseconds since 1970 [n], rising. fraud: int8 [n], 1 fraud, 0 genuine, -1 not known.
    amount: float64 [n], NaN where not known; empty when the contract has no amount.
    label_rank: place [n] of the claim's label in the order of labels, -1 without one.
    before: for each number of days what came before the claim's time less those days.
    fraud_rate: float64 [n], of the labels known before each claim.
    """

    times: Integers
    fraud: npt.NDArray[np.int8]
    amount: Floats
    label_rank: Places
    labels: int
    before: dict[int, Before]
    fraud_rate: Floats

    @classmethod
    def of(
        cls,
        times: Integers,
        fraud: npt.NDArray[np.int8],
        label_times: Integers,
        amount: Floats,
        *,
        days: Sequence[int],
        neutral_rate: float,
        strength: float,
        earlier: tuple[int, int] = (0, 0),
    ) -> Timeline:
        """Arrays of claims in order of event time; label_times is read where fraud >= 0.

        days: the lookbacks wanted in `before`, to which 0 is added. neutral_rate: where fraud
        rates start from, as if `strength` labels of that rate were known to begin with. earlier:
        labels, and frauds among them, of claims that are not here, known before all that are asked
        about.
        """
        labelled = np.flatnonzero(fraud >= 0)
        order = labelled[np.argsort(label_times[labelled], kind="stable")]
        rank = np.full(len(times), -1, dtype=np.int32)
        rank[order] = np.arange(len(order))
        known = label_times[order]
        before = {
            n: Before(_count_before(times, times - n * DAY), _count_before(known, times - n * DAY))
            for n in {0, *days}
        }
        now = before[0].labels
        labels = now + earlier[0]
        frauds = running_total(fraud[order])[now] + earlier[1]
        fraud_rate = (frauds + strength * neutral_rate) / (labels + strength)
        return cls(times, fraud, amount, rank, len(order), before, fraud_rate)

    def __len__(self) -> int:
        return len(self.times)


def _count_before(times: Integers, moments: Integers) -> Places:
    return np.searchsorted(times, moments, side="left").astype(np.int32)


def running_total(values: npt.NDArray[np.integer] | npt.NDArray[np.bool_]) -> Integers:
    """total[i] is the sum of the first i values: int64 [n + 1]."""
    total = np.zeros(len(values) + 1, dtype=np.int64)
    np.cumsum(values, out=total[1:])
    return total
