"""Columns that stand in the names of folders, as Hive and Spark write a table (`region=north/`)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import fsspec
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from claims_kit import (
    claim,
    claims,
    contract,
    lakehouse,
    published,
    quarantined,
    refusal,
    take_in,
    write_csv,
    write_parquet,
)

from fraud_mlops.claims.inference import infer
from fraud_mlops.claims.looking import look_into, usual_file
from fraud_mlops.contract import Contract

REGIONS = {"north": range(1, 11), "south": range(11, 21)}
USED = {"categorical": ["make", "region"]}


def rows(numbers: Iterable[int], **changed: object) -> pa.Table:
    return pa.Table.from_pylist([claim(n, **changed) for n in numbers])


def by_region(folder: Path) -> Path:
    for region, numbers in REGIONS.items():
        write_parquet(folder / f"region={region}" / "part.parquet", rows(numbers))
    return folder


def regions(made: Contract, folder: Path) -> list[str | None]:
    """Of the claims in order of time."""
    frame = published(lakehouse(folder), take_in(made, lakehouse(folder)))
    return [None if pd.isna(value) else value for value in frame["region"]]


@pytest.mark.parametrize("uri", ["in", "in/*/*.parquet", "in/region=*/part.parquet", "in/**"])
def test_they_are_columns_of_a_folder_and_of_a_glob(tmp_path: Path, uri: str) -> None:
    by_region(tmp_path / "in")
    source = {"format": "parquet"} if uri.endswith("**") else {}
    made = contract(f"{tmp_path}/{uri}", source=source, **USED)
    assert regions(made, tmp_path) == ["north"] * 10 + ["south"] * 10


def test_they_are_columns_of_any_store(tmp_path: Path) -> None:
    store = f"memory://{tmp_path.name}"
    for region, numbers in REGIONS.items():
        with fsspec.open(f"{store}/in/region={region}/part.parquet", "wb") as stream:
            pq.write_table(rows(numbers), stream)
    for i, uri in enumerate((f"{store}/in", f"{store}/in/region=*/*.parquet")):
        assert set(regions(contract(uri, **USED), tmp_path / str(i))) == set(REGIONS)


def test_csv_has_them_too(tmp_path: Path) -> None:
    for region, numbers in REGIONS.items():
        write_csv(tmp_path / "in" / f"region={region}" / "a.csv", [claim(n) for n in numbers])
    assert set(regions(contract(tmp_path / "in", **USED), tmp_path)) == set(REGIONS)


def test_an_event_time_may_be_put_together_from_them(tmp_path: Path) -> None:
    for month in ("03", "4"):
        folder = tmp_path / "in" / "year=2024" / f"month={month}"
        write_parquet(folder / "part.parquet", rows(range(1, 6), id=f"c{month}").slice(0, 1))
    made = contract(
        tmp_path / "in",
        event_time={"parts": {"year": "year", "month": "month"}},
        ignore=["at"],
    )
    frame = published(lakehouse(tmp_path), take_in(made, lakehouse(tmp_path)))
    assert [f"{moment:%Y-%m}" for moment in frame["event_time"]] == ["2024-03", "2024-04"]


def test_they_have_the_types_that_the_contract_gives_them(tmp_path: Path) -> None:
    for zone in ("7", "many"):
        numbers = range(1, 100) if zone == "7" else [100]
        write_parquet(tmp_path / "in" / f"zone={zone}" / "part.parquet", rows(numbers))
    made = contract(tmp_path / "in", numeric=["age", "zone"])
    report = take_in(made, lakehouse(tmp_path))
    assert published(lakehouse(tmp_path), report)["zone"].unique().tolist() == [7.0]
    (bad,) = quarantined(report)[["column", "value", "reason"]].values.tolist()
    assert bad == ["zone", "many", "not_a_number"]


def test_values_are_written_as_addresses_are(tmp_path: Path) -> None:
    for n, name in enumerate(["a%2Fb%3Dc", "__HIVE_DEFAULT_PARTITION__", "d=e"], 1):
        write_parquet(tmp_path / "in" / f"region={name}" / "part.parquet", rows([n]))
    assert regions(contract(tmp_path / "in", **USED), tmp_path) == ["a/b=c", None, "d=e"]


def test_a_column_of_the_file_goes_before_the_folders_name(tmp_path: Path) -> None:
    write_parquet(tmp_path / "in" / "region=north" / "a.parquet", rows(range(1, 6), region="own"))
    assert regions(contract(tmp_path / "in", **USED), tmp_path) == ["own"] * 5


def test_what_is_ignored_or_not_named_is_not_read(tmp_path: Path) -> None:
    by_region(tmp_path / "in")
    for made in (contract(tmp_path / "in"), contract(tmp_path / "in", ignore=["region"])):
        report = take_in(made, lakehouse(tmp_path))
        assert "region" not in published(lakehouse(tmp_path), report).columns
        assert not report.warnings


def test_files_that_are_not_in_such_folders_lack_the_column(tmp_path: Path) -> None:
    write_parquet(by_region(tmp_path / "in") / "stray.parquet", rows([30]))
    told = refusal(contract(tmp_path / "in", **USED), tmp_path)
    assert f"{tmp_path / 'in' / 'stray.parquet'}: its columns differ" in told
    assert "'region' is missing" in told


OPEN = {"numeric": None, "categorical": None}


def test_those_that_only_some_files_are_in_are_no_columns_and_it_is_told(tmp_path: Path) -> None:
    write_parquet(by_region(tmp_path / "in") / "stray.parquet", rows(range(30, 40), age="44"))
    report = take_in(contract(tmp_path / "in", **OPEN), lakehouse(tmp_path))
    assert report.contract.categorical == ("make",)
    (told,) = report.warnings
    assert told.startswith("'region' is left out: it stands in the names of folders (region=...)")
    assert "of 2 of 3 files only" in told
    ignored = contract(tmp_path / "in", ignore=["region"], **OPEN)
    assert not take_in(ignored, lakehouse(tmp_path)).warnings


def test_a_column_of_all_files_stays_one_where_some_are_in_a_folder_of_its_name(
    tmp_path: Path,
) -> None:
    for place, region in (("region=north", "own"), ("", "another")):
        write_parquet(tmp_path / "in" / place / "a.parquet", rows(range(1, 40), region=region))
    found, warnings = infer(contract(tmp_path / "in", **OPEN))
    assert found.categorical == ("make", "region")
    assert not warnings


def test_features_are_found_among_them_unless_they_say_when(tmp_path: Path) -> None:
    """A year does not come again; a region and a month of the year do."""
    for n, (year, month, region) in enumerate(
        [(2023, "11", "north"), (2023, "12", "south"), (2024, "01", "north")]
    ):
        folder = tmp_path / "in" / f"year={year}" / f"month={month}" / f"region={region}"
        write_parquet(folder / "part.parquet", rows(range(30 * n + 1, 30 * n + 31)))
    found, warnings = infer(contract(tmp_path / "in", numeric=None, categorical=None))
    assert found.categorical == ("make", "month", "region")
    assert found.numeric == ("age",)
    (told,) = [warning for warning in warnings if "folders" in warning]
    assert told.startswith("column 'year' is left out")


def test_a_file_that_lands_has_those_of_its_folders(tmp_path: Path) -> None:
    """Also where they are above the glob's last part: the source says where they begin."""
    folder = by_region(tmp_path / "zone=x" / "in")
    made = contract(folder / "*" / "*.parquet", **USED)
    landed = [str(folder / f"region={region}" / "part.parquet") for region in REGIONS]
    assert [look_into(made, uri, landed[0]).rows for uri in landed] == [10, 10]
    assert usual_file(made, landed) == landed[0]
    assert look_into(contract(folder, **USED), landed[1]).rows == 10
    within = contract(folder, categorical=["make", "zone"])
    assert "no column 'zone'" in refusal(within, tmp_path)
    assert usual_file(within, landed) is None


def test_more_claims_than_one_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fraud_mlops.claims.parquet_files._BATCH_ROWS", 7)
    table = pa.Table.from_pylist(claims(50))
    write_parquet(tmp_path / "in" / "region=north" / "part.parquet", table)
    assert regions(contract(tmp_path / "in", **USED), tmp_path) == ["north"] * 50
