"""The partitions of a dataset, as claims of landed files ask for them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from fraud_mlops.claims.looking import EPOCH
from fraud_mlops.lakehouse.periods import Period
from fraud_mlops.lakehouse.ranges import partition_of, partition_start
from fraud_mlops.landing.seen import NONE
from fraud_mlops.span import begin_with

_EPOCH = datetime(EPOCH.year, EPOCH.month, EPOCH.day, tzinfo=UTC)
_DAY = timedelta(days=1)


class Partitions:
    """Those that there are at a moment, in order, by name. Days are counted from 1970.

    live: whether there are more as time goes on.
    """

    def __init__(self, names: Sequence[str], period: Period, *, live: bool) -> None:
        self._period, self._live = period, live
        self._days = {name: _day(partition_start(name, period)) for name in names}
        self.first = names[0] if names else ""

    def __contains__(self, name: str) -> bool:
        return name in self._days

    def days(self, held: Sequence[str]) -> tuple[int, int]:
        """First days of the first and the last of them; NONE without any."""
        return (self._days[held[0]], self._days[held[-1]]) if held else (NONE, NONE)

    def between(self, days: tuple[int, int] | None) -> set[str]:
        """Those that begin in a span of days, both included."""
        if days is None:
            return set()
        return {name for name, day in self._days.items() if days[0] <= day <= days[1]}

    def since(self, held: Iterable[str], due: int) -> set[str]:
        """Partitions of `held` that may contain claims from the day before `due` on."""
        first = partition_of(_EPOCH + (due - 1) * _DAY, self._period)
        return {name for name in held if name >= first}

    def might_be(self, name: str) -> bool:
        """Whether one that there is not would be there by another contract or setting; one of the
        future comes by itself."""
        return name < self.first or not self._live

    def advice(self, name: str) -> str:
        """What to do about claims of a partition that there is not."""
        if name < self.first:
            return (
                f"Partitions begin at {self.first}: if these dates are right, {begin_with(name)}, "
                "and they are asked for."
            )
        if self._live:
            return "They are of the future, and asked for when their time has come."
        return "Partitions end with the out-of-time window of the contract."


def today(now: datetime) -> int:
    return _day(now)


def due_day(event: datetime | None) -> int:
    """Day that begins when it has happened; NONE without any."""
    return NONE if event is None else -((_EPOCH - event) // _DAY)


def _day(moment: datetime) -> int:
    return (moment - _EPOCH).days
