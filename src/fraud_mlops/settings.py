"""Every environment variable the project reads, in one place.

docs/settings.md shows the same table; a test holds the two together.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from fraud_mlops.errors import SettingsError
from fraud_mlops.fields import Duration, FirstDay
from fraud_mlops.machine import cores, for_duckdb

_SECRET = re.compile("TOKEN|KEY|CONNECTION_STRING|PASSWORD|PASSPHRASE")

TRAVELLING = (
    "FRAUD_PREDICTION_DAYS",
    "FRAUD_SPARK_ROWS",
    "FRAUD_STORE_RETRIES",
    "FRAUD_STORE_TIMEOUT",
    "SHARED_FOLDERS",
    "AZURE_STORAGE_ACCOUNT_NAME",
)
"""Variables that go with a shell's runs to tasks on other machines; none is a secret, and none says
how big this machine is."""


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
    shared_folders: str | None = Field(
        None,
        alias="SHARED_FOLDERS",
        description="Folders, with `:` between, that this machine and those of tasks have mounted "
        "alike, such as EFS: a lakehouse in one is not refused on AWS Batch and Databricks.",
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
    first_partition: FirstDay | None = Field(
        None,
        alias="FRAUD_FIRST_PARTITION",
        description="Where Dagster's partitions of claims in files begin, at the latest with a "
        "training window of dates; goes before the contract's `first_partition`.",
    )
    backend: str = Field(
        "local",
        alias="FRAUD_BACKEND",
        pattern=r"^(local|batch|step_functions|databricks)$",
        description="Where Dagster runs flows, those of schedules and sensors too: `local`, "
        "`batch`, `step_functions`, `databricks`. The tag `dagster_metaflow/backend` of a run goes "
        "before it.",
    )
    step_functions_options: str | None = Field(
        None,
        alias="FRAUD_STEP_FUNCTIONS_OPTIONS",
        description="Options of `step-functions create` when Dagster deploys, divided by spaces: "
        "`--max-workers=40 --workflow-timeout=86400`.",
    )
    cards_url: str | None = Field(
        None,
        alias="FRAUD_CARDS_URL",
        pattern=r"^https?://[^\s?#@]+$",
        description="Address under which browsers find `<LAKEHOUSE_URI>/_reports`, where somebody "
        "serves it: Dagster links to cards there. `make ui` does so on this machine.",
    )
    retrain_cool_down: Duration = Field(
        "14d",
        alias="FRAUD_RETRAIN_COOL_DOWN",
        validate_default=True,
        description="Least time between a training and one that drift or decay asks for.",
    )
    scoring_cron: str | None = Field(
        None,
        alias="FRAUD_SCORING_CRON",
        description="When AWS starts the scoring flow by itself, six fields as EventBridge takes "
        "them, UTC: `0 5 * * ? *`. Read when the flow is deployed; unset, nothing is scheduled.",
    )
    threads: int = Field(
        default_factory=cores,
        alias="FRAUD_THREADS",
        ge=1,
        description="CPU threads the project may use on this machine; when unset, all that the "
        "process or its container may.",
    )
    memory_limit: str = Field(
        default_factory=for_duckdb,
        alias="FRAUD_MEMORY_LIMIT",
        pattern=r"^\d+(\.\d+)?\s?[KMGT]i?B$",
        description="Memory DuckDB may use before it spills to disk, such as `2GB`; when unset, "
        "4 GB, or half of what the machine or the container has where that is less.",
    )
    spark_rows: int = Field(
        20_000_000,
        alias="FRAUD_SPARK_ROWS",
        ge=0,
        description="Claims from which on `--engine auto` takes Spark, where PySpark is installed.",
    )
    spark_master: str | None = Field(
        None,
        alias="FRAUD_SPARK_MASTER",
        description="Where Spark runs: `local[4]`, `spark://...`, `sc://...`. Unset: Databricks' "
        "session there, `SPARK_REMOTE` where it is set, else this machine.",
    )
    device: str = Field(
        "auto",
        alias="FRAUD_DEVICE",
        pattern=r"^(auto|cpu|cuda(:\d+)?|mps)$",
        description="Where networks are trained: auto (a GPU when there is one), cpu, cuda, "
        "cuda:1, mps.",
    )
    azure_storage_account_name: str | None = Field(
        None,
        alias="AZURE_STORAGE_ACCOUNT_NAME",
        description="Account of an `abfss://` lakehouse, where its address names none.",
    )
    azure_storage_connection_string: SecretStr | None = Field(
        None,
        alias="AZURE_STORAGE_CONNECTION_STRING",
        description="Connection string of that account; goes before the two below.",
    )
    azure_storage_account_key: SecretStr | None = Field(
        None,
        alias="AZURE_STORAGE_ACCOUNT_KEY",
        description="Key of that account; goes before a shared access signature.",
    )
    azure_storage_sas_token: SecretStr | None = Field(
        None,
        alias="AZURE_STORAGE_SAS_TOKEN",
        description="Shared access signature for that account.",
    )
    store_retries: int = Field(
        5,
        alias="FRAUD_STORE_RETRIES",
        ge=0,
        le=20,
        description="How often a request to ADLS or S3, or a sync with Snowflake, that failed on "
        "the way is tried again.",
    )
    store_timeout: float = Field(
        60.0,
        alias="FRAUD_STORE_TIMEOUT",
        gt=0,
        description="Seconds without a byte from ADLS or S3 after which a request has failed.",
    )
    warehouse_path: Path | None = Field(
        None,
        alias="FRAUD_WAREHOUSE_PATH",
        description="DuckDB file that metrics go into without Snowflake, in a folder that is "
        "there; `warehouse.duckdb` in the lakehouse when unset, or in the working folder when the "
        "lakehouse is not on this machine.",
    )
    snowflake_account: str | None = Field(
        None,
        alias="SNOWFLAKE_ACCOUNT",
        description="Account identifier, `myorg-account`. Metrics go to Snowflake when it is set.",
    )
    snowflake_user: str | None = Field(
        None, alias="SNOWFLAKE_USER", description="User that the sync logs in as."
    )
    snowflake_password: SecretStr | None = Field(
        None, alias="SNOWFLAKE_PASSWORD", description="Its password, where there is no key pair."
    )
    snowflake_private_key_path: Path | None = Field(
        None,
        alias="SNOWFLAKE_PRIVATE_KEY_PATH",
        description="Its private key, a PEM file in PKCS 8; goes before the password.",
    )
    snowflake_private_key_passphrase: SecretStr | None = Field(
        None,
        alias="SNOWFLAKE_PRIVATE_KEY_PASSPHRASE",
        description="Passphrase of that key, if it has one.",
    )
    snowflake_warehouse: str | None = Field(
        None, alias="SNOWFLAKE_WAREHOUSE", description="Virtual warehouse that computes."
    )
    snowflake_database: str | None = Field(
        None, alias="SNOWFLAKE_DATABASE", description="Database of the table."
    )
    snowflake_schema: str | None = Field(
        None, alias="SNOWFLAKE_SCHEMA", description="Schema of the table."
    )
    snowflake_table: str = Field(
        "FRAUD_MODEL_METRICS",
        alias="SNOWFLAKE_TABLE",
        description="Table of metrics; the DuckDB file has it under this name too.",
    )
    snowflake_role: str | None = Field(
        None,
        alias="SNOWFLAKE_ROLE",
        description="Role of the session; the user's default when unset.",
    )
    snowflake_reader_role: str | None = Field(
        None,
        alias="SNOWFLAKE_READER_ROLE",
        description="Role that reads the views for BI, as `--print-schema` makes it; "
        "`FRAUD_BI_READER` when unset. One for each environment.",
    )
    snowflake_host: str | None = Field(
        None,
        alias="SNOWFLAKE_HOST",
        description="Host of another endpoint, such as a private link; by account when unset.",
    )
    snowflake_port: int | None = Field(
        None, alias="SNOWFLAKE_PORT", ge=1, le=65535, description="Its port; 443 when unset."
    )
    snowflake_protocol: str | None = Field(
        None,
        alias="SNOWFLAKE_PROTOCOL",
        pattern=r"^https?$",
        description="`https` when unset; `http` for a server on this machine only.",
    )
    prediction_days: int = Field(
        400,
        alias="FRAUD_PREDICTION_DAYS",
        ge=1,
        description="Days that the API's predictions are kept; older ones are removed when claims "
        "are scored and measured.",
    )
    notify_urls: SecretStr | None = Field(
        None,
        alias="FRAUD_NOTIFY_URLS",
        description="Where alerts go, as apprise writes addresses: Slack, Teams, e-mail, webhooks; "
        "several divided by spaces. Unset, they stand in the log and in the lakehouse only.",
    )
    notify_repeat: Duration = Field(
        "6h",
        alias="FRAUD_NOTIFY_REPEAT",
        validate_default=True,
        description="After which a problem is told again that still stands, or a run that fails "
        "again.",
    )
    notify_per_hour: int = Field(
        20,
        alias="FRAUD_NOTIFY_PER_HOUR",
        ge=1,
        description="Most messages within an hour, of bad news and of good; the next one says how "
        "many were held back.",
    )
    notify_timeout: float = Field(
        20.0,
        alias="FRAUD_NOTIFY_TIMEOUT",
        gt=0,
        description="Seconds that a message may take, all attempts together.",
    )
    notify_state: Path | None = Field(
        None,
        alias="FRAUD_NOTIFY_STATE",
        description="File that keeps what was told already; `fraud-mlops/notifications.json` in "
        "`~/.local/state` when unset.",
    )
    changed_by: str | None = Field(
        None,
        alias="FRAUD_CHANGED_BY",
        description="Who changed the code last, for messages about failures; the image sets it. "
        "Unset, Git is asked.",
    )


def variable(field: str) -> str:
    """The environment variable of a setting, for those who tell a person of it."""
    return str(Settings.model_fields[field].alias)


@lru_cache(maxsize=1)
def settings() -> Settings:
    """The process's settings; SettingsError names every wrong variable at once."""
    try:
        return Settings()
    except ValidationError as error:
        wrong = "\n".join(
            f"  {name}={'' if _SECRET.search(name) else e['input']!r}: {e['msg']}"
            for e in error.errors(include_url=False)
            for name in [str(e["loc"][0])]
        )
        raise SettingsError(f"environment variables are wrong:\n{wrong}") from None
