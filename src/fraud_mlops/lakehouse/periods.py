"""Days, weeks and months: which partition an event falls in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

Period = Literal["day", "week", "month"]


def partition_value(times: pa.ChunkedArray | pa.Array, by: Period) -> pa.Array:
    """The partition of each event time (UTC): `2024-01-31`, a week's Monday, or `2024-01`."""
    begun = pc.floor_temporal(times, unit=by, week_starts_monday=True)
    if isinstance(begun, pa.ChunkedArray):
        begun = begun.combine_chunks()
    seen = begun.dictionary_encode()  # text is made once a partition, not once a claim
    form = "%Y-%m" if by == "month" else "%Y-%m-%d"
    return pc.strftime(seen.dictionary, format=form).cast(pa.string()).take(seen.indices)


def by_partition(
    batches: Iterable[pa.RecordBatch], time_column: str, period: Period
) -> Iterator[tuple[str, pa.RecordBatch]]:
    """Batches in order of time, cut where a new partition begins."""
    for batch in batches:
        if not batch.num_rows:
            continue
        values = pc.dictionary_encode(partition_value(batch.column(time_column), period))
        codes = values.indices.to_numpy(zero_copy_only=False)
        edges = [0, *(np.flatnonzero(np.diff(codes)) + 1).tolist(), len(codes)]
        for low, high in pairwise(edges):
            value = values.dictionary[int(codes[low])].as_py()
            yield value, batch.slice(low, high - low)
