"""A person whose value names a slice of metrics is in the warehouse's table too, until a sync."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from person_kit import DATASET, PERSON, fill

from fraud_mlops.cli import main
from fraud_mlops.lakehouse.partitions import Lakehouse
from fraud_mlops.lakehouse.stores import read_bytes
from fraud_mlops.maintenance.erasure import find_person
from fraud_mlops.maintenance.erasure_warehouse import find_in_warehouse
from fraud_mlops.settings import settings
from fraud_mlops.warehouse.choice import warehouse_of
from fraud_mlops.warehouse.engine import Warehouse
from fraud_mlops.warehouse.sync import sync


def sync_of(lake: Lakehouse) -> str:
    """Of the lakehouse that was asked about, which the settings may not name."""
    script = "python scripts/sync_metrics_to_snowflake.py"
    return f"{script} --dataset {DATASET} --output-uri {lake.root} --prune"


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lakehouse:
    monkeypatch.setenv("COLUMNS", "600")
    (tmp_path / "landing").mkdir()
    fill(str(tmp_path / "lake"), tmp_path / "landing")
    return Lakehouse(str(tmp_path / "lake"))


@pytest.fixture
def warehouse(lake: Lakehouse) -> Warehouse:
    """Synced once: of the slices one is named for the person."""
    made = warehouse_of(settings(), lake.root)
    sync(lake, made, DATASET)
    return made


def erase(lake: Lakehouse, *options: str) -> Result:
    command = ["erase", "--dataset", DATASET, "--value", PERSON, "--output-uri", lake.root, "--yes"]
    return CliRunner().invoke(main, [*command, *options])


def in_warehouse(result: Result) -> list[str]:
    return [line for line in result.stdout.splitlines() if line.strip().startswith("warehouse")]


def test_slices_leave_the_metrics_and_with_the_next_sync_the_warehouse(
    lake: Lakehouse, warehouse: Warehouse
) -> None:
    assert in_warehouse(erase(lake, "--dry-run"))
    for _ in range(2):  # a run that was killed after the metrics is begun again
        (told,) = in_warehouse(erase(lake, "--request", "c"))
        assert f" 1   a sync takes them out: {sync_of(lake)}" in told
    record = read_bytes(lake.uri("_erasures", DATASET, "c.json")).decode()
    assert "Snowflake's Time Travel" in json.loads(record)["not_looked_into"]
    assert PERSON not in record
    slices = lake.read(lake.partitions("metrics", DATASET))["slice"].to_pylist()
    assert slices == ["all", "insured=P-77"]
    assert sync(lake, warehouse, DATASET).partitions[0].deleted == 1
    assert in_warehouse(erase(lake)) == []


def test_a_slice_of_metrics_that_expired_is_found_in_the_warehouse(
    lake: Lakehouse, warehouse: Warehouse
) -> None:
    expire = ["lake", "expire", "--dataset", DATASET, "--output-uri", lake.root]
    done = CliRunner().invoke(main, [*expire, "--zone", "metrics", "--older-than", "1d"])
    assert f"The warehouse keeps what was synced of them, until {sync_of(lake)}" in done.stdout
    (told,) = in_warehouse(erase(lake))
    assert sync_of(lake) in told
    assert sync(lake, warehouse, DATASET, prune=True).pruned == ("2024-03",)
    assert in_warehouse(erase(lake)) == []


def test_a_warehouse_that_cannot_be_looked_into_is_told_and_stops_nothing(
    lake: Lakehouse, warehouse: Warehouse
) -> None:
    Path(lake.root, "warehouse.duckdb").write_bytes(b"no database" * 999)
    result = erase(lake)
    assert result.exit_code == 1
    (told,) = in_warehouse(result)
    assert "could not be looked into" in told
    assert "that was looked into" not in result.stdout
    left = lake.read(lake.partitions("raw", DATASET))["policyholder"].to_pylist()
    assert PERSON not in left


def test_where_nothing_was_ever_synced_none_is_made_and_the_file_is_named(lake: Lakehouse) -> None:
    result = erase(lake)
    assert in_warehouse(result) == []
    file = Path(lake.root, "warehouse.duckdb")
    assert f"No warehouse was looked into: there is none at duckdb {file}." in result.stdout
    assert "set FRAUD_WAREHOUSE_PATH to that file" in result.stdout
    assert not file.exists()


def test_for_a_lakehouse_elsewhere_the_file_is_looked_for_here_and_named(
    lake: Lakehouse, warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "warehouse.duckdb"
    person = find_person(lake, DATASET, "policyholder", PERSON, ())
    looked = find_in_warehouse("s3://bucket/lake", person)
    assert f"there is none at duckdb {file}. If" in looked.told
    Path(lake.root, "warehouse.duckdb").rename(file)
    looked = find_in_warehouse("s3://bucket/lake", person)
    assert looked.told == f"The warehouse that was looked into is duckdb {file}."
    assert [one.rows for one in looked.found] == [1]
    none = replace(person, contract=person.contract.model_copy(update={"categorical": None}))
    assert find_in_warehouse("s3://bucket/lake", none).told.startswith("No warehouse was asked")


def test_what_was_looked_through_has_the_warehouse(lake: Lakehouse, warehouse: Warehouse) -> None:
    result = erase(lake, "--dry-run", "--value", "nobody")
    (told,) = in_warehouse(result)
    assert told.split()[:3] == ["warehouse", "1", "3"]
    assert f"The warehouse that was looked into is {warehouse.address}." in result.stdout
