"""What a workspace says of a run: where it stands, what ran, and why it did not end well."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagster_metaflow.backends.databricks_api import Workspace, explained, failures
from dagster_metaflow.backends.protocol import RunState

if TYPE_CHECKING:
    from databricks.sdk.service.jobs import Run, RunOutput, RunTask
    from databricks.sdk.service.jobs import RunState as State

OVER = ("TERMINATED", "SKIPPED", "INTERNAL_ERROR")
_NO_REASON = "no reason was given"
_NOT_OURS = ("Workload failed, see run output for details",)
_RESULTS = {
    "TIMEDOUT": "its time (timeout_seconds) was up",
    "MAXIMUM_CONCURRENT_RUNS_REACHED": (
        "it was skipped, as many runs of its job as may go on at a time were going on"
    ),
}
_NEVER_RAN = (
    "DISABLED",
    "EXCLUDED",
    "MAXIMUM_CONCURRENT_RUNS_REACHED",
    "UPSTREAM_CANCELED",
    "UPSTREAM_FAILED",
)


def life_of(state: State | None) -> str:
    life = state.life_cycle_state if state else None
    return life.value if life else ""


def _result(state: State | None) -> str:
    result = state.result_state if state else None
    return result.value if result else ""


def is_over(found: Run) -> bool:
    return life_of(found.state) in OVER


def state_of(found: Run) -> RunState:
    result = _result(found.state)
    if not is_over(found):
        return RunState.RUNNING
    if result in ("SUCCESS", "SUCCESS_WITH_FAILURES"):
        return RunState.SUCCEEDED
    return RunState.CANCELLED if result == "CANCELED" else RunState.FAILED


def words_of(state: State | None) -> str:
    """Such as `INTERNAL_ERROR FAILED`."""
    return " ".join(filter(None, (life_of(state), _result(state))))


def commit_of(found: Run) -> str | None:
    """That ran, as far as it is known."""
    git = found.git_source
    if git is None:
        return None
    return (git.git_snapshot.used_commit if git.git_snapshot else None) or git.git_commit


def executions(found: Run) -> dict[str, list[RunTask]]:
    """Of each task, in the order in which they came: a retry adds one, and so does a repair.

    By time, as the API numbers attempts for retries alone. One that waits has no time yet.
    """
    told: dict[str, list[RunTask]] = {}
    for task in sorted(found.tasks or [], key=lambda task: task.start_time or float("inf")):
        told.setdefault(str(task.task_key), []).append(task)
    return told


def latest(found: Run) -> list[RunTask]:
    """The last execution of each task."""
    return [ran[-1] for ran in executions(found).values()]


def output_of(workspace: Workspace, task: RunTask) -> tuple[RunOutput | None, str]:
    """What a task has left; or None, and why it cannot be told."""
    life = life_of(task.state)
    if life not in OVER:
        return None, "its output can be read when it has ended"
    if life == "SKIPPED" or _result(task.state) in _NEVER_RAN:
        return None, "it was never started"
    try:
        return workspace.output(task), ""
    except failures() as error:
        return None, str(explained(error, "to give its output"))


def why(workspace: Workspace, found: Run) -> str:
    """Why a run did not end well: what its task raised, else what Databricks says."""
    said = found.state.state_message if found.state else None
    for task in latest(found):
        if _result(task.state) in ("SUCCESS", ""):
            continue
        output, _ = output_of(workspace, task)
        error = output.error if output else None
        if error and error not in _NOT_OURS:
            return _with_result(found, error.strip())
        said = (task.state.state_message if task.state else None) or said
    return _with_result(found, said or termination(found) or "")


def _with_result(found: Run, said: str) -> str:
    if life_of(found.state) == "INTERNAL_ERROR":
        return f"INTERNAL_ERROR: {said or _NO_REASON}"
    if (words := _RESULTS.get(_result(found.state))) is None:
        return said or _NO_REASON
    return f"{words}: {said}" if said else words


def termination(found: Run) -> str | None:
    """Its code, whose fault that is, and what else is said."""
    told = found.status.termination_details if found.status else None
    if told is None or told.code is None:
        return None
    kind = f" ({told.type.value})" if told.type else ""
    return f"{told.code.value}{kind}{f': {told.message}' if told.message else ''}"
