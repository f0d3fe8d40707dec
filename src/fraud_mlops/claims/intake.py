"""All rows of a source, each to staging or to quarantine."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fraud_mlops.claims import faults as reasons
from fraud_mlops.claims.canonical import Converted
from fraud_mlops.claims.faults import Fault, Faults
from fraud_mlops.claims.origins import Origin
from fraud_mlops.claims.quarantine import Quarantine
from fraud_mlops.claims.repeats import Repeats
from fraud_mlops.claims.schema import raw_schema
from fraud_mlops.claims.staging import Staging
from fraud_mlops.claims.validation import Rules
from fraud_mlops.claims.values import Mask, mask_of
from fraud_mlops.contract import CLAIM_ID, EVENT_TIME, LABEL
from fraud_mlops.lakehouse.ranges import PartitionRange

_PROGRESS_SECONDS = 3.0


class Intake:
    """Reads an origin once, and looks at it a second time only for claims that came twice.

    partitions: the only ones wanted; all when None. Rows without a readable time may belong to
    them, and are told in any case.

    source_rows: rows seen. read: those of the wanted partitions, and those without a time;
    timeless: the latter. labels_added: records that only brought the label of an earlier one.
    """

    def __init__(
        self,
        origin: Origin,
        rules: Rules,
        staging: Staging,
        quarantine: Quarantine,
        progress: Callable[[str], None],
        partitions: PartitionRange | None = None,
    ) -> None:
        self._origin = origin
        self._rules = rules
        self._staging = staging
        self._quarantine = quarantine
        self._progress = progress
        self._partitions = partitions
        self.source_rows = 0
        self.read = 0
        self.timeless = 0
        self.labels_added = 0

    def read_all(self) -> None:
        began = told = time.monotonic()
        position = 0
        for converted in self._origin.converted():
            self._take(converted, position)
            position += len(converted.chunk)
            if time.monotonic() - told > _PROGRESS_SECONDS:
                told = time.monotonic()
                self._progress(self._so_far(told - began))

    def _take(self, converted: Converted, position: int) -> None:
        chunk, faults = converted.chunk, converted.faults
        self._rules(converted.claims, faults)
        positions = np.arange(position, position + len(chunk), dtype=np.int64)
        times = converted.claims.column(EVENT_TIME)
        timed = mask_of(pc.is_valid(times))
        wanted = self._partitions.covers(times) | ~timed if self._partitions else None
        if wanted is not None:
            others = ~wanted & ~faults.bad
            ids = converted.claims.column(CLAIM_ID)
            self._staging.add_others(ids.filter(pa.array(others)), positions[others])
            faults.forgive(~wanted)
        self._count(converted, wanted, timed)
        bad = faults.bad
        if bad.any() or chunk.unreadable:
            self._quarantine.add(chunk, faults)
        kept = ~bad if wanted is None else wanted & ~bad
        if kept.all():
            self._staging.add(converted.claims, converted.told, converted.immature, positions)
        else:
            keep = pa.array(kept)
            claims, told = converted.claims.filter(keep), converted.told.filter(keep)
            self._staging.add(claims, told, converted.immature[kept], positions[kept])

    def _count(self, converted: Converted, wanted: Mask | None, timed: Mask) -> None:
        rows, unreadable = len(converted.chunk), len(converted.chunk.unreadable)
        self.source_rows += rows + unreadable
        self.read += unreadable + (rows if wanted is None else int(wanted.sum()))
        self.timeless += unreadable + int((~timed).sum())

    def _so_far(self, seconds: float) -> str:
        """With partitions the whole source is read all the same, for what is theirs in it."""
        of = f" of {self._origin.total:,}" if self._origin.total else ""
        rows, wanted = self.source_rows, self._partitions
        read = f"read {rows:,}{of} claims ({rows / seconds:,.0f} a second)"
        if wanted is None:
            return read
        named = wanted.first if wanted.first == wanted.last else f"{wanted.first} to {wanted.last}"
        return f"{read}: {self._staging.rows:,} of {named} so far"

    def settle_repeats(self) -> None:
        """The first record of a claim stays, with the label that a later one adds.

        All other records of it go to quarantine.
        """
        found = self._staging.settle_repeats()
        self.labels_added = found.labels
        if not len(found.positions):
            return
        before = 0
        for chunk in self._origin.chunks():
            start, end = np.searchsorted(found.positions, [before, before + len(chunk)])
            if start < end:
                faults = self._faults(found, slice(start, end), before, len(chunk))
                # Its unreadable lines are there already.
                self._quarantine.add(replace(chunk, unreadable=()), faults)
            before += len(chunk)

    def _faults(self, found: Repeats, part: slice, before: int, rows: int) -> Faults:
        faults, unlike = Faults(rows), found.unlike[part]
        for place in np.unique(unlike):
            which = np.zeros(rows, dtype=np.bool_)
            which[found.positions[part][unlike == place] - before] = True
            faults.mark(which, *self._fault(int(place)))
        return faults

    def _fault(self, unlike: int) -> Fault:
        if unlike < 0:
            return Fault(reasons.DUPLICATE_CLAIM_ID, self._origin.names[CLAIM_ID])
        name = raw_schema(self._origin.contract).names[unlike]
        reason = reasons.OTHER_LABEL if name == LABEL else reasons.OTHER_VALUES
        return Fault(reason, self._origin.names[name])
