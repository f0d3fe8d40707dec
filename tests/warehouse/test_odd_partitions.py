"""What is wrong with one partition keeps no other from being synced, and is told of that one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from warehouse_kit import DATASET, MONTHS, Lake, kpis, table_of

from fraud_mlops.warehouse.duckdb_engine import DuckDBWarehouse
from fraud_mlops.warehouse.engine import Warehouse
from fraud_mlops.warehouse.names import Tables
from fraud_mlops.warehouse.parity import compare
from fraud_mlops.warehouse.sync import PartitionsError, sync

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
        "has no column low of type double; write the partition again",
    ),
    "with a column of another type": (
        MONTHS[1],
        with_a_text_for_a_value,
        "has no column value of type double; write the partition again",
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
        "9999-12",
        lambda lake: lake.put("9999-12", ROWS),
        "no time ends so late",
    ),
    "a copy": (
        "2024-01-copy",
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
    assert "remove the other" in told
    assert {row[0] for row in table_of(warehouse)} == {*MONTHS}
    compared = compare(lake.lakehouse, warehouse, DATASET)
    assert [(d.partition, d.broken) for d in compared.differences] == [(monday, True)]
    (lake.root / day.uri).unlink()
    sync(lake.lakehouse, warehouse, DATASET)
    assert compare(lake.lakehouse, warehouse, DATASET).holds
