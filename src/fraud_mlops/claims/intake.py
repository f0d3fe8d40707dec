"""All rows of a source, each to staging or to quarantine."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fraud_mlops.claims.canonical import Converted
from fraud_mlops.claims.origins import Origin
from fraud_mlops.claims.quarantine import Quarantine
from fraud_mlops.claims.staging import Staging
from fraud_mlops.claims.validation import Rules
from fraud_mlops.contract import CLAIM_ID

_PROGRESS_SECONDS = 3.0


class Intake:
    """Reads an origin once, and looks at it a second time only for claims that came twice.

    read: rows seen. immature: labels that were blanked because they were not known yet.
    """

    def __init__(
        self,
        origin: Origin,
        rules: Rules,
        staging: Staging,
        quarantine: Quarantine,
        progress: Callable[[str], None],
    ) -> None:
        self._origin = origin
        self._rules = rules
        self._staging = staging
        self._quarantine = quarantine
        self._progress = progress
        self.read = 0
        self.immature = 0

    def read_all(self) -> None:
        began = told = time.monotonic()
        position = 0
        for converted in self._origin.converted():
            self._take(converted, position)
            position += len(converted.chunk)
            self.read += len(converted.chunk) + len(converted.chunk.unreadable)
            if time.monotonic() - told > _PROGRESS_SECONDS:
                told = time.monotonic()
                self._progress(self._so_far(told - began))

    def _take(self, converted: Converted, position: int) -> None:
        chunk, faults = converted.chunk, converted.faults
        self._rules(converted.claims, faults)
        bad = faults.bad
        if bad.any() or chunk.unreadable:
            self._quarantine.add(chunk, faults)
        self.immature += int((converted.immature & ~bad).sum())
        positions = np.arange(position, position + len(chunk), dtype=np.int64)
        if bad.any():
            self._staging.add(converted.claims.filter(pa.array(~bad)), positions[~bad])
        else:
            self._staging.add(converted.claims, positions)

    def _so_far(self, seconds: float) -> str:
        of = f" of {self._origin.total:,}" if self._origin.total else ""
        return f"read {self.read:,}{of} claims ({self.read / seconds:,.0f} a second)"

    def drop_duplicates(self) -> None:
        """The first claim of an id in the source stays; the others go to quarantine."""
        positions = self._staging.drop_duplicates()
        if not len(positions):
            return
        column = self._origin.names[CLAIM_ID]
        before = 0
        for chunk in self._origin.chunks():
            rows = _between(positions, before, before + len(chunk))
            if len(rows):
                self._quarantine.add_duplicates(chunk, rows - before, column)
            before += len(chunk)


def _between(positions: npt.NDArray[np.int64], low: int, high: int) -> npt.NDArray[np.int64]:
    start, end = np.searchsorted(positions, [low, high])
    return positions[start:end]
