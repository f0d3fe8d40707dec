"""Claims for the Spark engine, built by it and by the local one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fraud_mlops.claims.schema import raw_schema
from fraud_mlops.contract import Contract
from fraud_mlops.features.build import FeatureSet, read_window
from fraud_mlops.lakehouse.partitions import Lakehouse, Partition
from fraud_mlops.lakehouse.periods import by_partition

START = datetime(1969, 12, 1, tzinfo=UTC)
AS_OF = datetime(1970, 12, 1, tzinfo=UTC)
Row = dict[str, Any]


def silent(_: str) -> None:
    """Progress is for people."""


def contract(**changed: Any) -> Contract:
    """Cards and shops; windows of 1, 7 and 30 days; out of time begins within a week."""
    usual: dict[str, Any] = {
        "name": "made",
        "source": {"uri": "made.csv"},
        "event_time": {"column": "at"},
        "label": {"column": "fraud", "delay": "7d"},
        "amount": "amount",
        "entities": {"card": "card_no", "shop": "shop_no"},
        "numeric": ["age", "Age"],
        "categorical": ["a b.c`d"],
        "windows": [1, 7, 30],
        "partition": "week",
        "split": {
            "train": {"start": "1969-12-01", "end": "1970-02-01"},
            "validation": {"start": "1970-02-10", "end": "1970-03-05"},
            "oot": {"start": "1970-03-05", "end": "1970-05-01"},
            "gap": "0d",
        },
    }
    return Contract.model_validate(usual | changed)


def rows(count: int, seed: int = 0) -> list[Row]:
    """Claims at whole seconds, many at the same one; one card in four is the same."""
    rng = np.random.default_rng(seed)
    made = []
    for i in range(count):
        event = START + timedelta(days=int(rng.integers(180)), seconds=int(rng.integers(3)))
        label = [None, 0, 1][rng.integers(3)]
        late = timedelta(days=int(rng.choice([0, 7, 8, 40])), seconds=int(rng.integers(2)))
        made.append(
            {
                "claim_id": f"c{i}",
                "event_time": event,
                "label": label,
                "label_time": None if label is None else event + late,
                "amount": None if rng.random() < 0.1 else round(float(rng.normal(0, 1e4)), 3),
                "card": [None, "always", "x", f"card {rng.integers(20)}"][rng.integers(4)],
                "shop": None if rng.random() < 0.1 else f"shop {rng.integers(9)}",
                "age": float(rng.integers(90)),
                "Age": float(rng.normal()),
                "a b.c`d": [None, "ä", "b"][rng.integers(3)],
            }
        )
    return made


def written(root: Path, made: Contract, claims: Sequence[Mapping[str, Any]]) -> list[Partition]:
    """The raw partitions of the claims."""
    schema = raw_schema(made)
    columns = {name: [row.get(name) for row in claims] for name in schema.names}
    table = pa.table(columns, schema=schema).sort_by("event_time").combine_chunks()
    parts = by_partition(table.to_batches(), "event_time", made.partition)
    return Lakehouse(str(root)).write_sorted("raw", made.name, made.partition, parts, schema)


def assert_same(one: FeatureSet, other: FeatureSet) -> None:
    """The same windows, of the same claims in the same order, bit for bit."""
    assert one.model_dump(exclude={"windows", "lead_in"}) == other.model_dump(
        exclude={"windows", "lead_in"}
    )
    assert one.windows.keys() == other.windows.keys()
    assert one.scored == other.scored
    for name in {*one.windows, *one.scored}:
        mine, theirs = one.file(name), other.file(name)
        counts = ("rows", "labelled", "frauds")
        assert [getattr(mine, c) for c in counts] == [getattr(theirs, c) for c in counts], name
        left, right = read_window(one, name), read_window(other, name)
        assert left.schema == right.schema
        for column in left.column_names:
            assert left.column(column).equals(right.column(column)), (name, column)
