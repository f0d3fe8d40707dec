"""Features by Spark are those of this machine, whatever the claims, and however they are cut."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from spark_kit import AS_OF, assert_same, contract, rows, silent, written

from fraud_mlops.contract import Contract
from fraud_mlops.errors import LakehouseError, SplitError
from fraud_mlops.features import build as local
from fraud_mlops.features.feature_set import FeatureSet, read_window, window_batches
from fraud_mlops.lakehouse.partitions import Lakehouse, Partition
from fraud_mlops.lakehouse.ranges import PartitionRange
from fraud_mlops.pipeline.ingesting import ingest
from fraud_mlops.pipeline.plan import plan_run
from fraud_mlops.spark import features as spark
from fraud_mlops.spark.histories import Sizes

pytestmark = pytest.mark.usefixtures("spark")


def both(
    root: Path, made: Contract, raw: list[Partition], sizes: Sizes | None = None
) -> tuple[FeatureSet, FeatureSet]:
    """Built by Spark, and by this machine."""
    lake, common = Lakehouse(str(root)), {"as_of": AS_OF, "progress": silent}
    one = spark.build_features(made, lake, raw, launch_id="spark", sizes=sizes, **common)
    other = local.build_features(made, lake, raw, launch_id="local", threads=1, **common)
    return one, other


def test_generated_claims_have_the_features_that_this_machine_gives_them(tmp_path: Path) -> None:
    plan = plan_run("synthetic_claims", run="Test/1", output_uri=str(tmp_path), sample_size=3000)
    raw = ingest(plan)
    lake, common = Lakehouse(str(tmp_path)), {"as_of": plan.as_of, "progress": silent}
    place = raw.contract, lake, raw.partitions
    one = spark.build_features(*place, launch_id="spark", **common)
    other = local.build_features(*place, launch_id="local", **common)
    assert_same(one, other)
    wanted = PartitionRange.of("2024-03", "2024-05", "month")
    ranged = spark.build_range(*place, wanted, one.split, launch_id="range-1", **common)
    assert_same(ranged, local.build_range(*place, wanted, one.split, launch_id="range-2", **common))
    assert [part.uri.rpartition("/")[2] for part in ranged.windows["range"].parts] == [
        "range-2024-03.parquet", "range-2024-04.parquet", "range-2024-05.parquet",
    ]  # fmt: skip


def test_claims_after_the_moment_of_the_run_are_in_no_window(tmp_path: Path) -> None:
    """In the middle of a day, of a partition, and of the last window."""
    ingested = plan_run("synthetic_claims", run="T/1", output_uri=str(tmp_path), sample_size=2000)
    raw = ingest(ingested)
    moment = datetime(2024, 8, 15, 12, tzinfo=UTC)
    lake, common = Lakehouse(str(tmp_path)), {"as_of": moment, "progress": silent}
    place = raw.contract, lake, raw.partitions
    one = spark.build_features(*place, launch_id="spark", **common)
    assert_same(one, local.build_features(*place, launch_id="local", **common))
    assert max(read_window(one, "oot")["event_time"].to_pylist()) <= moment


@pytest.mark.parametrize(
    "sizes",
    [Sizes(), Sizes(bucket=100, heavy=50, piece=64)],
    ids=["in one piece", "in small pieces, large entities cut in time"],
)
def test_two_entities_at_whole_seconds_with_all_that_is_odd(tmp_path: Path, sizes: Sizes) -> None:
    """Ties, nulls, times before 1970, late labels, columns that differ in case, quotes in names."""
    made = contract()
    one, other = both(tmp_path, made, written(tmp_path, made, rows(800)), sizes)
    assert_same(one, other)
    assert one.lead_in is not None
    assert one.lead_in.rows > 0


def test_a_lakehouse_whose_name_looks_like_a_pattern(tmp_path: Path) -> None:
    made, root = contract(), tmp_path / "the [1] {lake,2} of* a\\b?"
    one, other = both(root, made, written(root, made, rows(200)))
    assert_same(one, other)


def test_claims_of_nobody(tmp_path: Path) -> None:
    made = contract(entities={}, amount=None)
    assert_same(*both(tmp_path, made, written(tmp_path, made, rows(200))))


def test_a_window_without_a_claim_is_an_empty_file(tmp_path: Path) -> None:
    made = contract()
    raw = written(tmp_path, made, rows(100))
    lake, common = Lakehouse(str(tmp_path)), {"as_of": AS_OF, "progress": silent}
    wanted = PartitionRange.of("1971-06-07", None, "week")
    built = local.build_features(made, lake, raw, launch_id="split", **common)
    place = made, lake, raw, wanted, built.split
    ranged = spark.build_range(*place, launch_id="spark", **common)
    assert_same(ranged, local.build_range(*place, launch_id="local", **common))
    assert list(window_batches(ranged, "range")) == []


def test_a_retry_replaces_what_was_there_and_leaves_no_scratch(tmp_path: Path) -> None:
    made = contract(entities={"shop": "shop_no"})
    raw = written(tmp_path, made, rows(150))
    first, _ = both(tmp_path, made, raw)
    again, _ = both(tmp_path, made, raw)
    assert again == first
    assert not list((tmp_path / "_spark").iterdir())


def test_a_partition_that_was_replaced_is_refused(tmp_path: Path) -> None:
    made = contract()
    raw = written(tmp_path, made, rows(100))
    written(tmp_path, made, rows(100, seed=1))
    with pytest.raises(LakehouseError, match="another run has replaced the partition"):
        both(tmp_path, made, raw)


def test_a_claim_that_stands_twice_is_told_by_the_task_in_our_words(tmp_path: Path) -> None:
    made = contract()
    claims: list[dict[str, Any]] = rows(100)
    twice = [*claims, *(dict(row) for row in claims if row["shop"] is not None)][:120]
    raw = written(tmp_path, made, twice)
    with pytest.raises(LakehouseError, match="stands more than once in the raw zone"):
        both(tmp_path, made, raw)
    assert not list(tmp_path.glob("features/made/spark/*.parquet"))


def test_a_split_that_leaves_a_window_empty_is_told_before_spark_starts(tmp_path: Path) -> None:
    late = {"train": {"start": "1980-01-01", "end": "1981-01-01"},
            "validation": {"start": "1981-02-01", "end": "1982-01-01"},
            "oot": {"start": "1983-01-01", "end": "1984-01-01"}}  # fmt: skip
    made = contract(split=late)
    raw = written(tmp_path, made, rows(50))
    with pytest.raises(SplitError, match="no claim at all"):
        both(tmp_path, made, raw)
