"""Some partitions of a source, without the others: each as it would be with them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from claims_kit import (
    Row,
    claim,
    claims,
    contract,
    lakehouse,
    published,
    quarantined,
    take_in,
    write_csv,
)

from fraud_mlops import catalog
from fraud_mlops.claims.raw_zone import pin_raw_zone
from fraud_mlops.contract import Contract
from fraud_mlops.errors import ContractError, LakehouseError, QualityError, SettingsError
from fraud_mlops.lakehouse.partitions import Lakehouse
from fraud_mlops.lakehouse.periods import Period
from fraud_mlops.lakehouse.ranges import PartitionRange, partition_of, partition_start
from fraud_mlops.lakehouse.stores import open_input


def months(first: str, last: str | None = None) -> PartitionRange:
    return PartitionRange.of(first, last, "month")


def messy() -> list[Row]:
    """90 days with bad rows in January and March, and ids that come twice across months."""
    rows = claims(90)
    rows[3]["paid"] = "much"
    rows[70]["paid"] = "little"
    rows[40]["id"] = "c2"  # in February; January's claim of that id stays
    rows[80]["id"] = "c71"  # March's own bad row does not take the id
    return [*rows, claim(91, at="sometime")]


@pytest.mark.parametrize(
    ("first", "last"), [("2024-01", None), ("2024-02", None), ("2024-02", "2024-03")]
)
def test_a_partition_comes_out_the_same_whatever_range_it_is_written_with(
    tmp_path: Path, first: str, last: str | None
) -> None:
    made = contract(write_csv(tmp_path / "m.csv", messy()))
    whole = take_in(made, lakehouse(tmp_path / "whole"))
    part = take_in(made, lakehouse(tmp_path / "part"), partitions=months(first, last))
    versions = {p.value: p.data_version for p in whole.partitions}
    assert [p.value for p in part.partitions] == months(first, last).values()
    assert {p.value: p.data_version for p in part.partitions}.items() <= versions.items()


def test_rows_beyond_the_range_are_neither_written_nor_quarantined(tmp_path: Path) -> None:
    made = contract(write_csv(tmp_path / "m.csv", messy()), quality={"max_bad_share": 0.1})
    lake = lakehouse(tmp_path)
    report = take_in(made, lake, partitions=months("2024-02"))
    assert (report.kept, report.quarantined, report.read) == (28, 2, 30)
    assert [p.value for p in lake.partitions("raw", "motor")] == ["2024-02"]
    bad = quarantined(report).set_index("reason")
    assert bad.loc["duplicate_with_other_values", "column"] == "at"
    assert bad.loc["bad_event_time", "value"] == "sometime", "it may belong to any month"
    assert len(bad) == 2


def test_a_partition_without_claims_is_written_without_rows(tmp_path: Path) -> None:
    rows = [claim(1), claim(2), claim(3, at="2024-03-05")]
    lake = lakehouse(tmp_path)
    made = contract(write_csv(tmp_path / "m.csv", rows))
    report = take_in(made, lake, partitions=months("2024-01", "2024-04"))
    assert [(p.value, p.rows) for p in report.partitions] == [
        ("2024-01", 2),
        ("2024-02", 0),
        ("2024-03", 1),
        ("2024-04", 0),
    ]
    assert list(report.partitions) == lake.partitions("raw", "motor")
    assert len(published(lake, report)) == 3


def test_a_sample_replaces_no_partition_that_is_none_and_stands_beside_none(tmp_path: Path) -> None:
    made, lake = contract(write_csv(tmp_path / "m.csv", claims(90))), lakehouse(tmp_path)
    sample: Row = {"sample_size": 30}
    first = take_in(made, lake, **sample)
    assert "a sample: 30 of 90 rows" in first.warnings
    assert {lake.metadata(p)["sample"] for p in first.partitions} == {"30 of 90 rows"}
    take_in(made, lake, **sample, partitions=months("2024-02"))  # alike, and so again
    for other in (None, 45):
        told = refused(made, lake, sample_size=other, partitions=months("2024-02"))
        assert "holds a sample (30 of 90 rows), and" in told
        assert told.endswith("at once, without --partition-start")
    take_in(made, lake, sample_size=45)
    whole = take_in(made, lake)
    assert not any("sample" in lake.metadata(p) for p in whole.partitions)
    for partitions in (None, months("2024-02")):
        told = refused(made, lake, **sample, partitions=partitions)
        assert "holds all claims, and a sample (30 of 90 rows) would replace them" in told
        assert "--output-uri FOLDER" in told
    assert lake.partitions("raw", "motor") == list(whole.partitions)
    take_in(made, lake, sample_size=90)  # all of them, and so no sample


def test_a_damaged_partition_is_written_anew_by_a_range(tmp_path: Path) -> None:
    path, lake = write_csv(tmp_path / "m.csv", claims(90)), lakehouse(tmp_path)
    inferred = contract(path, numeric=None, categorical=None)
    for made in (contract(path), inferred):
        whole = take_in(made, lake).partitions
        for partition in whole[1:]:
            Path(partition.uri).write_bytes(b"PAR1 and no more")
        for partition in whole[1:]:
            take_in(made, lake, partitions=months(partition.value))
        assert lake.partitions("raw", "motor") == list(whole)


def refused(made: Contract, lake: Lakehouse, **options: Any) -> str:
    with pytest.raises(LakehouseError) as error:
        take_in(made, lake, **options)
    return str(error.value)


def test_generated_claims_may_be_as_many_as_one_likes_each_time(tmp_path: Path) -> None:
    made, lake = catalog.load("synthetic_claims"), lakehouse(tmp_path)
    for size in (None, 3000, 2000):
        report = take_in(made, lake, sample_size=size)
        assert not report.warnings
    assert take_in(made, lake, sample_size=1000, partitions=months("2024-03")).kept < 100


def test_a_range_without_any_claim_is_no_failure(tmp_path: Path) -> None:
    made = contract(write_csv(tmp_path / "m.csv", claims(5)))
    report = take_in(made, lakehouse(tmp_path), partitions=months("2025-07"))
    assert (report.kept, report.first_event, report.last_event) == (0, None, None)
    assert report.fraud_rate is None


def test_the_limit_on_bad_rows_holds_for_the_range(tmp_path: Path) -> None:
    rows = claims(90)
    for row in rows[:20]:
        row["paid"] = "much"
    made = contract(write_csv(tmp_path / "m.csv", rows))
    assert take_in(made, lakehouse(tmp_path), partitions=months("2024-02")).bad_share == 0
    with pytest.raises(QualityError, match="20 of 31 rows break the contract"):
        take_in(made, lakehouse(tmp_path), partitions=months("2024-01"))


def test_rows_without_a_time_are_set_against_the_whole_source(tmp_path: Path) -> None:
    """Else a month would answer for the broken times of a year."""
    rows = claims(300) + [claim(300 + i, at="sometime") for i in range(1, 6)]
    made = contract(write_csv(tmp_path / "m.csv", rows))
    report = take_in(made, lakehouse(tmp_path), partitions=months("2024-01"))
    assert report.bad_share == pytest.approx(5 / 305)
    strict = contract(tmp_path / "m.csv", quality={"max_bad_share": 0.01})
    with pytest.raises(QualityError, match=r"1\.0%"):
        take_in(strict, lakehouse(tmp_path), partitions=months("2024-01"))


def test_the_whole_source_names_partitions_that_it_has_nothing_of_any_more(tmp_path: Path) -> None:
    lake = lakehouse(tmp_path)
    take_in(contract(write_csv(tmp_path / "m.csv", claims(60))), lake)
    report = take_in(contract(write_csv(tmp_path / "m.csv", claims(20))), lake)
    [told] = [w for w in report.warnings if "2024-02" in w]
    assert "--partition-start 2024-02" in told
    assert [p.rows for p in lake.partitions("raw", "motor")] == [20, 29]


def test_generated_claims_come_by_range_too_with_their_truth(tmp_path: Path) -> None:
    made = catalog.load("synthetic_claims")
    whole = take_in(made, Lakehouse(str(tmp_path / "a")), sample_size=2000)
    part = take_in(
        made, Lakehouse(str(tmp_path / "b")), sample_size=2000, partitions=months("2023-05")
    )
    versions = {p.value: p.data_version for p in whole.partitions}
    assert part.partitions[0].data_version == versions["2023-05"]
    assert part.truth_uri is not None
    with open_input(part.truth_uri) as stream:
        assert pq.read_table(stream).num_rows == part.kept > 0


# What others find in the zone --------------------------------------------------------------


def test_inferred_columns_and_truth_are_found_again_in_the_raw_zone(tmp_path: Path) -> None:
    lake = lakehouse(tmp_path)
    made = contract(write_csv(tmp_path / "m.csv", claims(90)), numeric=None, categorical=None)
    report = take_in(made, lake)
    (tmp_path / "m.csv").unlink()
    zone = pin_raw_zone(made, lake)
    assert zone.contract == report.contract
    assert zone.partitions == report.partitions
    assert zone.truths == {}
    generated = take_in(catalog.load("synthetic_claims"), lake, sample_size=500)
    assert pin_raw_zone(generated.contract, lake).truths == generated.truths != {}


def test_a_partition_that_is_added_has_the_columns_of_those_beside_it(tmp_path: Path) -> None:
    """In the new month a code is words: inferred anew, it would be another kind of column."""
    lake = lakehouse(tmp_path)
    rows = [claim(i, grade=str(i % 7)) for i in range(1, 61)]
    made = contract(write_csv(tmp_path / "m.csv", rows), numeric=None, categorical=None)
    first = take_in(made, lake)
    assert "grade" in (first.contract.numeric or ())
    rows += [claim(i, grade="high" if i % 2 else str(i % 7)) for i in range(61, 66)]
    write_csv(tmp_path / "m.csv", rows)
    wide = made.model_copy(update={"quality": made.quality.model_copy(update={"max_bad_share": 1})})
    second = take_in(wide, lake, partitions=months("2024-03"))
    assert second.contract.numeric == first.contract.numeric
    assert pin_raw_zone(made, lake).contract.numeric == first.contract.numeric


def test_an_empty_zone_says_how_to_fill_it(tmp_path: Path) -> None:
    made = contract(write_csv(tmp_path / "m.csv", claims(5)))
    with pytest.raises(LakehouseError, match=r"python flows/ingest_flow\.py run --dataset motor"):
        pin_raw_zone(made, lakehouse(tmp_path))


def test_partitions_of_an_older_version_are_named(tmp_path: Path) -> None:
    lake = lakehouse(tmp_path)
    path = write_csv(tmp_path / "m.csv", claims(60))
    take_in(contract(path), lake)
    take_in(contract(path, version=2), lake, partitions=months("2024-02"))
    with pytest.raises(LakehouseError, match="--partition-start 2024-01 --partition-end 2024-01"):
        pin_raw_zone(contract(path, version=2), lake)


def test_a_partition_that_names_no_contract_is_ingested_again_by_a_command_that_names_its_dataset(
    tmp_path: Path,
) -> None:
    made, lake = contract(write_csv(tmp_path / "m.csv", claims(10))), lakehouse(tmp_path)
    (found,) = take_in(made, lake).partitions
    table = lake.read([found])
    lake.write("raw", made.name, found.key, found.value, table.to_batches(), table.schema)
    with pytest.raises(LakehouseError) as caught:
        pin_raw_zone(made, lake, named="mine/motor.yaml")
    told = f"run --dataset mine/motor.yaml --output-uri {lake.root} --partition-start 2024-01"
    assert told in str(caught.value)


def test_somebodys_copy_of_a_partition_is_not_claims_twice(tmp_path: Path) -> None:
    lake = lakehouse(tmp_path)
    made = contract(write_csv(tmp_path / "m.csv", claims(60)))
    take_in(made, lake)
    first = lake.partitions("raw", made.name)[0]
    copy = tmp_path / "copied.parquet"
    shutil.copy(first.uri, copy)
    beside = Path(first.uri).parent.with_name(f"old_month={first.value}")
    beside.mkdir()
    copy.rename(beside / "part-0.parquet")
    with pytest.raises(LakehouseError, match=rf"kept by old_month \({first.value}"):
        pin_raw_zone(made, lake)


def test_a_personal_column_that_is_none_is_told(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "m.csv", claims(5))
    with pytest.raises(ContractError, match="personal names birthday"):
        take_in(contract(path, personal=["birthday"]), lakehouse(tmp_path))


# Names of partitions -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("period", "first", "last", "values"),
    [
        ("month", "2023-12", "2024-02", ["2023-12", "2024-01", "2024-02"]),
        ("week", "2024-02-26", "2024-03-04", ["2024-02-26", "2024-03-04"]),
        ("day", "2024-02-28", "2024-03-01", ["2024-02-28", "2024-02-29", "2024-03-01"]),
        ("day", "2024-02-28", None, ["2024-02-28"]),
    ],
)
def test_a_range_has_every_partition_from_first_to_last(
    period: Period, first: str, last: str | None, values: list[str]
) -> None:
    made = PartitionRange.of(first, last, period)
    assert made.values() == values
    assert all(value in made for value in values)
    assert [partition_of(partition_start(v, period), period) for v in values] == values
    assert partition_of(made.end, period) not in made


@pytest.mark.parametrize(
    ("period", "first", "last", "told"),
    [
        ("month", "2024-1-5", None, "write it as 2024-01"),
        ("day", "2024-02", None, "write it as 2024-01-31"),
        ("week", "2024-02-28", None, "2024-02-26"),
        ("month", "2024-05", "2024-04", "turn them round"),
        ("day", "0024-01-01", "2024-01-01", "more than 20,000 days"),
    ],
)
def test_what_is_no_range_is_told_with_what_would_be(
    period: Period, first: str, last: str | None, told: str
) -> None:
    with pytest.raises(SettingsError, match=told):
        PartitionRange.of(first, last, period)


def test_a_contract_that_changes_the_size_of_partitions_is_refused_before_anything_is_written(
    tmp_path: Path,
) -> None:
    """By month and by day in one zone, every claim would be there twice."""
    source, lake = write_csv(tmp_path / "claims.csv", claims(40)), lakehouse(tmp_path)
    before = take_in(contract(source), lake).partitions
    for ranged in (None, PartitionRange.of("2024-01-05", None, "day")):
        with pytest.raises(LakehouseError, match=r"kept by month .*another `name`, or move"):
            take_in(contract(source, partition="day", version="2"), lake, partitions=ranged)
    assert tuple(lake.partitions("raw", "motor")) == before
