"""Which warehouse the settings mean."""

from __future__ import annotations

from pathlib import Path

from fraud_mlops.lakehouse.stores import absolute, is_local
from fraud_mlops.settings import Settings
from fraud_mlops.warehouse.duckdb_engine import DuckDBWarehouse
from fraud_mlops.warehouse.engine import Warehouse
from fraud_mlops.warehouse.names import Tables
from fraud_mlops.warehouse.options import SnowflakeOptions
from fraud_mlops.warehouse.snowflake_engine import SnowflakeWarehouse

FILE = "warehouse.duckdb"


def warehouse_of(settings: Settings, lakehouse_root: str) -> Warehouse:
    """Snowflake when it is set up, else a DuckDB file.

    Raises SettingsError when Snowflake is set up in part, or a name is none.
    """
    options = SnowflakeOptions.of(settings)
    if options is not None:
        return SnowflakeWarehouse(options)
    return DuckDBWarehouse(file_of(settings, lakehouse_root), Tables(settings.snowflake_table))


def file_of(settings: Settings, lakehouse_root: str) -> Path:
    """The DuckDB file: FRAUD_WAREHOUSE_PATH, or one in the lakehouse if that is a folder."""
    if settings.warehouse_path is not None:
        return settings.warehouse_path.expanduser().absolute()
    folder = Path(absolute(lakehouse_root)) if is_local(lakehouse_root) else Path.cwd()
    return folder / FILE
