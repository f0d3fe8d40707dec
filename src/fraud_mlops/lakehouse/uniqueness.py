"""Whether a value comes twice in partitions that may hold more rows than memory does."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence

import pyarrow as pa

from fraud_mlops.lakehouse.partitions import Lakehouse, Partition
from fraud_mlops.settings import settings


def repeated_values(lakehouse: Lakehouse, partitions: Sequence[Partition], column: str) -> int:
    """How many different values of a text column stand in more than one row.

    Out of core, within the settings' memory limit. Raises LakehouseError for a partition that is
    no longer the one that was pinned.
    """
    import duckdb

    filled = [partition for partition in partitions if partition.rows]
    if not filled:
        return 0
    stored = pa.schema([pa.field(column, pa.string())])
    batches = (batch.cast(stored) for batch in lakehouse.batches(filled, [column]))
    with tempfile.TemporaryDirectory(prefix="unique-") as spill:
        config: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": settings().memory_limit,
            "threads": settings().threads,
            "temp_directory": spill,
        }
        with duckdb.connect(config=config) as connection:
            connection.register("found", pa.RecordBatchReader.from_batches(stored, batches))
            twice = f'SELECT 1 FROM found GROUP BY "{column}" HAVING count(*) > 1'
            row = connection.execute(f"SELECT count(*) FROM ({twice})").fetchone()
    return int(row[0]) if row else 0
