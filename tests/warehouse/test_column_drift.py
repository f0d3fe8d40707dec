"""Tables that are other than a sync writes them are told, with what to do, and left alone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from snow_proxy import Proxy
from warehouse_kit import (
    DATASET,
    MONTHS,
    Lake,
    answer,
    kpis,
    run_schema,
    snowflake_options,
    table_of,
    zone_of,
)

from fraud_mlops.errors import WarehouseError
from fraud_mlops.warehouse.duckdb_engine import DuckDBWarehouse
from fraud_mlops.warehouse.engine import Warehouse
from fraud_mlops.warehouse.marks import datasets_of
from fraud_mlops.warehouse.names import VIEWS, Tables
from fraud_mlops.warehouse.parity import compare
from fraud_mlops.warehouse.snowflake_engine import SnowflakeWarehouse
from fraud_mlops.warehouse.sync import sync

TABLE = "FRAUD_MODEL_METRICS"


@pytest.fixture(params=["duckdb", "snowflake"])
def altered(request: pytest.FixtureRequest, tmp_path: Path) -> Warehouse:
    """A warehouse that no other test has, and whose tables no view depends on."""
    made: Warehouse
    if request.param == "duckdb":
        made = DuckDBWarehouse(tmp_path / "altered.duckdb", Tables())
    else:
        snow: Proxy = request.getfixturevalue("snow")
        options = snowflake_options(snow.port)
        run_schema(options)
        made = SnowflakeWarehouse(options)
    for view in reversed(VIEWS):
        answer(made, f"DROP VIEW {view}")
    return made


def test_columns_that_are_missing_or_of_another_type_are_told_all_at_once(
    lake: Lake, altered: Warehouse
) -> None:
    answer(altered, f"ALTER TABLE {TABLE} DROP COLUMN INTERVAL_LOW")
    answer(altered, f"ALTER TABLE {TABLE} DROP COLUMN METRIC_VALUE")
    answer(altered, f"ALTER TABLE {TABLE} ADD COLUMN METRIC_VALUE VARCHAR")
    with pytest.raises(WarehouseError) as told:
        sync(lake.lakehouse, altered, DATASET)
    lines = str(told.value).splitlines()
    assert "nothing is written or compared" in lines[0]
    assert (
        f"  {TABLE}.INTERVAL_LOW is missing: add it (ALTER TABLE {TABLE} ADD COLUMN INTERVAL_LOW "
        "DOUBLE), and sync with --force"
    ) in lines
    assert any(line.startswith(f"  {TABLE}.METRIC_VALUE is of type ") for line in lines)
    assert [line for line in lines if line.startswith("  ")] == lines[1:3]
    assert lines[3:] == ([f"Or {altered.mend_schema}"] if altered.engine == "duckdb" else [])
    with pytest.raises(WarehouseError) as compared:
        compare(lake.lakehouse, altered, DATASET)
    assert str(compared.value) == str(told.value)


@pytest.mark.parametrize(
    "column", [f"{TABLE}.INTERVAL_LOW", f"{TABLE}.SYNC_ID", f"{TABLE}_SYNC.ROW_COUNT"]
)
def test_what_is_told_of_a_lost_column_mends_a_filled_table(
    lake: Lake, altered: Warehouse, column: str
) -> None:
    sync(lake.lakehouse, altered, DATASET)
    lake.put(MONTHS[0], [("partition", "all", "rows", 99.0, None, None)])  # rows that are gone
    table, _, name = column.partition(".")
    answer(altered, f"ALTER TABLE {table} DROP COLUMN {name}")
    with pytest.raises(WarehouseError) as told:
        sync(lake.lakehouse, altered, DATASET)
    [line] = [line for line in str(told.value).splitlines() if line.startswith("  ")]
    mend = re.fullmatch(r"  (.+) is missing: add it \((ALTER .+)\), and sync with --force", line)
    assert mend is not None
    assert mend[1] == column
    answer(altered, mend[2])
    sync(lake.lakehouse, altered, DATASET, force=True)
    assert table_of(altered) == zone_of(lake)
    assert compare(lake.lakehouse, altered, DATASET).holds
    lake.put(MONTHS[1], [("partition", "all", "rows", 98.0, None, None)])
    sync(lake.lakehouse, altered, DATASET)
    assert table_of(altered) == zone_of(lake)


@pytest.mark.parametrize("table", [TABLE, f"{TABLE}_SYNC"])
@pytest.mark.parametrize("column", ["DATASET", "PARTITION_KEY"])
def test_what_is_told_of_a_lost_owner_leaves_no_row_twice(
    lake: Lake, altered: Warehouse, table: str, column: str
) -> None:
    """Rows that no longer say whose they are would be summed with those that come anew."""
    sync(lake.lakehouse, altered, DATASET)
    answer(altered, f"CREATE OR REPLACE TABLE {table} AS SELECT * EXCLUDE ({column}) FROM {table}")
    with pytest.raises(WarehouseError) as told:
        sync(lake.lakehouse, altered, DATASET)
    [line] = [line for line in str(told.value).splitlines() if line.startswith("  ")]
    mend = re.fullmatch(r".+ is missing: add it \((ALTER .+?)\), .+ \((DELETE .+)\), and .+", line)
    assert mend is not None
    for statement in mend.groups():
        answer(altered, statement)
    sync(lake.lakehouse, altered, DATASET, force=True)
    with altered.session() as session:
        assert session.execute(f"SELECT COUNT(*) FROM {TABLE}") == [(len(zone_of(lake)),)]
        assert datasets_of(session, altered.tables) == [DATASET]
    assert compare(lake.lakehouse, altered, DATASET).holds


def test_columns_that_others_have_added_stay_and_are_told(lake: Lake, altered: Warehouse) -> None:
    answer(altered, f"ALTER TABLE {TABLE} ADD COLUMN REMARK VARCHAR")
    done = sync(lake.lakehouse, altered, DATASET)
    assert done.extra_columns == ("REMARK",)
    answer(altered, f"UPDATE {TABLE} SET REMARK = 'looked at'")
    sync(lake.lakehouse, altered, DATASET, force=True)
    assert answer(altered, f"SELECT DISTINCT REMARK FROM {TABLE}") == [("looked at",)]


def test_columns_are_looked_at_before_views_are_made_anew_on_them(
    lake: Lake, tmp_path: Path
) -> None:
    """An upgrade brings other views, which cannot be made on a table without a column of theirs."""
    altered = DuckDBWarehouse(tmp_path / "altered.duckdb", Tables())
    answer(altered, f"ALTER TABLE {TABLE} DROP COLUMN INTERVAL_LOW")
    answer(
        altered,
        f"CREATE OR REPLACE VIEW BI_ABOUT AS SELECT '{TABLE}' AS TABLE_NAME, "
        "'older' AS SCHEMA_VERSION",
    )
    with pytest.raises(WarehouseError, match=f"{TABLE}.INTERVAL_LOW is missing: add it"):
        sync(lake.lakehouse, altered, DATASET)


def test_a_table_that_is_not_there_is_told_with_the_command_that_makes_it(
    lake: Lake, snow: Proxy
) -> None:
    empty = SnowflakeWarehouse(snowflake_options(snow.port))
    with pytest.raises(WarehouseError, match=r"no table FRAUD_MODEL_METRICS.*--print-schema"):
        sync(lake.lakehouse, empty, DATASET)
    [after] = [s for s in snow.statements if "INFORMATION_SCHEMA" in s]
    assert snow.statements[-1] == after  # nothing was tried after it


def test_a_lock_without_its_row_is_told(lake: Lake, altered: Warehouse) -> None:
    answer(altered, f"DELETE FROM {TABLE}_LOCK")
    with pytest.raises(WarehouseError, match="lacks its row"):
        sync(lake.lakehouse, altered, DATASET)
    assert table_of(altered) == []


def test_marks_that_somebody_has_inserted_again_stand_in_no_ones_way(
    lake: Lake, altered: Warehouse
) -> None:
    """Snowflake keeps no primary key."""
    for name in (f"{TABLE}_SYNC", f"{TABLE}_LOCK"):
        answer(altered, f"CREATE OR REPLACE TABLE {name} AS SELECT * FROM {name}")
    sync(lake.lakehouse, altered, DATASET)
    older = "SELECT * REPLACE ('older' AS DATA_VERSION, 'x' AS SYNC_ID)"
    if altered.engine != "duckdb":
        older = "SELECT DATASET, PARTITION_KEY, 'older', ROW_COUNT, CHECKSUM, 'x', SYNCED_AT"
    answer(altered, f"INSERT INTO {TABLE}_SYNC {older} FROM {TABLE}_SYNC")
    answer(altered, f"INSERT INTO {TABLE}_LOCK SELECT * FROM {TABLE}_LOCK")
    sync(lake.lakehouse, altered, DATASET)
    lake.put(MONTHS[0], kpis(101, 10, 8, 4))
    sync(lake.lakehouse, altered, DATASET, force=True)
    assert table_of(altered) == zone_of(lake)
    [(marks,)] = answer(altered, f"SELECT COUNT(*) FROM {TABLE}_SYNC")
    assert marks == len(MONTHS)


@pytest.mark.parametrize("changed", [False, True])
def test_rows_that_somebody_has_inserted_again_are_there_once_after_the_next_move(
    lake: Lake, altered: Warehouse, changed: bool
) -> None:
    """Snowflake keeps no primary key."""
    answer(altered, f"CREATE OR REPLACE TABLE {TABLE} AS SELECT * FROM {TABLE}")
    sync(lake.lakehouse, altered, DATASET)
    answer(altered, f"INSERT INTO {TABLE} SELECT * FROM {TABLE} WHERE PARTITION_KEY = ?", MONTHS[0])
    told = compare(lake.lakehouse, altered, DATASET).differences
    assert [(one.partition, one.broken) for one in told] == [(MONTHS[0], True)]
    if changed:
        lake.put(MONTHS[0], kpis(101, 10, 8, 4))
    sync(lake.lakehouse, altered, DATASET, force=not changed)
    assert table_of(altered) == zone_of(lake)
