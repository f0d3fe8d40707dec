"""What the doctor says of a warehouse is what a sync would find there, and not less."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from warehouse_kit import answer, fakesnow_server, run_schema, snowflake_options, variables

from fraud_mlops.doctor import places
from fraud_mlops.doctor.finding import Finding
from fraud_mlops.doctor.services import snowflake
from fraud_mlops.settings import settings
from fraud_mlops.warehouse.duckdb_engine import DuckDBWarehouse
from fraud_mlops.warehouse.engine import Warehouse
from fraud_mlops.warehouse.names import Tables
from fraud_mlops.warehouse.snowflake_engine import SnowflakeWarehouse

Set = Callable[..., None]
Look = Callable[[], Finding]
TABLE = "FRAUD_MODEL_METRICS"
PRINT_SCHEMA = "python scripts/sync_metrics_to_snowflake.py --print-schema"


@pytest.fixture(scope="module")
def server() -> Iterator[int]:
    with fakesnow_server() as port:
        yield port


@pytest.fixture
def in_snowflake(shell: Set, server: int) -> tuple[Warehouse, Look]:
    options = snowflake_options(server)
    run_schema(options)
    shell(**variables(options))
    return SnowflakeWarehouse(options), lambda: next(snowflake(settings()))


@pytest.fixture
def in_a_file(shell: Set, tmp_path: Path) -> tuple[Warehouse, Look]:
    made = DuckDBWarehouse(tmp_path / "w.duckdb", Tables())
    shell(FRAUD_WAREHOUSE_PATH=str(made.path))
    with made.session():
        pass
    return made, lambda: places.warehouse_file(settings())  # type: ignore[return-value]


@pytest.fixture(params=["in_snowflake", "in_a_file"])
def place(request: pytest.FixtureRequest) -> tuple[Warehouse, Look]:
    made: tuple[Warehouse, Look] = request.getfixturevalue(request.param)
    return made


def test_a_warehouse_that_a_sync_can_use_is_well(place: tuple[Warehouse, Look]) -> None:
    _, look = place
    assert (look().status, look().mend) == ("ok", None)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (f"DROP TABLE {TABLE}", f"there is no table {TABLE} "),
        (f"DROP TABLE {TABLE}_LOCK", f"there is no table {TABLE}_LOCK"),
        (f"ALTER TABLE {TABLE}_SYNC DROP COLUMN CHECKSUM", f"{TABLE}_SYNC.CHECKSUM is missing"),
    ],
)
def test_a_table_that_is_missing_or_other_is_wrong(
    place: tuple[Warehouse, Look], damage: str, told: str
) -> None:
    warehouse, look = place
    change(warehouse, damage)
    found = look()
    assert (found.status, told in found.says) == ("wrong", True), found


def change(warehouse: Warehouse, *statements: str) -> None:
    """As somebody does who looks after it."""
    if isinstance(warehouse, DuckDBWarehouse):
        import duckdb

        with duckdb.connect(str(warehouse.path)) as file:
            for statement in statements:
                file.execute(statement)
        return
    for statement in statements:
        answer(warehouse, statement)


@pytest.mark.parametrize("column", ["METRIC_VALUE", "PERIOD_START"])
def test_a_column_of_another_type_is_mended_by_the_statements_that_are_told(
    place: tuple[Warehouse, Look], column: str
) -> None:
    """One that may be NULL, and one that may not."""
    warehouse, look = place
    change(warehouse, f"ALTER TABLE {TABLE} ALTER COLUMN {column} TYPE VARCHAR")
    told = re.search(rf"{TABLE}.{column} is of type .+? anew \((ALTER .+?)\), and", look().says)
    assert told is not None, look()
    statements = told[1].split("; ")
    assert ("DROP NOT NULL" in told[1]) == (column == "PERIOD_START")
    change(warehouse, *statements)
    assert look().status == "ok"


def test_a_column_of_the_key_is_mended_by_making_the_table_anew(
    in_snowflake: tuple[Warehouse, Look],
) -> None:
    warehouse, look = in_snowflake
    assert isinstance(warehouse, SnowflakeWarehouse)
    rest = "PARTITION_KEY, DATA_VERSION, ROW_COUNT, CHECKSUM, SYNC_ID, SYNCED_AT"
    table = f"{TABLE}_SYNC"
    change(
        warehouse, f"CREATE OR REPLACE TABLE {table} AS SELECT 1 AS DATASET, {rest} FROM {table}"
    )
    told = re.search(r"in place; put the table aside \((ALTER .+)\), run what", look().says)
    assert told is not None, look()
    change(warehouse, told[1])
    run_schema(warehouse.options)
    assert look().status == "ok"


def test_the_table_alone_is_not_enough(in_snowflake: tuple[Warehouse, Look]) -> None:
    warehouse, look = in_snowflake
    answer(warehouse, f"DROP TABLE {TABLE}")
    assert (look().status, look().mend) == ("wrong", PRINT_SCHEMA)


def test_views_of_another_version_are_worth_a_look(in_snowflake: tuple[Warehouse, Look]) -> None:
    warehouse, look = in_snowflake
    answer(
        warehouse,
        f"CREATE OR REPLACE VIEW BI_ABOUT AS SELECT '{TABLE}' AS TABLE_NAME, "
        "'0123456789ab' AS SCHEMA_VERSION",
    )
    found = look()
    assert (found.status, found.mend) == ("warning", PRINT_SCHEMA)
    assert "views for BI are of another version" in found.says


def test_a_name_that_is_none_is_told(shell: Set, in_a_file: tuple[Warehouse, Look]) -> None:
    shell(SNOWFLAKE_TABLE="two words")
    _, look = in_a_file
    assert (look().status, "SNOWFLAKE_TABLE='two words' is no" in look().says) == ("wrong", True)
