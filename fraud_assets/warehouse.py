"""The warehouse as Dagster's resource: a DuckDB file, or Snowflake by dagster-snowflake."""

# No `from __future__ import annotations`: Dagster reads the types of a resource's fields.

from abc import ABC, abstractmethod
from pathlib import Path

from dagster import ConfigurableResource
from pydantic import Field

from fraud_assets.stores import Stores
from fraud_mlops.settings import settings
from fraud_mlops.warehouse.choice import file_of
from fraud_mlops.warehouse.duckdb_engine import DuckDBWarehouse
from fraud_mlops.warehouse.engine import Warehouse
from fraud_mlops.warehouse.names import Tables
from fraud_mlops.warehouse.options import SnowflakeOptions


class WarehouseResource(ConfigurableResource, ABC):  # type: ignore[type-arg]
    """Where `snowflake_metrics` goes, whichever engine that is."""

    @abstractmethod
    def open(self) -> Warehouse:
        """The warehouse; connects when a session of it is asked for."""


class DuckDBWarehouseResource(WarehouseResource):
    """A DuckDB file, made when it is not there."""

    path: str = Field(description="The file.")
    table: str = Field(description="Table of metrics.")

    def open(self) -> Warehouse:
        return DuckDBWarehouse(Path(self.path), Tables(self.table))


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
