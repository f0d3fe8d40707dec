"""What a run on Databricks is made of.

Settings are the environment's where none are given, and checked all at once.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dagster_metaflow.backends.databricks_api import NoCredentialsError, Workspace
from dagster_metaflow.backends.databricks_git import (
    Source,
    provider_of,
    refuse_login,
    root_of,
    settled,
)
from dagster_metaflow.backends.databricks_records import ACCOUNT, NoAccountError, records_in
from dagster_metaflow.backends.databricks_requirements import as_package
from dagster_metaflow.backends.protocol import LaunchRequest, UsageError
from dagster_metaflow.backends.secret_names import of_variable
from dagster_metaflow.backends.travelling import SHARED, is_lost
from dagster_metaflow.stores import is_folder

TASK = "flow"
DEFAULT_KEY = "Default"
ENVIRONMENT_VERSION = "4"
MOST_PARAMETER_BYTES = 10_000
FORWARDED = (
    "METAFLOW_AZURE_STORAGE_BLOB_SERVICE_ENDPOINT", "METAFLOW_DATASTORE_SYSROOT_AZURE",
    "METAFLOW_DATASTORE_SYSROOT_S3", "METAFLOW_DEFAULT_METADATA", "METAFLOW_S3_ENDPOINT_URL",
    "METAFLOW_S3_SERVER_SIDE_ENCRYPTION", "METAFLOW_SERVICE_URL", "METAFLOW_USER", ACCOUNT, SHARED,
)  # fmt: skip
"""Variables of this process that a driver needs: no others go with a run unasked."""
_HOST = "DATABRICKS_HOST: the workspace's address, https://adb-....azuredatabricks.net"
_YES, _NO = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


@dataclass(frozen=True)
class Settings:
    """source: the code. serverless: else cluster_id, or new_cluster. scope: of secrets."""

    source: Source
    serverless: bool
    environment_key: str
    cluster_id: str | None
    scope: str | None


def read(given: Mapping[str, Any], environment: Mapping[str, str], store: str) -> Settings:
    """given: by the name of the backend's field; None is the environment's. environment: variables
    before those of this process. Raises UsageError that names all that is missing, LaunchError when
    what signs in is there and fails."""
    known = {**os.environ, **environment}

    def of(name: str) -> str | None:
        value = given.get(name)
        return str(value) if value is not None else known.get(f"DATABRICKS_{name.upper()}") or None

    url, branch, commit = of("git_url"), of("git_branch"), of("git_commit")
    provider = of("git_provider") or (provider_of(url) if url else None)
    serverless = yes_or_no("DATABRICKS_SERVERLESS", of("serverless") or "true")
    cluster = of("cluster_id")
    missing = list(_missing(known, url, provider, branch or commit))
    missing += _wrong_with(store, known, scope=of("secret_scope"))
    if not serverless and not cluster and not given.get("new_cluster"):
        missing.append("DATABRICKS_CLUSTER_ID: the cluster to run on, since it is not serverless")
    if missing:
        lines = "".join(f"\n  {line}" for line in missing)
        raise UsageError(f"to run on Databricks these are missing:{lines}")
    refuse_login(str(url))
    return Settings(
        source=Source(str(url), str(provider), None if commit else branch, commit),
        serverless=serverless,
        environment_key=of("serverless_environment_key") or DEFAULT_KEY,
        cluster_id=cluster,
        scope=of("secret_scope"),
    )


def yes_or_no(name: str, text: str) -> bool:
    """What a variable says. Raises UsageError for another word."""
    if text.lower() not in _YES + _NO:
        raise UsageError(f"{name}={text}: write true or false")
    return text.lower() in _YES


def _wrong_with(store: str, known: Mapping[str, str], scope: str | None) -> Iterator[str]:
    if is_lost(store, known):
        yield (
            "a store that Databricks and this machine reach, abfss://... or s3://... "
            f"(LAKEHOUSE_URI): {store} is a folder"
        )
        return
    if is_folder(store.lower()):
        return
    try:
        records_in(store, known)
    except NoAccountError as error:
        if scope is None:  # else it may stand there
            yield str(error)
    except ValueError as error:
        yield str(error)


def _missing(
    known: Mapping[str, str], url: str | None, provider: str | None, revision: str | None
) -> Iterator[str]:
    if not (known.get("DATABRICKS_HOST") and known.get("DATABRICKS_TOKEN")):
        # Whatever else signs in (a profile, az login, OIDC, ...) only the SDK knows.
        try:
            found = Workspace({k: v for k, v in known.items() if v}).client.config
        except NoCredentialsError as error:
            if not known.get("DATABRICKS_HOST"):
                yield _HOST
            yield (
                "DATABRICKS_TOKEN, or DATABRICKS_CLIENT_ID and DATABRICKS_CLIENT_SECRET, or "
                f"another way to sign in. {error}"
            )
        else:
            if not found.host:
                yield _HOST
    if not url:
        yield "DATABRICKS_GIT_URL: the repository that Databricks clones, https://..."
    elif not provider:
        yield (
            "DATABRICKS_GIT_PROVIDER: whose server that is: gitHub, gitHubEnterprise, gitLab, "
            "gitLabEnterpriseEdition, azureDevOpsServices, bitbucketCloud, bitbucketServer"
        )
    if not revision:
        yield "DATABRICKS_GIT_BRANCH, or DATABRICKS_GIT_COMMIT: what of it to run"


# -- what is run -------------------------------------------------------------------------------


def variables(environment: Mapping[str, str], forwarded: Sequence[str] = ()) -> dict[str, str]:
    """Of the run: those that the backend is given, and this process's that a run elsewhere wants.

    forwarded: names of more of the latter.

    Raises UsageError for what looks like a secret: the run's settings are read by many.
    """
    here = {name: os.environ[name] for name in FORWARDED if os.environ.get(name)}
    more = {name: os.environ[name] for name in forwarded if os.environ.get(name)}
    own = {k: v for k, v in environment.items() if not k.startswith(("DATABRICKS_", "ARM_"))}
    given = {**more, **own}
    if secret := sorted(name for name in given if of_variable(name)):
        raise UsageError(
            f"{', '.join(secret)}: would be readable in the run's settings. Put it into a secret "
            "scope (databricks secrets put-secret SCOPE NAME) and name that in "
            "DATABRICKS_SECRET_SCOPE."
        )
    return {**here, **given}


def refuse_long(arguments: Sequence[str]) -> None:
    """Raises UsageError when there is more than a run can take."""
    if len(json.dumps(list(arguments))) > MOST_PARAMETER_BYTES:
        raise UsageError(
            f"the run's parameters take more than {MOST_PARAMETER_BYTES:,} bytes, which Databricks "
            "refuses. Give long ones as a file in the repository or the store."
        )


def local_root(request: LaunchRequest, repository: str | None) -> Path:
    root = Path(repository).absolute() if repository else root_of(request.flow_file)
    if root is None:
        raise UsageError(
            f"{request.flow_file} is in no Git checkout; name its folder in `repository`"
        )
    return root


def flow_in(root: Path, request: LaunchRequest) -> str:
    try:
        return request.flow_file.resolve().relative_to(root.resolve()).as_posix()
    except ValueError:
        raise UsageError(f"{request.flow_file} is not in {root}, of which runs are made") from None


def submission(
    settings: Settings,
    *,
    name: str,
    token: str,
    entry: str,
    parameters: Sequence[str],
    dependencies: Sequence[str],
    new_cluster: Mapping[str, Any] | None,
    timeout_seconds: int | None,
) -> dict[str, Any]:
    """The body of `jobs/runs/submit`. dependencies: on serverless compute they are the
    environment's; a cluster gets them as libraries, and knows no options of pip's."""
    python = {"python_file": entry, "source": "GIT", "parameters": list(parameters)}
    task: dict[str, Any] = {"task_key": TASK, "spark_python_task": python}
    body: dict[str, Any] = {
        "run_name": name,
        "idempotency_token": token,
        "git_source": settings.source.as_dict(),
        "tasks": [task],
    }
    if timeout_seconds is not None:
        body["timeout_seconds"] = timeout_seconds
    if settings.serverless:
        spec = {"environment_version": ENVIRONMENT_VERSION, "dependencies": list(dependencies)}
        body["environments"] = [{"environment_key": settings.environment_key, "spec": spec}]
        task["environment_key"] = settings.environment_key
        # Else serverless compute tries a failed task again by itself, mistyped parameter or not.
        task["disable_auto_optimization"] = True
        return body
    if new_cluster:
        task["new_cluster"] = dict(new_cluster)
    else:
        task["existing_cluster_id"] = settings.cluster_id
    packages = [package for line in dependencies if (package := as_package(line))]
    task["libraries"] = [{"pypi": {"package": package}} for package in packages]
    return body


def with_commit(settings: Settings) -> Settings:
    return replace(settings, source=settled(settings.source))
