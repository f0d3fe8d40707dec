"""The table of metrics as Dagster's resource, whichever engine holds it; and as a DuckDB file."""

# No `from __future__ import annotations`: Dagster reads the types of a resource's fields.

from abc import ABC, abstractmethod
from pathlib import Path

from dagster import ConfigurableResource
from pydantic import Field

from fraud_mlops.warehouse.duckdb_engine import DuckDBWarehouse
from fraud_mlops.warehouse.engine import Warehouse
from fraud_mlops.warehouse.names import Tables


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
