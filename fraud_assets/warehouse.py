"""The warehouse as Dagster's resource: a DuckDB file, or Snowflake by dagster-snowflake."""

from fraud_assets.stores import Stores
from fraud_assets.warehouse_resource import DuckDBWarehouseResource, WarehouseResource
from fraud_mlops.settings import settings
from fraud_mlops.warehouse.choice import file_of
from fraud_mlops.warehouse.options import SnowflakeOptions


def warehouse_resource(stores: Stores) -> WarehouseResource:
    """As the settings say. Raises SettingsError when Snowflake is set up in part."""
    options = SnowflakeOptions.of(settings())
    if options is not None:
        from fraud_assets.snowflake import snowflake_warehouse  # needs the extra

        return snowflake_warehouse(options)
    file = file_of(settings(), stores.root)
    return DuckDBWarehouseResource(path=str(file), table=settings().snowflake_table)


def engine_kind() -> str:
    """What Dagster shows on the asset: `snowflake` or `duckdb`."""
    return "duckdb" if SnowflakeOptions.of(settings()) is None else "snowflake"
