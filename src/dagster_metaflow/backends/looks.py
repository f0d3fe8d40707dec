"""When to look at a run elsewhere again: rarely while nothing happens, not for ever at faults."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from threading import Lock
from typing import Generic, TypeVar

_SLOWER = 1.5
_MOST_KEPT = 256


@dataclass(frozen=True)
class Pace:
    """In seconds. look, most: between two looks, at first and at most. patience: for which a look
    may be refused before the run is given up."""

    look: float
    most: float
    patience: float


@dataclass
class Looks:
    """Of one follower."""

    _next: float = 0.0
    _wait: float = 0.0
    _first_fault: float | None = None

    @property
    def is_due(self) -> bool:
        return time.monotonic() >= self._next

    def hurry(self) -> None:
        """The next look is now."""
        self._next, self._wait = 0.0, 0.0

    def went_well(self) -> None:
        self._first_fault = None

    def outlasts(self, pace: Pace) -> bool:
        """Takes note of a fault. Whether faults have come for longer than is put up with."""
        now = time.monotonic()
        self._first_fault = self._first_fault or now
        return now - self._first_fault > pace.patience

    def done(self, pace: Pace, *, news: bool) -> None:
        wait = pace.look if news else min(self._wait * _SLOWER, pace.most)
        self._wait = max(wait, pace.look)
        self._next = time.monotonic() + self._wait


_K = TypeVar("_K", bound=Hashable)
_F = TypeVar("_F")


class Followers(Generic[_K, _F]):
    """The same one for the same attempt, so that looks of one process keep their pace."""

    def __init__(self) -> None:
        self._kept: dict[_K, _F] = {}
        self._lock = Lock()

    def of(self, key: _K, make: Callable[[], _F]) -> _F:
        with self._lock:
            if key not in self._kept:
                while len(self._kept) >= _MOST_KEPT:
                    del self._kept[next(iter(self._kept))]
                self._kept[key] = make()
            return self._kept[key]
