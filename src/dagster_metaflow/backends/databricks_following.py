"""Follows one run: its state from the workspace, Metaflow's run id and the log from the store.

What the driver has left in the store is copied to the run's folder here, piece by piece. How far it
has come stands beside, so that another process goes on where one was killed. Looks become rarer
while nothing happens.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from dagster_metaflow.backends.copied_log import Noted, alone, append, noted_in
from dagster_metaflow.backends.databricks_api import (
    Workspace,
    explained,
    failures,
    is_lasting,
    is_signed_out,
)
from dagster_metaflow.backends.databricks_attempt import read_json
from dagster_metaflow.backends.looks import Looks, Pace
from dagster_metaflow.backends.protocol import LaunchError, RunState
from dagster_metaflow.stores import read_file

if TYPE_CHECKING:
    from databricks.sdk.service.jobs import Run, RunTask
    from databricks.sdk.service.jobs import RunState as State

_NO_RUN = "no reason was given"
_OVER = ("TERMINATED", "SKIPPED", "INTERNAL_ERROR")
_NOT_OURS = ("Workload failed, see run output for details",)


class _Noted(Noted):
    """attempt, piece: of the log, the next to be read. run_id: Metaflow's."""

    attempt: int = 0
    piece: int = 0
    run_id: str | None = None


@dataclass
class Follower:
    """run: of Databricks. place: where its driver leaves word. attempt: the first that counts.
    folder: here, of this launch."""

    workspace: Workspace
    run: int
    place: str
    attempt: int
    folder: Path
    pace: Pace
    state: RunState = RunState.RUNNING
    reason: str | None = None
    page: str | None = None
    commit: str | None = None
    stage: str = ""
    _looks: Looks = field(default_factory=Looks)

    @property
    def run_id(self) -> str | None:
        return self._load().run_id

    def hurry(self) -> None:
        """The next look is now."""
        self._looks.hurry()

    def look(self) -> None:
        """Comes back at once when it is not yet time. Raises LaunchError when neither can be asked,
        for longer than is put up with or for good."""
        if not self._looks.is_due or self.state.ended:
            return
        try:
            news = self._look()
        except LaunchError:
            raise
        except failures() as error:
            self._bear(error)
            news = False
        else:
            self._looks.went_well()
        self._looks.done(self.pace, news=news)

    def _bear(self, error: Exception) -> None:
        """A fault that may pass."""
        if is_signed_out(error):
            self.workspace.sign_in_anew()
        if self._looks.outlasts(self.pace) or is_lasting(error):
            words = explained(error, f"to tell of run {self.run}")
            raise LaunchError(f"{words} The run goes on; re-executing finds it again.") from None

    def _look(self) -> bool:
        """Whether there was anything new. The run is asked first: if it is over, so is its log."""
        from databricks.sdk.errors import NotFound

        try:
            found = self.workspace.run(self.run)
        except NotFound:
            self.state, self.reason = RunState.LOST, "there is no such run any more"
            return True
        self.page, stage = found.run_page_url or self.page, _life(found.state)
        self.commit = _commit(found) or self.commit
        with alone(self.folder) as mine:
            news = self._copy() if mine else False
        news, self.stage = news or stage != self.stage, stage
        if stage in _OVER:
            self.reason = self._why(found)
            self.state = state_of(found)
        return news

    def _why(self, found: Run) -> str | None:
        if state_of(found) is RunState.SUCCEEDED:
            return None
        if state_of(found) is RunState.CANCELLED:
            return "it was cancelled"
        return why(self.workspace, found)

    # -- what the driver left ------------------------------------------------------------------

    def _copy(self) -> bool:
        """Attempts before `attempt` are another launch's."""
        told = read_json(posixpath.join(self.place, "run.json"))
        number = int(told.get("attempt", 0))
        if number < self.attempt:
            return False
        noted = self._load()
        noted.attempt = max(noted.attempt, self.attempt)
        before = noted.model_copy()
        noted.run_id = told.get("run_id") or noted.run_id
        pieces = list[bytes]()
        while noted.attempt <= number:
            name = posixpath.join(self.place, str(noted.attempt), f"{noted.piece:06d}.log")
            if (piece := read_file(name)) is not None:
                pieces.append(piece)
                noted.piece += 1
            elif noted.attempt < number:  # Databricks has tried again by itself
                noted.attempt, noted.piece = noted.attempt + 1, 0
            else:
                break
        if noted == before:
            return False
        append(self.folder, noted, b"".join(pieces))
        return True

    def _load(self) -> _Noted:
        return noted_in(self.folder, _Noted)


def say(folder: Path, line: str) -> None:
    """Into the log of a run whose following has not begun."""
    folder.mkdir(parents=True, exist_ok=True)
    append(folder, noted_in(folder, _Noted), f"{line}\n".encode())


# -- what the workspace says -------------------------------------------------------------------


def _life(state: State | None) -> str:
    life = state.life_cycle_state if state else None
    return life.value if life else ""


def _result(state: State | None) -> str:
    result = state.result_state if state else None
    return result.value if result else ""


def _commit(found: Run) -> str | None:
    snapshot = found.git_source.git_snapshot if found.git_source else None
    return snapshot.used_commit if snapshot else None


def state_of(found: Run) -> RunState:
    life, result = _life(found.state), _result(found.state)
    if life not in _OVER:
        return RunState.RUNNING
    if result in ("SUCCESS", "SUCCESS_WITH_FAILURES"):
        return RunState.SUCCEEDED
    return RunState.CANCELLED if result == "CANCELED" else RunState.FAILED


def words_of(state: State | None) -> str:
    """Such as `INTERNAL_ERROR FAILED`."""
    return " ".join(filter(None, (_life(state), _result(state))))


def latest(found: Run) -> list[RunTask]:
    """The last execution of each task: a repair adds one."""
    tasks: dict[str, RunTask] = {}
    for task in found.tasks or []:
        known = tasks.get(task.task_key)
        if known is None or (task.attempt_number or 0) >= (known.attempt_number or 0):
            tasks[task.task_key] = task
    return list(tasks.values())


def why(workspace: Workspace, found: Run) -> str:
    """Why a run did not end well: what its task raised, else what Databricks says."""
    said = found.state.state_message if found.state else None
    for task in latest(found):
        if _result(task.state) in ("SUCCESS", ""):
            continue
        error = workspace.output(task).error
        if error and error not in _NOT_OURS:
            return error.strip()
        said = (task.state.state_message if task.state else None) or said
    prefix = "INTERNAL_ERROR: " if _life(found.state) == "INTERNAL_ERROR" else ""
    return f"{prefix}{said or _NO_RUN}"
