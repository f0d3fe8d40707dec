"""Every environment variable the project reads, in one place.

docs/settings.md shows the same table; a test holds the two together.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from fraud_mlops.errors import SettingsError
from fraud_mlops.fields import Duration, Instant


class Settings(BaseSettings):
    """Defaults work with no account and no variable set."""

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore")

    lakehouse_uri: str = Field(
        "lakehouse",
        alias="LAKEHOUSE_URI",
        description="Root of the lakehouse zones: a folder, `abfss://...` or `s3://...`.",
    )
    model_uri: str | None = Field(
        None,
        alias="FRAUD_MODEL_URI",
        description="Root of the model registry; `<LAKEHOUSE_URI>/models` when unset.",
    )
    datasets_dir: Path | None = Field(
        None,
        alias="FRAUD_DATASETS_DIR",
        description="Folder of dataset contracts that is looked up before ./datasets.",
    )
    datasets: str = Field(
        "synthetic_claims",
        alias="FRAUD_DATASETS",
        description="Contracts that Dagster shows, by name or path, separated by commas.",
    )
    first_partition: Instant = Field(
        "2020-01-01",
        alias="FRAUD_FIRST_PARTITION",
        validate_default=True,
        description="Where Dagster's partitions begin for contracts that give no dates.",
    )
    retrain_cool_down: Duration = Field(
        "14d",
        alias="FRAUD_RETRAIN_COOL_DOWN",
        validate_default=True,
        description="Least time between a training and one that drift or decay asks for.",
    )
    threads: int = Field(
        default_factory=lambda: (
            len(os.sched_getaffinity(0))
            if hasattr(os, "sched_getaffinity")
            else os.cpu_count() or 1
        ),
        alias="FRAUD_THREADS",
        ge=1,
        description="CPU threads the project may use on this machine; all cores when unset.",
    )
    memory_limit: str = Field(
        "4GB",
        alias="FRAUD_MEMORY_LIMIT",
        pattern=r"^\d+(\.\d+)?\s?[KMGT]i?B$",
        description="Memory DuckDB may use before it spills to disk.",
    )
    device: str = Field(
        "auto",
        alias="FRAUD_DEVICE",
        pattern=r"^(auto|cpu|cuda(:\d+)?|mps)$",
        description="Where networks run: auto (a GPU when there is one), cpu, cuda, cuda:1, mps.",
    )
    azure_storage_account_name: str | None = Field(
        None,
        alias="AZURE_STORAGE_ACCOUNT_NAME",
        description="Account of an `abfss://` lakehouse.",
    )
    azure_storage_sas_token: SecretStr | None = Field(
        None,
        alias="AZURE_STORAGE_SAS_TOKEN",
        description="Shared access signature for that account.",
    )


@lru_cache(maxsize=1)
def settings() -> Settings:
    """The process's settings; SettingsError names every wrong variable at once."""
    try:
        return Settings()
    except ValidationError as error:
        wrong = "\n".join(
            f"  {e['loc'][0]}={'' if 'TOKEN' in str(e['loc'][0]) else e['input']!r}: {e['msg']}"
            for e in error.errors(include_url=False)
        )
        raise SettingsError(f"environment variables are wrong:\n{wrong}") from None
