"""Where the zones and the models are: one resource for checks, sensors and flows."""

from __future__ import annotations

from dagster import ConfigurableResource
from pydantic import Field

from fraud_mlops.lakehouse.partitions import Lakehouse
from fraud_mlops.lakehouse.stores import absolute, models_root
from fraud_mlops.settings import settings


class Stores(ConfigurableResource):  # type: ignore[type-arg]
    """The lakehouse and the model registry. Credentials come from the environment."""

    lakehouse_uri: str = Field(
        description="Root of the lakehouse zones: a folder, `abfss://...` or `s3://...`."
    )
    model_uri: str | None = Field(
        default=None, description="Root of the model registry; `models` in the lakehouse if unset."
    )

    @classmethod
    def of_settings(cls) -> Stores:
        given = settings()
        for uri in filter(None, (given.lakehouse_uri, given.model_uri)):
            absolute(uri)  # refuses what must not be shown: Dagster shows its resources
        return cls(lakehouse_uri=given.lakehouse_uri, model_uri=given.model_uri)

    @property
    def root(self) -> str:
        """Absolute: runs may start in another folder than this process."""
        return absolute(self.lakehouse_uri)

    @property
    def lakehouse(self) -> Lakehouse:
        return Lakehouse(self.root)

    @property
    def models(self) -> str:
        """Root of the registry, absolute."""
        return models_root(self.root, self.model_uri)
