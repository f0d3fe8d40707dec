"""Snowflake as dagster-snowflake's resource, with the parameters that the script has too."""

# No `from __future__ import annotations`: Dagster reads the types of a resource's fields.

from typing import Any

from dagster import EnvVar

from fraud_assets.warehouse_resource import WarehouseResource
from fraud_mlops.errors import SettingsError
from fraud_mlops.settings import settings
from fraud_mlops.warehouse.engine import Warehouse
from fraud_mlops.warehouse.options import SnowflakeOptions
from fraud_mlops.warehouse.snowflake_engine import SnowflakeWarehouse

try:
    from dagster_snowflake import SnowflakeResource
except ImportError:
    raise SettingsError(
        "SNOWFLAKE_ACCOUNT is set, and Snowflake's packages are not installed; "
        "pip install 'fraud-mlops[snowflake]'"
    ) from None


class SnowflakeWarehouseResource(SnowflakeResource, WarehouseResource):
    """dagster-snowflake's resource, which knows the table of metrics."""

    def open(self) -> Warehouse:
        options = SnowflakeOptions.of(settings())
        if options is None:
            raise SettingsError("SNOWFLAKE_ACCOUNT is no longer set; restart Dagster's code server")
        return SnowflakeWarehouse(options, self.get_connection)


def snowflake_warehouse(options: SnowflakeOptions) -> WarehouseResource:
    """Secrets are named, so that Dagster shows the variable and never what is in it."""
    secrets: dict[str, Any] = {}
    if options.private_key_path is not None:
        secrets["private_key_path"] = str(options.private_key_path)
        if options.private_key_passphrase is not None:
            secrets["private_key_password"] = EnvVar("SNOWFLAKE_PRIVATE_KEY_PASSPHRASE")
    else:
        secrets["password"] = EnvVar("SNOWFLAKE_PASSWORD")
    return SnowflakeWarehouseResource(
        **options.public(), **secrets, additional_snowflake_connection_args=options.further()
    )
