"""From when on a label may be used, of claims in Arrow; `features.ordering` says it in SQL."""

from __future__ import annotations

from datetime import timedelta

import pyarrow as pa
import pyarrow.compute as pc

from fraud_mlops.claims.times import UTC_TIME
from fraud_mlops.contract import EVENT_TIME, LABEL, LABEL_TIME


def usable_from(claims: pa.RecordBatch | pa.Table, delay: timedelta) -> pa.Array:
    """From label_time on, never before event time plus the delay; null where there is no label."""
    ripe = pc.add(claims.column(EVENT_TIME), pa.scalar(delay, pa.duration("us")))
    usable = later_of(claims.column(LABEL_TIME), ripe)
    return pc.if_else(pc.is_valid(claims.column(LABEL)), usable, pa.scalar(None, UTC_TIME))


def later_of(one: pa.Array, other: pa.Array) -> pa.Array:
    """The later of two moments; `other` where `one` is null."""
    return pc.if_else(pc.fill_null(pc.greater(one, other), False), one, other)
