"""Each test has a lakehouse and an empty warehouse, of either engine, of its own."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from snow_proxy import Proxy, proxy
from warehouse_kit import Lake, fakesnow_server, run_schema, snowflake_options

from fraud_mlops.settings import settings
from fraud_mlops.warehouse.duckdb_engine import DuckDBWarehouse
from fraud_mlops.warehouse.engine import Warehouse
from fraud_mlops.warehouse.names import Tables
from fraud_mlops.warehouse.options import SnowflakeOptions
from fraud_mlops.warehouse.snowflake_engine import SnowflakeWarehouse

sys.path.append(str(Path(__file__).parents[2] / "scripts"))
import sync_metrics_to_snowflake as script


@pytest.fixture(scope="session")
def snowflake_port() -> Iterator[int]:
    with fakesnow_server() as port:
        yield port


@pytest.fixture
def snow(snowflake_port: int) -> Iterator[Proxy]:
    """Snowflake, behind a proxy."""
    with proxy(snowflake_port) as made:
        yield made


@pytest.fixture(scope="session")
def database(snowflake_port: int) -> SnowflakeOptions:
    """A Snowflake database in which an administrator has run the schema."""
    made = snowflake_options(snowflake_port)
    run_schema(made)
    return made


@pytest.fixture
def options(snow: Proxy, database: SnowflakeOptions) -> SnowflakeOptions:
    """That database, emptied, behind the proxy."""
    tables = database.tables
    with SnowflakeWarehouse(database).session() as session:
        for table in (tables.metrics, tables.sync):
            session.execute(f"DELETE FROM {table}")
    return replace(database, port=snow.port)


@pytest.fixture(params=["duckdb", "snowflake"])
def warehouse(request: pytest.FixtureRequest, tmp_path: Path) -> Warehouse:
    if request.param == "duckdb":
        return DuckDBWarehouse(tmp_path / "warehouse.duckdb", Tables())
    return SnowflakeWarehouse(request.getfixturevalue("options"))


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    made = Lake(tmp_path / "lake")
    made.fill()
    return made


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Sets variables, of which no other test and no shell has any."""
    for name in list(os.environ):
        if name.startswith("SNOWFLAKE_") or name in {"FRAUD_WAREHOUSE_PATH", "LAKEHOUSE_URI"}:
            monkeypatch.delenv(name)

    def given(**variables: object) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, str(value))
        settings.cache_clear()

    given()
    yield given
    monkeypatch.undo()
    settings.cache_clear()


@pytest.fixture
def run(
    lake: Lake,
    environment: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., tuple[int, str]]:
    """The script with these arguments: its exit code and what it prints."""
    environment(LAKEHOUSE_URI=lake.root)

    def one(*arguments: str, main: Callable[[], int] = script.main) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["script", *arguments])
        code = main()
        found = capsys.readouterr()
        assert "Traceback" not in found.err
        assert (found.err != "") == (code == 1 and found.err.startswith("Error: "))
        return code, found.out + found.err

    return one
