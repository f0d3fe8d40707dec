"""Features of one month are worked out from what they depend on, and are what all claims give."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from made_claims import contract, table, usable

from fraud_mlops.contract import Contract, Window
from fraud_mlops.features.build import build_range, read_window
from fraud_mlops.features.histories import histories
from fraud_mlops.features.split import Split
from fraud_mlops.lakehouse.partitions import Lakehouse, Partition
from fraud_mlops.lakehouse.periods import by_partition
from fraud_mlops.lakehouse.ranges import PartitionRange

AS_OF = datetime(2024, 4, 20, tzinfo=UTC)
APRIL = PartitionRange.of("2024-04", None, "month")
SPLIT = Split.model_validate(contract().split.model_dump())


def claims_of_two_years(made: Contract, seed: int) -> list[dict[str, Any]]:
    """Labels are known after days or years, not at all, or before one may use them."""
    draw = random.Random(seed)  # noqa: S311 - no secret
    first = datetime(2022, 5, 1, tzinfo=UTC)
    rows = []
    for number in range(1_500):
        at = first + timedelta(hours=draw.randrange(24 * 730))
        waits = draw.choice([0, 8, 20, draw.randrange(700)])
        rows.append(
            {
                "claim_id": f"c{number:05d}",
                "event_time": at,
                "label": draw.choice([0, 0, 1, None]),
                "label_time": draw.choice([at + timedelta(days=waits), None]),
                "amount": draw.choice([None, draw.random() * 1e4]),
                "card": draw.choice([None, *"abcdefgh"]),
                "shop": draw.choice([None, *"xyz"]),
            }
        )
    return rows


def written(lake: Lakehouse, made: Contract, rows: list[dict[str, Any]]) -> list[Partition]:
    claims = table(made, rows).sort_by("event_time")
    parts = by_partition(iter(claims.to_batches()), "event_time", "month")
    return lake.write_sorted("raw", made.name, "month", parts, claims.schema)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("as_of", [AS_OF, datetime(2024, 2, 10, tzinfo=UTC)])
def test_a_month_has_the_features_that_all_claims_give_it(
    tmp_path: Path, seed: int, as_of: datetime
) -> None:
    made, lake = contract(), Lakehouse(tmp_path.as_posix())
    raw = written(lake, made, claims_of_two_years(made, seed))
    told: list[str] = []
    common: dict[str, Any] = {"as_of": as_of, "threads": 1}
    ranged = build_range(
        made, lake, raw, APRIL, SPLIT, launch_id="range", progress=told.append, **common
    )
    with histories(made, lake, raw, progress=print, **common) as whole:
        window = Window(start=APRIL.start, end=APRIL.end)
        file = whole.write(f"{tmp_path}/whole.parquet", "whole", whole.between(window))
    assert file.rows > 30
    assert ranged.windows["range"].data_version == file.data_version
    assert read_window(ranged, "range").num_rows == file.rows


def test_claims_that_no_window_holds_are_not_worked_on(tmp_path: Path) -> None:
    made, lake = contract(), Lakehouse(tmp_path.as_posix())
    rows = claims_of_two_years(made, 0)
    since = APRIL.start - timedelta(days=30)
    needed = [
        row
        for row in rows
        if row["event_time"] >= since or (row["label"] is not None and usable(made, row) >= since)
    ]
    told: list[str] = []
    raw = written(lake, made, rows)
    build_range(made, lake, raw, APRIL, SPLIT, launch_id="r", as_of=AS_OF, progress=told.append)
    assert told[0] == f"made: {len(needed)} claims in order of time"
    assert len(needed) < len(rows) / 3
