"""Repairing a run: its failed task is run again, in the same run.

Databricks does that with the job's settings **of now** and with the parameters that it is given,
not with those of the run. So parameters are given again, and where the job has been set to other
code meanwhile, or the branch that a run was started at has moved on, the run is not repaired: it
would go on with half of each.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from dagster_metaflow.backends.databricks_api import Workspace
from dagster_metaflow.backends.databricks_driver import OWN_NUMBER
from dagster_metaflow.backends.databricks_git import Source, settled
from dagster_metaflow.backends.databricks_states import (
    OVER,
    commit_of,
    executions,
    is_over,
    latest,
    life_of,
)
from dagster_metaflow.backends.protocol import LaunchError
from dagster_metaflow.interrupts import held_back

if TYPE_CHECKING:
    from databricks.sdk.service.jobs import GitSource, Run

BEGINS_SECONDS = 120.0
_PAUSE_SECONDS = 0.5


class OtherCodeError(LaunchError):
    """A repair would run other code than ran."""


def parameters_of(found: Run) -> list[str]:
    """Of the driver, as the run was started with; those of a job stand in its task."""
    first = next((ran[0] for ran in executions(found).values()), None)
    own = found.overriding_parameters.python_params if found.overriding_parameters else None
    python = first.spark_python_task if first else None
    return list(own or (python.parameters if python else None) or [])


def repair(workspace: Workspace, run: int, patience: float = BEGINS_SECONDS) -> None:
    """Comes back when the run goes on. patience: seconds in which it has to begin.

    Raises OtherCodeError; LaunchError when it does not begin; what the SDK raises when it is
    refused.
    """
    from databricks.sdk.errors import BadRequest

    before = workspace.run(run, history=True)
    refuse_other_code(workspace, before)
    repairs = _repairs(before)
    try:
        with held_back():
            workspace.repair(run, repairs[-1] if repairs else None, _parameters_again(before))
    except BadRequest:
        # An answer was lost on its way, and the call made again: it is under way already.
        if len(_repairs(workspace.run(run, history=True))) <= len(repairs):
            raise
    deadline = time.monotonic() + patience
    while not _goes_on(workspace.run(run), before):
        if time.monotonic() > deadline:
            raise LaunchError(
                f"Databricks has taken the repair of run {run}, and not begun with it in "
                f"{patience:g} s. It may still do: look at the run before anything else is started."
            )
        time.sleep(_PAUSE_SECONDS)


def refuse_other_code(workspace: Workspace, found: Run) -> None:
    """Raises OtherCodeError when a repair would go on with another commit than the run ran, or with
    one that is not known here."""
    ran = commit_of(found)
    job = workspace.job(found.job_id) if _is_a_jobs(found) and found.job_id else None
    git = job.git_source if job else found.git_source
    if ran is None or (git and git.git_tag):  # which is not moved
        return
    now = _commit_now(git) if git else "files of the workspace"
    if now == ran:
        return
    at = now or "a commit that cannot be seen from here"
    since = (
        f"its job {found.job_id} ({job.name}) has been set to {at} since"
        if job
        else f"branch {git.git_branch if git else None} that it was started at is at {at} now"
    )
    raise OtherCodeError(
        f"run {found.run_id} ran commit {ran}, and {since}: a repair would go on with that. Start "
        "it anew, or set it back to that commit."
    )


def _commit_now(git: GitSource) -> str | None:
    """None where it cannot be seen from here."""
    source = Source(str(git.git_url), str(git.git_provider), git.git_branch, git.git_commit or None)
    return settled(source).commit if source.branch or source.commit else None


def _parameters_again(found: Run) -> list[str] | None:
    """None for the job's own, as they are now: of a one-time run they do not change."""
    if not _is_a_jobs(found):
        return None
    given = [text.replace(OWN_NUMBER, str(found.run_id)) for text in parameters_of(found)]
    return None if any("{{" in text for text in given) else given


def _is_a_jobs(found: Run) -> bool:
    return found.run_type is not None and found.run_type.value == "JOB_RUN"


def _repairs(found: Run) -> list[int]:
    return [item.id for item in found.repair_history or [] if item.id is not None]


def _goes_on(now: Run, before: Run) -> bool:
    """Whether what the run says of itself is no longer its end of before."""
    if not is_over(now):
        return True
    known = {task.run_id for task in before.tasks or []}
    new = [task for task in latest(now) if task.run_id not in known]
    return bool(new) and all(life_of(task.state) in OVER for task in new)
