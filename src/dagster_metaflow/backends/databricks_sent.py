"""What a run of a bundle's job is given, in the place of the job's own parameters."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from dagster_metaflow.backends import databricks_settings as settings
from dagster_metaflow.backends.databricks import DatabricksBackend
from dagster_metaflow.backends.databricks_driver import OWN_NUMBER, place_by
from dagster_metaflow.backends.databricks_refused import refuse_credentials, refuse_folders
from dagster_metaflow.backends.protocol import UsageError


def sent(
    backend: DatabricksBackend, job: Mapping[str, Any], more: Mapping[str, str]
) -> tuple[list[str], str]:
    """Variables as a one-time run has them, the job's parameters, which go before, and more, which
    goes before both; and where the run leaves word.

    The run's number is known only in a job's own parameters: a name does as well, and by it the run
    is found where it is not known whether it was started.

    Raises UsageError for a job that is none of one flow, and for what no run is given.
    """
    token = f"shell-{secrets.token_hex(6)}"
    own = [text.replace(OWN_NUMBER, token) for text in _parameters(job)]
    if odd := [text.partition("=")[0] for text in own if "{{" in text]:
        raise UsageError(
            f"{', '.join(odd)} of {job['name']}: of the values that Databricks puts in, only "
            f"{OWN_NUMBER} can be had from here. Run the job in the workspace"
        )
    variables = settings.variables(backend.environment, backend.forwarded)
    given = [
        *[f"--variable={name}={value}" for name, value in sorted(variables.items())],
        *own,
        *[f"--{option}={value}" for option, value in more.items()],
    ]
    refuse_credentials(given)
    refuse_folders(given, backend.environment)
    settings.refuse_long(given)
    try:
        return given, place_by(given, token)
    except ValueError:
        raise UsageError(
            f"{job['name']} is no job of a Metaflow flow: it lacks --flow, --store or --token"
        ) from None


def _parameters(job: Mapping[str, Any]) -> list[str]:
    tasks = job["tasks"]
    if len(tasks) != 1:
        raise UsageError(f"{job['name']} has {len(tasks)} tasks, and runs from here have one")
    return [str(text) for text in tasks[0]["spark_python_task"].get("parameters") or []]
