"""What features of some claims depend on, out of all claims: no history reaches further back than
the longest window. Of what lies before it, only everybody's fraud rate is made of."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from fraud_mlops.contract import EVENT_TIME, LABEL, LABEL_TIME, Contract
from fraud_mlops.features.split import microseconds
from fraud_mlops.features.windows import lookbacks
from fraud_mlops.moments import TICK

_NEEDED = {EVENT_TIME, LABEL, LABEL_TIME}


class Reach:
    """For features of claims from `start` on. labels, frauds: of the claims left out so far, as far
    as they are known at `as_of`; all were known before any window that is asked for."""

    def __init__(self, contract: Contract, start: datetime, as_of: datetime) -> None:
        longest = timedelta(days=max(lookbacks(contract), default=0))
        self._since = microseconds(start - longest)
        self._as_of = microseconds(as_of)
        self._delay = contract.label.delay // TICK
        self.labels = self.frauds = 0

    def within(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Their claims that a window may hold, or whose labels one may."""
        for batch in batches:
            # What lacks a column is told by whoever asks for all of them.
            yield self._within(batch) if set(batch.schema.names) >= _NEEDED else batch

    def _within(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        event, label = batch.column(EVENT_TIME).cast(pa.int64()), batch.column(LABEL)
        # As OrderedClaims takes it.
        usable = pc.max_element_wise(
            batch.column(LABEL_TIME).cast(pa.int64()), pc.add(event, self._delay)
        )
        labelled = label.is_valid()
        kept = pc.or_(
            pc.greater_equal(event, self._since),
            pc.and_(labelled, pc.greater_equal(usable, self._since)),
        )
        counted = pc.and_(
            pc.and_not(labelled, kept),
            pc.less_equal(usable, self._as_of),
        )
        known = label.filter(counted)
        self.labels += len(known)
        self.frauds += int(pc.sum(known).as_py() or 0)
        return batch.filter(kept)
