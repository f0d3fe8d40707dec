"""A Databricks workspace as the backend calls it: signed in, retried, and failures in words.

Signing in is databricks-sdk's unified authentication: a token, OAuth of a service principal,
Microsoft Entra, a profile, or whatever else it finds. The SDK makes throttled (429, 503) and broken
calls again itself; calls that can be made twice are made again here when the workspace fails.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

from dagster_metaflow.backends.protocol import LaunchError

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient
    from databricks.sdk.service.jobs import JobSettings, Run, RunOutput, RunTask

T = TypeVar("T")
SIGN_IN = (
    "DATABRICKS_HOST", "DATABRICKS_TOKEN", "DATABRICKS_CLIENT_ID", "DATABRICKS_CLIENT_SECRET",
    "DATABRICKS_CONFIG_PROFILE", "ARM_TENANT_ID", "ARM_CLIENT_ID", "ARM_CLIENT_SECRET",
)  # fmt: skip
_ARGUMENTS = (
    "host", "token", "client_id", "client_secret",
    "profile", "azure_tenant_id", "azure_client_id", "azure_client_secret",
)  # fmt: skip
_HTTP_SECONDS = 20
_RETRY_SECONDS = 60
_TRIES = 4
_PAUSE_SECONDS = 0.5
_ONE_TRY_SECONDS = 1  # less than the SDK's pause before it tries again
_NOTHING_FOUND = "cannot configure default credentials"  # in the SDK's words
# Of a 403, and of a 400, that is about who asks and not about what is asked.
_BAD_TOKEN = re.compile(r"invalid (access )?token|token (is|has|was)? ?expir", re.IGNORECASE)
_MADE = Lock()


class NoCredentialsError(LaunchError):
    """There is nothing that signs in: no token, no profile, nothing else."""


class Workspace:
    """environment: variables before those of this process."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        known = {**os.environ, **environment}
        self._settings = tuple(known.get(name) for name in SIGN_IN)

    @property
    def client(self) -> WorkspaceClient:
        with _MADE:
            return _client(self._settings, _RETRY_SECONDS)

    def sign_in_anew(self) -> None:
        """Credentials that have expired are read again, where they come from, at the next call."""
        with _MADE:
            _client.cache_clear()

    # -- calls ---------------------------------------------------------------------------------

    def submit(self, body: Mapping[str, Any]) -> int:
        """Starts a one-time run; the same one for the same idempotency token."""
        from databricks.sdk.service.jobs import GitSource, JobEnvironment, QueueSettings, SubmitTask

        environments = [JobEnvironment.from_dict(e) for e in body.get("environments", [])]
        made = _again(
            lambda: self.client.jobs.submit(
                run_name=body["run_name"],
                idempotency_token=body["idempotency_token"],
                tasks=[SubmitTask.from_dict(task) for task in body["tasks"]],
                environments=environments or None,
                git_source=GitSource.from_dict(body["git_source"]),
                timeout_seconds=body.get("timeout_seconds"),
                queue=QueueSettings(enabled=True),
            )
        )
        return int(made.bind()["run_id"])

    def run(self, run_id: int, *, history: bool = False) -> Run:
        return _again(lambda: self.client.jobs.get_run(run_id, include_history=history))

    def output(self, task: RunTask) -> RunOutput:
        return _again(lambda: self.client.jobs.get_run_output(int(task.run_id or 0)))

    def cancel(self, run_id: int) -> None:
        """Asked for; comes back before the run has ended."""
        _again(lambda: self.client.jobs.cancel_run(run_id))

    def repair(
        self, run_id: int, latest_repair: int | None, parameters: Sequence[str] | None
    ) -> None:
        """Runs the failed tasks of a run again. Raises what the SDK raises when it is refused;
        `databricks_repair` has what is to be heeded."""
        self.client.jobs.repair_run(
            run_id,
            rerun_all_failed_tasks=True,
            latest_repair_id=latest_repair,
            python_params=list(parameters) if parameters is not None else None,
        )

    def run_now(self, job: int, parameters: Sequence[str] | None, token: str) -> int:
        """A run of a job; the same one for the same token. parameters: in the place of its own."""
        made = _again(
            lambda: self.client.jobs.run_now(
                job,
                idempotency_token=token,
                python_params=list(parameters) if parameters is not None else None,
            )
        )
        return int(made.bind()["run_id"])

    def job(self, job: int) -> JobSettings | None:
        return _again(lambda: self.client.jobs.get(job)).settings

    def jobs_named(self, name: str) -> list[int]:
        """The oldest first."""

        def look() -> list[int]:
            found = self.client.jobs.list(name=name)
            return [at for _, at in sorted((j.created_time or 0, j.job_id or 0) for j in found)]

        return _again(look)

    def create_job(self, settings: Mapping[str, Any]) -> int:
        """Its number. The call knows no token, and the SDK would make it again when an answer is
        lost: so it is made once, and before it is made again the job is looked for by its name."""
        import requests
        from databricks.sdk.errors import InternalError, TemporarilyUnavailable

        lost = (InternalError, TemporarilyUnavailable, requests.RequestException, TimeoutError)
        with _MADE:
            once = _client(self._settings, _ONE_TRY_SECONDS)

        def make() -> int:
            made = once.api_client.do("POST", "/api/2.2/jobs/create", body=dict(settings))
            return int(dict(made)["job_id"])

        for number in range(1, _TRIES):
            try:
                return make()
            except lost:
                time.sleep(_PAUSE_SECONDS * 2**number)
            if found := self.jobs_named(str(settings["name"])):
                return found[0]
        return make()

    def delete_job(self, job: int) -> None:
        self.client.jobs.delete(job)

    def reset_job(self, job: int, settings: Mapping[str, Any]) -> None:
        body = {"job_id": job, "new_settings": dict(settings)}
        _again(lambda: self.client.api_client.do("POST", "/api/2.2/jobs/reset", body=body))

    def find_run(self, name: str, since: datetime) -> int | None:
        """A one-time run by its name, which is its own."""
        from databricks.sdk.service.jobs import RunType

        def look() -> int | None:
            runs = self.client.jobs.list_runs(
                run_type=RunType.SUBMIT_RUN, start_time_from=int(since.timestamp() * 1000)
            )
            return next((run.run_id for run in runs if run.run_name == name), None)

        return _again(look)

    def find_run_of(self, job: int, parameters: Sequence[str], since: datetime) -> int | None:
        """A run of a job by the parameters that it was given, which no other has."""

        def look() -> int | None:
            runs = self.client.jobs.list_runs(
                job_id=job, start_time_from=int(since.timestamp() * 1000)
            )
            given = ((run, run.overriding_parameters) for run in runs)
            known = ((run.run_id, own.python_params) for run, own in given if own)
            return next((number for number, own in known if own == list(parameters)), None)

        return _again(look)


@lru_cache(maxsize=16)
def _client(settings: tuple[str | None, ...], retry_seconds: int) -> WorkspaceClient:
    try:
        from databricks.sdk import WorkspaceClient
        from databricks.sdk.core import Config
    except ImportError:
        raise LaunchError(
            "the backend databricks needs databricks-sdk: pip install 'fraud-mlops[databricks]'"
        ) from None
    named = zip(_ARGUMENTS, settings, strict=True)
    given: dict[str, Any] = {name: value for name, value in named if value}
    given |= {"http_timeout_seconds": _HTTP_SECONDS, "retry_timeout_seconds": retry_seconds}
    try:
        config = Config(product="dagster-metaflow", product_version="1.0.0", **given)
        return WorkspaceClient(config=config)
    except ValueError as error:  # what the SDK raises for all that signing in fails of
        told = f"Databricks cannot be signed in to: {first_line(error)}"
        if _NOTHING_FOUND in str(error):
            raise NoCredentialsError(
                f"{told} Set DATABRICKS_HOST, and DATABRICKS_TOKEN or DATABRICKS_CLIENT_ID and "
                "DATABRICKS_CLIENT_SECRET (or sign in with `databricks auth login`)."
            ) from None
        host = given.get("host") or "the workspace"
        raise LaunchError(
            f"{told} Does {host} answer from here, and are DATABRICKS_HOST and what signs in (a "
            "service principal's id and secret, a profile) right?"
        ) from None


def _again(call: Callable[[], T]) -> T:
    """For calls that do the same when they are made twice."""
    from databricks.sdk.errors import InternalError, TemporarilyUnavailable

    for number in range(1, _TRIES):
        try:
            return call()
        except (InternalError, TemporarilyUnavailable):
            time.sleep(_PAUSE_SECONDS * 2**number)
    return call()


# -- failures ----------------------------------------------------------------------------------


def failures() -> tuple[type[Exception], ...]:
    """All that a call of the SDK can raise for what is no mistake of ours."""
    import requests
    from databricks.sdk.errors.base import DatabricksError

    # OSError: its time was up. ValueError: signing in failed, as with a secret that has expired.
    return DatabricksError, requests.RequestException, OSError, ValueError


def is_signed_out(error: Exception) -> bool:
    """A token that has expired or is wrong: told by 401, or by 403 like a permission that lacks."""
    from databricks.sdk.errors import BadRequest, PermissionDenied, Unauthenticated

    if isinstance(error, BadRequest | PermissionDenied):
        return bool(_BAD_TOKEN.search(str(error)))
    return isinstance(error, Unauthenticated) or type(error) is ValueError


def is_lasting(error: Exception) -> bool:
    """Whether asking again cannot help: the call itself is refused."""
    from databricks.sdk.errors import BadRequest, NotFound, PermissionDenied

    refused = isinstance(error, BadRequest | NotFound | PermissionDenied)
    return refused and not is_signed_out(error)


def explained(error: Exception, doing: str) -> LaunchError:
    """In words, with what to do next."""
    from databricks.sdk.errors import BadRequest, NotFound, PermissionDenied

    if isinstance(error, LaunchError):
        return error
    if is_signed_out(error):
        advice = "Sign in again: a fresh DATABRICKS_TOKEN, or the service principal's secret."
    elif isinstance(error, PermissionDenied):
        advice = "Give the caller the permission, or let somebody run it who has it."
    elif isinstance(error, NotFound):
        advice = "Is it the right workspace (DATABRICKS_HOST)?"
    elif isinstance(error, BadRequest):
        advice = "Correct what is named; docs/databricks.md lists the settings."
    else:
        advice = "Is the network there, and DATABRICKS_HOST right? Then try again."
    return LaunchError(f"Databricks refused {doing}: {first_line(error)} {advice}")


@contextmanager
def said(doing: str) -> Iterator[None]:
    """A failure of the workspace as a LaunchError. doing: what was being done."""
    try:
        yield
    except LaunchError:
        raise
    except failures() as error:
        raise explained(error, doing) from None


def first_line(error: Exception) -> str:
    """Without the SDK's dump of its configuration."""
    text = str(error).strip().partition("\n")[0].partition(". Config:")[0].rstrip(".")
    return f"{text or type(error).__name__}."


def moment(milliseconds: int | None) -> datetime | None:
    return datetime.fromtimestamp(milliseconds / 1000, UTC) if milliseconds else None
