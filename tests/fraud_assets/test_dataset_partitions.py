"""A contract's partitions as Dagster shows them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
import yaml
from assets_kit import GENERATED, LANDED
from pydantic import ValidationError

from fraud_assets.dataset import datasets
from fraud_assets.partitions import history, learnt_from, partitions_of
from fraud_mlops.contract import Contract
from fraud_mlops.errors import SettingsError
from fraud_mlops.lakehouse.ranges import PartitionRange, partition_of
from fraud_mlops.settings import settings

SPLIT = {
    "train": {"start": "2023-02-10", "end": "2024-01-01"},
    "validation": {"start": "2024-02-01", "end": "2024-03-01"},
    "oot": {"start": "2024-04-01", "end": "2024-07-10"},
}


def contract(text: str = LANDED, **changes: object) -> Contract:
    return Contract.model_validate(yaml.safe_load(text) | changes)


@pytest.mark.parametrize("period", ["day", "week", "month"])
def test_names_are_those_of_the_lakehouse(period: str) -> None:
    described = contract(GENERATED, partition=period)
    start, end = described.source.start, described.source.end
    last = partition_of(end - timedelta(seconds=1), described.partition)
    expected = PartitionRange.of(
        partition_of(start, described.partition), last, described.partition
    )
    assert partitions_of(described).get_partition_keys() == expected.values()


def test_claims_in_a_folder_keep_coming_and_the_period_under_way_is_there() -> None:
    keys = partitions_of(contract(split=SPLIT)).get_partition_keys()
    assert keys[0] == "2023-02"
    assert keys[-1] == f"{datetime.now(UTC):%Y-%m}"


def test_one_file_with_dates_is_a_closed_history() -> None:
    described = contract(split=SPLIT, source={"uri": "claims.csv"})
    assert partitions_of(described).get_partition_keys()[-1] == "2024-07"


def first(**changes: object) -> str:
    return partitions_of(contract(**changes)).get_partition_keys()[0]


def test_without_dates_partitions_begin_at_the_first_one_of_the_contract() -> None:
    assert first(first_partition="1994-01") == "1994-01"
    assert first(first_partition=date(1994, 1, 20), partition="day") == "1994-01-20"
    assert first(first_partition="1994-01", partition="week") == "1993-12-27"  # its Monday
    assert first(first_partition="2022-06", split=SPLIT) == "2022-06"


def test_partitions_of_which_nothing_is_said_begin_in_2020_and_go_on_until_now() -> None:
    keys = partitions_of(contract(partition="week")).get_partition_keys()
    assert keys[0] == "2019-12-30"  # the Monday of the week of 2020-01-01
    assert datetime.now(UTC) - datetime.fromisoformat(f"{keys[-1]}T00:00Z") < timedelta(days=7)


def test_the_setting_goes_before_the_contract_and_cuts_no_training_claims_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FRAUD_FIRST_PARTITION", "2023-06")
    settings.cache_clear()
    try:
        assert first() == first(first_partition="1994-01") == "2023-06"
        assert first(split=SPLIT) == "2023-02"
        assert partitions_of(contract(GENERATED)).get_partition_keys()[0] == "2024-01"
        monkeypatch.setenv("FRAUD_FIRST_PARTITION", "2022-06-30")
        settings.cache_clear()
        assert first(split=SPLIT) == "2022-06"
    finally:
        settings.cache_clear()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"first_partition": "2023-03", "split": SPLIT}, "must not come after split.train.start"),
        ({"first_partition": 1994}, "1994 is not a date"),
        ({"first_partition": "soon"}, "valid datetime"),
    ],
)
def test_a_first_partition_that_cannot_be_is_refused(changes: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        contract(**changes)
    with pytest.raises(ValidationError, match=r"begin at source\.start"):
        contract(GENERATED, first_partition="1994-01")


@pytest.mark.parametrize(("period", "first"), [("day", "2024-05-17"), ("month", "2024-04")])
def test_scores_depend_on_claims_as_far_back_as_windows_reach(period: str, first: str) -> None:
    described = contract(GENERATED, partition=period, windows=[1, 30])
    partitions = partitions_of(described)
    of = "2024-06-16" if period == "day" else "2024-06"
    upstream = history(described).get_upstream_mapped_partitions_result_for_partitions(
        partitions.subset_with_partition_keys([of]), partitions, partitions
    )
    assert min(upstream.partitions_subset.get_partition_keys()) == first
    assert max(upstream.partitions_subset.get_partition_keys()) == of


def test_without_entities_scores_depend_on_their_own_claims_alone() -> None:
    assert history(contract(entities={})) == dg.IdentityPartitionMapping()


def test_a_model_depends_on_claims_up_to_the_end_of_its_oot_window() -> None:
    mapping = learnt_from(contract(split=SPLIT))
    assert isinstance(mapping, dg.SpecificPartitionsPartitionMapping)
    assert (mapping.partition_keys[0], mapping.partition_keys[-1]) == ("2023-02", "2024-07")
    assert learnt_from(contract()) == dg.AllPartitionMapping()


def test_two_datasets_of_one_name_are_refused(tmp_path: Path) -> None:
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text(LANDED)
    with pytest.raises(SettingsError, match="both called parcels"):
        datasets(f"{tmp_path}/a.yaml, {tmp_path}/b.yaml")
    with pytest.raises(SettingsError, match="names no dataset"):
        datasets(" , ")
