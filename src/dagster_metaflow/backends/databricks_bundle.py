"""A job of a bundle's `databricks.yml`, as the Jobs API takes it, with its code from Git.

What the Databricks CLI does when it deploys a bundle, for one job and without an upload: variables
are resolved for a target, requirements files become lines, and the task's file comes from Git.

Such a job is another than the one that the CLI deploys: it has a name and a tag of its own, and no
schedule runs it. What does not bear the tag is not touched.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagster_metaflow.backends.databricks_api import failures
from dagster_metaflow.backends.databricks_bundle_file import (
    check_job,
    load,
    part_of,
    resolved,
    values_in,
)
from dagster_metaflow.backends.protocol import LaunchError, UsageError

if TYPE_CHECKING:
    from databricks.sdk.service.jobs import JobSettings

    from dagster_metaflow.backends.databricks_api import Workspace

_FILE = re.compile(r"-r\s+(.+)")
_NOT_A_JOBS = ("permissions", "lifecycle")
_OF_TARGETS = {
    "mode", "default", "presets", "workspace", "run_as", "permissions", "variables",
}  # fmt: skip
_OF_PRESETS = {"name_prefix", "tags"}
_LEVELS = {"CAN_RUN": "CAN_MANAGE_RUN"}  # of a bundle, as the CLI has them of a job
_SCHEDULES = ("schedule", "trigger", "continuous")
MARK = "dagster_metaflow"
"""Tag of the jobs that are made here."""


def job_settings(
    file: Path,
    key: str,
    target: str,
    *,
    variables: Mapping[str, str],
    git_source: Mapping[str, str],
    requirements: Callable[[str], Sequence[str]],
) -> dict[str, Any]:
    """variables: before the file's own. requirements: lines of a file in the repository.

    Raises UsageError that names what is not there, has no value, or is not done here.
    """
    bundle = load(file)
    of_target = part_of(bundle, file, "target", target)
    _require_known(file, target, of_target)
    values = values_in(bundle, target, of_target, variables, file)
    job = resolved(deepcopy(part_of(bundle, file, "job", key)), values, file)
    check_job(job, file, key)
    for environment in job.get("environments") or []:
        spec = environment["spec"]
        spec["dependencies"] = _lines(spec.get("dependencies") or [], requirements)
    for task in job["tasks"]:
        task["spark_python_task"]["source"] = "GIT"
    job["git_source"] = dict(git_source)
    job["name"] = f"[git {target}] {job.get('name', key)}"
    tags = (of_target.get("presets") or {}).get("tags") or {}
    job["tags"] = {**tags, **(job.get("tags") or {}), MARK: "git"}
    if run_as := of_target.get("run_as") or bundle.get("run_as"):
        job["run_as"] = resolved(run_as, values, file)
    for name in _SCHEDULES:
        if job.get(name):
            job[name]["pause_status"] = "PAUSED"
    everywhere = [*(bundle.get("permissions") or []), *(of_target.get("permissions") or [])]
    permissions = _permissions(
        job.pop("permissions", None) or [], resolved(everywhere, values, file)
    )
    job |= {"access_control_list": permissions} if permissions else {}
    return {k: v for k, v in job.items() if k not in _NOT_A_JOBS and v is not None}


def put_job(workspace: Workspace, settings: Mapping[str, Any]) -> tuple[int, str]:
    """Makes the job of that name, or sets it to these settings: its number, and what was done.

    Who may do what with a job that is there already is left as it is. Of several that were made
    from here, as by two that began at once, it is the oldest. Raises LaunchError for a job of that
    name that somebody else has made, such as the CLI.
    """
    name = str(settings["name"])
    made, found = None, workspace.jobs_named(name)
    if not found:
        made = workspace.create_job(settings)
        found = workspace.jobs_named(name) or [made]
    before = {number: _there(workspace, number) for number in found}
    if (ours := next((number for number in found if _is_ours(before[number])), None)) is None:
        numbers = ", ".join(map(str, found))
        raise LaunchError(
            f"job {numbers}, {name!r}, was not made from here (it lacks the tag {MARK}, or a "
            "bundle has deployed it), and is left as it is. Rename it, or run it in the workspace"
        )
    if made == ours:
        return ours, "created"
    if made is not None:  # another's came first; where this one is left, it is passed over
        with suppress(*failures()):
            workspace.delete_job(made)
    wanted = {k: v for k, v in settings.items() if k != "access_control_list"}
    workspace.reset_job(ours, wanted)
    # Compared as the workspace tells it, with all that it was not set to filled in.
    return ours, "as it was" if workspace.job(ours) == before[ours] else "updated"


def _there(workspace: Workspace, number: int) -> JobSettings | None:
    """None when it has been removed since it was listed, by whoever made it second."""
    from databricks.sdk.errors import NotFound

    try:
        return workspace.job(number)
    except NotFound:
        return None


def _is_ours(job: JobSettings | None) -> bool:
    return job is not None and job.deployment is None and MARK in (job.tags or {})


def _lines(dependencies: Sequence[str], read: Callable[[str], Sequence[str]]) -> list[str]:
    lines = list[str]()
    for line in dependencies:
        found = _FILE.fullmatch(line)
        lines += read(found[1].strip()) if found else [line]
    return list(dict.fromkeys(lines))


def _permissions(
    own: Sequence[Mapping[str, str]], everywhere: Sequence[Mapping[str, str]]
) -> list[dict[str, str]]:
    """Of a job: its own, and of the bundle's those of whom it says nothing itself."""

    def whose(permission: Mapping[str, str]) -> set[tuple[str, str]]:
        return {(kind, name) for kind, name in permission.items() if kind != "level"}

    named = [whose(permission) for permission in own]
    more = [permission for permission in everywhere if whose(permission) not in named]
    as_a_jobs = [{**one, "level": _LEVELS.get(one["level"], one["level"])} for one in more]
    return [*map(dict, own), *as_a_jobs]


def _require_known(file: Path, name: str, target: Mapping[str, Any]) -> None:
    """What else the CLI makes of a target would be passed over here in silence."""
    odd = set(target) - _OF_TARGETS
    odd |= {f"presets.{preset}" for preset in set(target.get("presets") or {}) - _OF_PRESETS}
    if odd:
        raise UsageError(
            f"{file}: {', '.join(sorted(odd))} of target {name!r} is for the Databricks CLI alone: "
            "deploy the job with it, or take another target"
        )
