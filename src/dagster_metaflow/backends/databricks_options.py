"""Settings of the backend `databricks`, as Dagster shows them."""

from __future__ import annotations

from typing import Any

from dagster import Config
from pydantic import ConfigDict, Field


class DatabricksOptions(Config):
    """What is left out here is taken from the variable that is named. Who signs in is
    databricks-sdk's affair: its variables and profiles."""

    model_config = ConfigDict(extra="forbid")

    git_url: str | None = Field(default=None, description="Repository; DATABRICKS_GIT_URL.")
    git_branch: str | None = Field(
        default=None, description="Branch to run the head of; DATABRICKS_GIT_BRANCH."
    )
    git_commit: str | None = Field(
        default=None, description="Commit to run, before the branch; DATABRICKS_GIT_COMMIT."
    )
    git_provider: str | None = Field(
        default=None, description="`gitHub`, ...; DATABRICKS_GIT_PROVIDER, else by the address."
    )
    repository: str | None = Field(
        default=None,
        description="Folder of this machine's checkout of it; the one that the flow is in.",
    )
    entry: str = Field(
        default="scripts/databricks_entry.py",
        description="Python file in the repository that Databricks runs.",
    )
    requirements: list[str] = Field(
        default=["requirements.txt"],
        description="Files in the repository with what is installed before the run.",
    )
    dependencies: list[str] = Field(
        default=[], description="Further lines for pip: packages, or options such as an index."
    )
    serverless: bool | None = Field(
        default=None, description="Serverless compute; DATABRICKS_SERVERLESS, else true."
    )
    serverless_environment_key: str | None = Field(
        default=None,
        description="Key of its environment; DATABRICKS_SERVERLESS_ENVIRONMENT_KEY, else Default.",
    )
    cluster_id: str | None = Field(
        default=None, description="Cluster, when not serverless; DATABRICKS_CLUSTER_ID."
    )
    new_cluster: dict[str, Any] | None = Field(
        default=None, description="Or a cluster for each run, as the Jobs API describes one."
    )
    secret_scope: str | None = Field(
        default=None,
        description="Scope whose secrets are variables of the flow; DATABRICKS_SECRET_SCOPE.",
    )
    environment: dict[str, str] = Field(
        default={},
        description="Variables of the runs, none of them secret; DATABRICKS_ ones sign in here.",
    )
    forwarded: list[str] = Field(
        default=[],
        description="Variables of this process that runs have too, where they are set here.",
    )
    store: str | None = Field(
        default=None,
        description="Where drivers leave their log and records; the ledger's root by default.",
    )
    max_workers: int | None = Field(
        default=None,
        gt=0,
        description="Tasks of one run at a time; Metaflow's default when left out.",
    )
    options: list[str] = Field(
        default=[], description="Options before `run`, such as `--with=retry`."
    )
    timeout_seconds: int = Field(
        default=86_400, gt=0, description="After which Databricks ends a run; a day by default."
    )
    look_seconds: float = Field(
        default=2.0, gt=0, description="Time between two looks at a run while something happens."
    )
    most_look_seconds: float = Field(
        default=15.0, gt=0, description="Time between two looks while nothing happens."
    )
    patience_seconds: float = Field(
        default=900.0, ge=0, description="Time for which nobody may answer before a run is left."
    )
