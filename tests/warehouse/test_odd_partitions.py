"""What is wrong with one partition keeps no other from being synced, and is told of that one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from warehouse_kit import DATASET, MONTHS, Lake, answer, kpis, table_of

from fraud_mlops.warehouse.duckdb_engine import DuckDBWarehouse
from fraud_mlops.warehouse.engine import Warehouse
from fraud_mlops.warehouse.names import Tables
from fraud_mlops.warehouse.parity import compare
from fraud_mlops.warehouse.sync import PartitionsError, sync
from fraud_mlops.warehouse.zone import values_in_range

ROWS = kpis(7, 2, 2, 1)


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    """What is refused is refused before it reaches an engine."""
    return DuckDBWarehouse(tmp_path / "warehouse.duckdb", Tables())


def with_a_text_for_a_value(lake: Lake) -> None:
    odd = lake.put(MONTHS[1], ROWS)
    table = lake.lakehouse.read([odd])
    texts = table["value"].cast(pa.string())
    table = table.set_column(table.schema.get_field_index("value"), "value", texts)
    lake.lakehouse.write("metrics", DATASET, "month", MONTHS[1], table.to_batches(), table.schema)


ODD: dict[str, tuple[str, Callable[[Lake], object], str]] = {
    "without a column": (
        MONTHS[1],
        lambda lake: lake.put(MONTHS[1], ROWS, without="low"),
        "has no column low of type double; measure the partition again",
    ),
    "with a column of another type": (
        MONTHS[1],
        with_a_text_for_a_value,
        "has no column value of type double; measure the partition again",
    ),
    "of no period": (
        "months=2024-02",
        lambda lake: lake.put("2024-02", ROWS, key="months"),
        "months is no period of a metrics zone",
    ),
    "somebody's copy beside the partition": (
        f"old_month={MONTHS[0]}",
        lambda lake: lake.put(MONTHS[0], ROWS, key="old_month"),
        "old_month is no period of a metrics zone",
    ),
    "a month that never ends": (
        "month=9999-12",
        lambda lake: lake.put("9999-12", ROWS),
        "no time ends so late",
    ),
    "a copy": (
        "month=2024-01-copy",
        lambda lake: lake.put("2024-01-copy", []),
        "partition '2024-01-copy' is no month",
    ),
}


@pytest.mark.parametrize("odd", ODD)
def test_an_odd_partition_is_told_and_the_others_are_synced(
    lake: Lake, warehouse: Warehouse, odd: str
) -> None:
    value, put, told = ODD[odd]
    put(lake)
    with pytest.raises(PartitionsError) as failed:
        sync(lake.lakehouse, warehouse, DATASET)
    assert failed.value.failures.keys() == {value}
    assert told in failed.value.failures[value]
    others = {*MONTHS} - {value}
    assert {row[0] for row in table_of(warehouse)} == others
    [difference] = compare(lake.lakehouse, warehouse, DATASET).differences
    assert (difference.partition, difference.broken) == (value, True)
    assert told in difference.what


@pytest.mark.parametrize("damaged", [False, True])
def test_one_value_under_two_periods_is_neither_partitions(
    lake: Lake, warehouse: Warehouse, damaged: bool
) -> None:
    """A week's Monday and a day of that name, once a contract has gone from one to the other."""
    monday = "2024-01-01"
    lake.put(monday, kpis(70, 5, 2, 1), key="week")
    day = lake.put(monday, [("partition", "all", "rows", 1.0, None, None)], key="day")
    if damaged:
        (lake.root / day.uri).write_bytes(b"PAR1 cut")
    with pytest.raises(PartitionsError) as failed:
        sync(lake.lakehouse, warehouse, DATASET)
    assert failed.value.failures.keys() == {monday}
    told = failed.value.failures[monday]
    assert "only one of day=2024-01-01 and week=2024-01-01 can be in the warehouse" in told
    assert "remove those of the period that the contract no longer has, and sync with --p" in told
    assert {row[0] for row in table_of(warehouse)} == {*MONTHS}
    compared = compare(lake.lakehouse, warehouse, DATASET)
    assert [(d.partition, d.broken) for d in compared.differences] == [(monday, True)]
    (lake.root / day.uri).unlink()
    sync(lake.lakehouse, warehouse, DATASET)
    assert compare(lake.lakehouse, warehouse, DATASET).holds


def test_days_that_a_month_has_too_are_in_neither(lake: Lake, warehouse: Warehouse) -> None:
    """A dashboard would sum both."""
    days = [f"2024-04-{day:02}" for day in (5, 6, 30)]
    for day in [*days, "2024-07-01"]:
        lake.put(day, ROWS, key="day")
    with pytest.raises(PartitionsError) as failed:
        sync(lake.lakehouse, warehouse, DATASET)
    assert failed.value.failures.keys() == {"2024-04", *days}
    [told] = {*failed.value.failures.values()}
    assert "only one of day=2024-04-05 to 2024-04-30 and month=2024-04 can be in" in told
    assert f"\n  2024-04, {', '.join(days)}: {lake.root}" in str(failed.value)
    assert {row[0] for row in table_of(warehouse)} == {*MONTHS[1:], "2024-07-01"}
    assert not compare(lake.lakehouse, warehouse, DATASET).holds


def test_a_damaged_copy_stands_in_nobodys_way(lake: Lake, warehouse: Warehouse) -> None:
    copy = lake.put(MONTHS[0], ROWS, key="old_month")
    (lake.root / copy.uri).write_bytes(b"PAR1 cut")
    with pytest.raises(PartitionsError) as failed:
        sync(lake.lakehouse, warehouse, DATASET)
    assert failed.value.failures.keys() == {f"old_month={MONTHS[0]}"}
    assert {row[0] for row in table_of(warehouse)} == {*MONTHS}


def test_a_range_takes_whatever_partitions_lie_within_it(lake: Lake) -> None:
    for day in ("2024-07-01", "2024-07-31", "2024-08-01"):
        lake.put(day, ROWS, key="day")
    lake.put("2024-07-copy", ROWS)

    def within(first: str, last: str) -> list[str]:
        return values_in_range(lake.lakehouse, DATASET, first, last)

    assert within("2024-05", "2024-07") == [*MONTHS[1:], "2024-07-01", "2024-07-31"]
    assert within("2024-05-02", "2024-07-30") == ["2024-06", "2024-07-01"]


def test_days_of_a_month_that_only_the_warehouse_has_wait_until_that_is_removed(
    lake: Lake, warehouse: Warehouse
) -> None:
    """A contract has gone from months to days, and the old month was removed from the lakehouse."""
    sync(lake.lakehouse, warehouse, DATASET)
    (lake.root / lake.lakehouse.partition("metrics", DATASET, "month", MONTHS[0]).uri).unlink()
    days = [f"{MONTHS[0]}-{day:02}" for day in (1, 30)]
    for day in [*days, "2024-07-01"]:
        lake.put(day, ROWS, key="day")
    with pytest.raises(PartitionsError, match="sync with --prune") as failed:
        sync(lake.lakehouse, warehouse, DATASET)
    assert failed.value.failures.keys() == {*days}
    assert {row[0] for row in table_of(warehouse)} == {*MONTHS, "2024-07-01"}
    sync(lake.lakehouse, warehouse, DATASET, prune=True)
    assert {row[0] for row in table_of(warehouse)} == {*MONTHS[1:], *days, "2024-07-01"}
    assert compare(lake.lakehouse, warehouse, DATASET).holds


def test_rows_whose_mark_was_lost_are_known_to_be_gone(lake: Lake, warehouse: Warehouse) -> None:
    """As after the remedy for a column of the marks' table that was lost."""
    sync(lake.lakehouse, warehouse, DATASET)
    answer(warehouse, f"DELETE FROM {warehouse.tables.sync}")
    (lake.root / lake.lakehouse.partition("metrics", DATASET, "month", MONTHS[0]).uri).unlink()
    done = sync(lake.lakehouse, warehouse, DATASET)
    assert (done.gone, done.datasets) == ((MONTHS[0],), (DATASET,))
    [difference] = compare(lake.lakehouse, warehouse, DATASET).differences
    assert difference.what == "rows without a mark, that the lakehouse has no more; sync --prune"
    assert sync(lake.lakehouse, warehouse, DATASET, prune=True).pruned == (MONTHS[0],)
    assert compare(lake.lakehouse, warehouse, DATASET).holds
