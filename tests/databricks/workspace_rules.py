"""What the Jobs API refuses, in its own words where they are known."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from databricks.sdk.service.jobs import (  # noqa: TID253 -- the API's own shapes
    GitSource,
    JobEnvironment,
    JobSettings,
    SubmitTask,
    Task,
)

_MOST_PARAMETER_BYTES = 10_000
_REVISIONS = ("git_branch", "git_tag", "git_commit")
_PRINCIPALS = ("group_name", "user_name", "service_principal_name")
_COMPUTE = ("existing_cluster_id", "new_cluster", "job_cluster_key")


class ApiError(Exception):
    """status: of HTTP. code: the API's name of the error."""

    def __init__(
        self, status: int, code: str | int, message: str, retry_after: int | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message
        self.retry_after = retry_after


def invalid(message: str) -> ApiError:
    return ApiError(400, "INVALID_PARAMETER_VALUE", message)


def check_submission(body: Mapping[str, Any]) -> None:
    for task in body.get("tasks") or []:
        known(SubmitTask, task, f"task {task.get('task_key')}")
    _check(body)


def check_job(body: Mapping[str, Any]) -> None:
    if not body.get("name"):
        raise invalid("Job settings must have a name.")
    known(JobSettings, body, "job")
    for task in body.get("tasks") or []:
        known(Task, task, f"task {task.get('task_key')}")
    _check(body)


def known(kind: Any, given: Mapping[str, Any], what: str) -> None:
    """The real API passes over what it does not know; here a slip of the pen is told."""
    kept = kind.from_dict(dict(given)).as_dict()
    if lost := sorted(_paths(given) - _paths(kept)):
        raise invalid(f"{what}: unknown fields {', '.join(lost)}")


def check_bundle(bundle: Mapping[str, Any]) -> None:
    """What the Databricks CLI warns of, or takes for nothing: keys that it does not know. Jobs by
    the API's shapes, what stands around them by the documentation of bundles' settings."""
    only(bundle, "bundle", "variables", "resources", "targets", "include", "sync", "workspace")
    only(bundle["bundle"], "name", "databricks_cli_version", "git", "uuid")
    for about in bundle["variables"].values():
        only(about or {}, "description", "default", "type", "lookup")
    only(bundle["resources"], "jobs")
    for name, job in bundle["resources"]["jobs"].items():
        for permission in job.get("permissions", []):
            only(permission, "level", *_PRINCIPALS)
        told = json.dumps({k: v for k, v in job.items() if k != "permissions"})
        # The one variable in the place of a word of the API's.
        known(JobSettings, json.loads(told.replace("${var.schedules}", "PAUSED")), f"job {name}")
    for target in bundle["targets"].values():
        _check_target(target, bundle["variables"])


def _check_target(target: Mapping[str, Any], variables: Mapping[str, Any]) -> None:
    only(target, "mode", "default", "presets", "workspace", "run_as", "permissions", "variables")
    only(target.get("presets", {}), "name_prefix", "tags", "trigger_pause_status")
    only(target.get("workspace", {}), "host", "profile", "root_path")
    only(target.get("run_as", {}), "user_name", "service_principal_name")
    for permission in target.get("permissions", []):
        only(permission, "level", *_PRINCIPALS)
    only(target.get("variables", {}), *variables)


def only(given: Mapping[str, Any], *keys: str) -> None:
    if lost := sorted(set(given) - set(keys)):
        raise invalid(f"unknown keys {', '.join(lost)}")


def _paths(value: Any, at: str = "") -> set[str]:
    """Of all that is not empty."""
    if isinstance(value, Mapping):
        full = {k: v for k, v in value.items() if v not in (None, [], {})}
        return {path for k, v in full.items() for path in {f"{at}{k}", *_paths(v, f"{at}{k}.")}}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return {path for i, v in enumerate(value) for path in _paths(v, f"{at}{i}.")}
    return set()


def _check(body: Mapping[str, Any]) -> None:
    if not body.get("tasks"):
        raise invalid("At least one task must be specified.")
    git = body.get("git_source")
    if git is not None:
        _check_git(git)
    environments = body.get("environments") or []
    for environment in environments:
        _check_environment(environment)
    keys = [environment["environment_key"] for environment in environments]
    for task in body["tasks"]:
        _check_task(task, keys, has_git=git is not None)


def _check_git(git: Mapping[str, Any]) -> None:
    known(GitSource, git, "git_source")
    if not git.get("git_url") or not git.get("git_provider"):
        raise invalid("git_source must have git_url and git_provider.")
    if len([name for name in _REVISIONS if git.get(name)]) != 1:
        raise invalid("Exactly one of git_branch, git_tag or git_commit must be specified.")


def _check_environment(environment: Mapping[str, Any]) -> None:
    known(JobEnvironment, environment, "environment")
    spec = environment.get("spec") or {}
    if not spec.get("environment_version") and not spec.get("client"):
        raise invalid("An environment's spec must have environment_version.")


def _check_task(task: Mapping[str, Any], keys: Sequence[str], *, has_git: bool) -> None:
    key, python = task.get("task_key"), task.get("spark_python_task")
    if not key or python is None:
        raise invalid("A task must have a task_key, and here a spark_python_task.")
    if python.get("source", "GIT" if has_git else "WORKSPACE") == "GIT" and not has_git:
        raise invalid(f"Task {key}: git_source must be specified for a task with source GIT.")
    check_parameters(python.get("parameters") or [])
    if any(task.get(name) for name in _COMPUTE):
        return
    if task.get("libraries"):
        raise invalid(
            "Libraries field is not supported for serverless task, please specify libraries in "
            "environment."
        )
    if not task.get("environment_key"):
        raise invalid(f"A task environment can not be provided without environment_key: {key}.")
    if task["environment_key"] not in keys:
        raise invalid(f"Task {key}: environment key {task['environment_key']} is not defined.")


def check_parameters(parameters: Sequence[str]) -> None:
    if len(json.dumps(list(parameters))) > _MOST_PARAMETER_BYTES:
        raise invalid("The JSON representation of python_params cannot exceed 10,000 bytes.")
