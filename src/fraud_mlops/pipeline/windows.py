"""Claims of a window as training, validation and monitoring need them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fraud_mlops.claims.reading import evenly_spaced
from fraud_mlops.contract import LABEL, LABEL_TIME
from fraud_mlops.errors import SplitError
from fraud_mlops.features.build import FeatureSet, window_batches

MAX_TRAINING_CLAIMS = 1_000_000
"""More than that are thinned evenly over time: memory stays flat as claims grow."""


def labelled(
    features: FeatureSet, window: str, *, known_before: datetime, limit: int = MAX_TRAINING_CLAIMS
) -> pa.Table:
    """The window's claims whose label was known before `known_before`, in order of time.

    known_before: start of the window that the model is to be judged on; what became known
    later cannot have taught it. Raises SplitError when fraud or genuine claims are missing.
    """
    cutoff = pa.scalar(known_before, pa.timestamp("us", "UTC"))
    kept = []
    for batch in thinned(features, window, limit):
        known = pc.and_(pc.is_valid(batch.column(LABEL)), pc.less(batch.column(LABEL_TIME), cutoff))
        kept.append(batch.filter(pc.fill_null(known, False)))
    table = pa.Table.from_batches(kept) if kept else pa.table({LABEL: pa.array([], pa.int8())})
    frauds = pc.sum(table.column(LABEL)).as_py() or 0
    if not 0 < frauds < table.num_rows:
        raise SplitError(
            f"{features.contract.name}: of the {window} window {table.num_rows:,} claims have a "
            f"label that was known before {known_before:%F}, {frauds:,} of them fraud; both fraud "
            "and genuine claims are needed. Move the split dates, or take more claims."
        )
    return table


def thinned(features: FeatureSet, window: str, limit: int) -> Iterator[pa.RecordBatch]:
    """At most `limit` of the window's claims, spread evenly over it; all when there are fewer."""
    yield from thin(window_batches(features, window), features.windows[window].rows, limit)


def thin(batches: Iterable[pa.RecordBatch], total: int, limit: int) -> Iterator[pa.RecordBatch]:
    """`limit` of the `total` rows, spread evenly over them; all when there are no more."""
    seen = 0
    for batch in batches:
        ordinals = np.arange(seen, seen + batch.num_rows)
        seen += batch.num_rows
        if total <= limit:
            yield batch
        else:
            yield batch.filter(pa.array(evenly_spaced(ordinals, limit, total)))


def evenly(table: pa.Table, limit: int) -> pa.Table:
    """`limit` of a table's rows, spread evenly over it; all when there are no more."""
    return pa.Table.from_batches(thin(table.to_batches(), table.num_rows, limit), table.schema)


def labels_of(table: pa.Table | pa.RecordBatch) -> np.ndarray:
    """Labels as int8 [n]; -1 where unknown."""
    return np.asarray(pc.fill_null(table.column(LABEL), -1).to_numpy(zero_copy_only=False))


def column_or_none(table: pa.Table, name: str) -> np.ndarray | None:
    """A numeric column as float64 [n], or None when the table has no such column."""
    if name not in table.column_names:
        return None
    return np.asarray(table.column(name).to_numpy(zero_copy_only=False), dtype=np.float64)


def days_before(table: pa.Table, column: str, end: datetime) -> np.ndarray:
    """Days from each claim to `end`, float64 [n]."""
    moments = table.column(column).to_numpy(zero_copy_only=False).astype("datetime64[us]")
    last = np.datetime64(end.replace(tzinfo=None), "us")
    return np.asarray((last - moments) / np.timedelta64(1, "D"), dtype=np.float64)
