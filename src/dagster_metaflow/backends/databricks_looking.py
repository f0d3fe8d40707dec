"""A run on Databricks for a person at a shell: followed as it goes, or looked into afterwards."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagster_metaflow.backends.copied_log import print_log
from dagster_metaflow.backends.databricks_api import Workspace, moment
from dagster_metaflow.backends.databricks_attempt import attempt_at, store_of, tail_of
from dagster_metaflow.backends.databricks_driver import place_by
from dagster_metaflow.backends.databricks_repair import parameters_of
from dagster_metaflow.backends.databricks_states import (
    executions,
    output_of,
    state_of,
    termination,
    why,
    words_of,
)
from dagster_metaflow.backends.protocol import LaunchError, RunState
from dagster_metaflow.stores import without_secrets

if TYPE_CHECKING:
    from databricks.sdk.service.jobs import Run

    from dagster_metaflow.backends.databricks import DatabricksBackend

_SECONDS = 0.5
_TOLD_LINES = 40
_ADVICE: Sequence[tuple[str, str]] = (
    ("Library installation failed", "Correct the requirement that is named, commit and push it."),
    (
        "Failed to checkout|Git repository",
        "Does the branch or commit exist on the server, and has whoever runs the job Git "
        "credentials in the workspace (User settings, Linked accounts)?",
    ),
    (
        "Cannot read the python file|there is no such flow",
        "The file is not in the repository at that revision: is it committed and pushed?",
    ),
    (
        "out of memory|exited unexpectedly|OutOfMemory",
        "The driver was killed, most likely for memory: fewer claims a run (--sample-size, "
        "--partition-start), one task at a time (--max-workers 1), or a larger driver.",
    ),
    (
        "[Ss]cope .* does not exist|PERMISSION_DENIED.*scope",
        "Make the scope (databricks secrets create-scope), or name another in "
        "DATABRICKS_SECRET_SCOPE; whoever runs the job needs READ on it.",
    ),
    (
        "AuthorizationFailure|AuthorizationPermissionMismatch|CredentialUnavailable"
        r"|ErrorCode:\s*Authentication|\b403:? (Client Error|Forbidden)"
        r"|\b[Ss]tatus[ _a-z]*[:= ]+403\b",
        "The store refuses: are azure-tenant-id, azure-client-id and azure-client-secret in the "
        "secret scope, and has that principal the role Storage Blob Data Contributor?",
    ),
)


def watch(backend: DatabricksBackend, handle: Mapping[str, Any]) -> int:
    """Shows the log as it comes, and how the run ended: 0 when well, else 1.

    Raises LaunchError when the run cannot be seen.
    """
    follower = backend.follower(handle, int(handle["run"]))
    stage, offset, began = "", 0, time.monotonic()
    while True:
        status = backend.poll(handle)
        offset = print_log(backend, handle, offset)
        if follower.stage != stage:
            stage = follower.stage
            print(f"{time.monotonic() - began:6.0f} s  {stage}", flush=True)
        if status.state.ended:
            break
        time.sleep(_SECONDS)
    ran = f" of commit {follower.commit}" if follower.commit else ""
    flow = f", Metaflow run {status.run_id}" if status.run_id else ""
    print(f"run {handle['run']}{ran}{flow}: {status.state.value}")
    if status.reason:
        print(status.reason)
    if follower.page:
        print(follower.page)
    return 0 if status.state is RunState.SUCCEEDED else 1


def opened(
    workspace: Workspace, run: int, folder: Path, *, attempt: int | None = None
) -> dict[str, Any]:
    """A handle of a run, whoever started it: from that attempt on, or after those so far.

    Raises LaunchError for one that no entry of this library runs in.
    """
    found = workspace.run(run)
    if (place := _place_in(found)) is None:
        raise LaunchError(f"run {run} ({found.run_name}) is no run of a Metaflow flow")
    if attempt is None:
        with store_of(place):
            attempt = attempt_at(place) + 1
    return {"run": run, "place": place, "attempt": attempt, "folder": str(folder)}


def _place_in(found: Run) -> str | None:
    """Where it leaves word."""
    try:
        return place_by(parameters_of(found), str(found.run_id))
    except ValueError:
        return None


# -- afterwards --------------------------------------------------------------------------------


def inspection(workspace: Workspace, run: int) -> str:
    """Tasks, states, error, trace and the end of the log, and what to do next."""
    found = workspace.run(run, history=True)
    lines = [f"run {run}: {found.run_name}, {words_of(found.state)}"]
    lines += _about(found)
    texts = list[str]()
    for ran in executions(found).values():
        task, logged = ran[-1], list[str]()
        lines += ["", f"task {task.task_key}, attempt {len(ran)}: {words_of(task.state)}"]
        output, why_not = output_of(workspace, task)
        if output is None:
            lines.append(f"  {why_not}")
        else:
            logged = _block("end of the log", output.logs)
            lines += [
                *_block("error", output.error),
                *_block("trace", output.error_trace),
                *logged,
            ]
            texts += [output.error or "", output.logs or ""]
        if not logged:
            lines += _kept(found)
    lines += ["", "What next", *_next(workspace, found, "\n".join(texts))]
    return "\n".join(lines)


def _about(found: Run) -> Iterator[str]:
    git = found.git_source
    if git is not None:
        used = git.git_snapshot.used_commit if git.git_snapshot else None
        at = used or git.git_commit or f"branch {git.git_branch}"
        yield f"  code: {git.git_url} at {at}"
    if state_of(found) is not RunState.SUCCEEDED and (told := termination(found)):
        yield f"  ended by: {told}"
    for name, at_ms in (("started", found.start_time), ("ended", found.end_time)):
        if (when := moment(at_ms)) is not None:
            yield f"  {name}: {when:%Y-%m-%d %H:%M:%S} UTC"
    if repairs := [item for item in found.repair_history or [] if item.id is not None]:
        yield f"  repaired: {len(repairs)} times"
    if found.run_page_url:
        yield f"  {found.run_page_url}"


def _kept(found: Run) -> list[str]:
    """Of the log, in the store: what is there when Databricks has nothing."""
    if (place := _place_in(found)) is None:
        return []
    try:
        return _block("end of the log, in the store", "\n".join(tail_of(place, _TOLD_LINES)))
    except (OSError, ValueError) as error:
        return [f"  the log in the store cannot be read from here: {without_secrets(str(error))}"]


def _block(name: str, text: str | None) -> list[str]:
    if not text or not text.strip():
        return []
    told = text.strip().splitlines()
    more = [f"    ... {len(told) - _TOLD_LINES} lines before"] if len(told) > _TOLD_LINES else []
    return [f"  {name}:", *more, *[f"    {line}" for line in told[-_TOLD_LINES:]]]


def _next(workspace: Workspace, found: Run, text: str) -> Iterator[str]:
    state = state_of(found)
    if state is RunState.RUNNING:
        yield "  It goes on; look again, or open its page."
        return
    if state is RunState.SUCCEEDED:
        yield "  It ended well: nothing."
        return
    if state is RunState.FAILED:
        advice = _advice(why(workspace, found)) or _advice(text)
        yield from [f"  {advice}"] if advice else []
    yield (
        f"  Go on where it stopped, with the same code: --repair {found.run_id}. With other code, "
        "start it again."
    )


def _advice(text: str) -> str | None:
    """By the last of what went wrong: what came before it did not end the run."""
    found = [(place.end(), advice) for one, advice in _ADVICE for place in re.finditer(one, text)]
    return max(found, default=(0, None))[1]
