"""A run of partitions, first to last, named as partitions are: 2024-01, or 2024-01-31."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict

from fraud_mlops.errors import SettingsError
from fraud_mlops.lakehouse.periods import Period

MOST = 20_000
"""More partitions than that (54 years of days) are a slip of the keyboard."""

_FORMATS: dict[Period, str] = {"day": "%Y-%m-%d", "week": "%Y-%m-%d", "month": "%Y-%m"}
_EXAMPLES: dict[Period, str] = {"day": "2024-01-31", "week": "2024-01-29", "month": "2024-01"}


class PartitionRange(BaseModel):
    """Partitions from `first` to `last`, both included.

    Half-open in time: `start` <= event time < `end`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    period: Period
    first: str
    last: str

    @classmethod
    def of(cls, first: str, last: str | None, period: Period) -> Self:
        """`last` left out: that one partition. Raises SettingsError for what names none."""
        made = cls(period=period, first=first, last=last or first)
        start, final = partition_start(made.first, period), partition_start(made.last, period)
        if final < start:
            raise SettingsError(
                f"partitions {first} to {last}: the last comes before the first; turn them round"
            )
        if (final - start).days > MOST * {"day": 1, "week": 7, "month": 31}[period]:
            raise SettingsError(f"partitions {first} to {last}: more than {MOST:,} {period}s")
        try:
            _next(final, period)
        except (OverflowError, ValueError):
            raise SettingsError(f"partition {made.last}: no time ends so late") from None
        return made

    @property
    def start(self) -> datetime:
        return partition_start(self.first, self.period)

    @property
    def end(self) -> datetime:
        return _next(partition_start(self.last, self.period), self.period)

    def values(self) -> list[str]:
        """Every partition of the range, in order."""
        found, moment = [], self.start
        while moment < self.end:
            found.append(f"{moment:{_FORMATS[self.period]}}")
            moment = _next(moment, self.period)
        return found

    def __contains__(self, value: str) -> bool:
        return self.start <= partition_start(value, self.period) < self.end

    def covers(self, times: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.bool_]:
        """Which event times lie in the range, bool [n]; a missing one does not."""
        start, end = (pa.scalar(t, pa.timestamp("us", "UTC")) for t in (self.start, self.end))
        inside = pc.and_(pc.greater_equal(times, start), pc.less(times, end))
        return np.asarray(pc.fill_null(inside, False).to_numpy(zero_copy_only=False), dtype=bool)


def partition_start(value: str, period: Period) -> datetime:
    """When a partition begins, UTC. Raises SettingsError when `value` is no partition's name."""
    try:
        moment = datetime.strptime(value, _FORMATS[period]).replace(tzinfo=UTC)
    except ValueError:
        raise SettingsError(
            f"partition {value!r} is no {period}; write it as {_EXAMPLES[period]}"
        ) from None
    if period == "week" and moment.weekday():
        monday = moment - timedelta(moment.weekday())
        raise SettingsError(
            f"partition {value!r} is no Monday; weeks are named by theirs: {monday:%F}"
        )
    return moment


def partition_of(moment: datetime, period: Period) -> str:
    """The partition that a moment lies in."""
    moment = moment.astimezone(UTC)
    if period == "week":
        moment -= timedelta(moment.weekday())
    return f"{moment:{_FORMATS[period]}}"


def _next(start: datetime, period: Period) -> datetime:
    if period == "month":
        return (start.replace(day=1) + timedelta(32)).replace(day=1)
    return start + timedelta(7 if period == "week" else 1)
