"""Follows one run: its state from the workspace, Metaflow's run id and the log from the store.

What the driver has left in the store is copied to the run's folder here, piece by piece. How far it
has come stands beside, so that another process goes on where one was killed. Looks become rarer
while nothing happens.
"""

from __future__ import annotations

import posixpath
import time
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
from dagster_metaflow.backends.databricks_states import commit_of, is_over, life_of, state_of, why
from dagster_metaflow.backends.looks import Looks, Pace
from dagster_metaflow.backends.protocol import LaunchError, OutOfSightError, RunState
from dagster_metaflow.stores import read_file, without_secrets

if TYPE_CHECKING:
    from databricks.sdk.service.jobs import Run

_LAST_WORDS_SECONDS = 30.0


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
    _away: bool = False
    _over_since: float | None = None

    @property
    def run_id(self) -> str | None:
        return self._load().run_id

    def hurry(self) -> None:
        """The next look is now."""
        self._looks.hurry()

    def look(self) -> None:
        """Comes back at once when it is not yet time. Raises OutOfSightError when the workspace
        cannot be asked, for longer than is put up with or for good."""
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
            raise OutOfSightError(f"{words} The run goes on.") from None

    def _look(self) -> bool:
        """Whether there was anything new. The run is asked first: if it is over, so is its log."""
        from databricks.sdk.errors import NotFound

        try:
            found = self.workspace.run(self.run)
        except NotFound:
            self.state, self.reason = RunState.LOST, "there is no such run any more"
            return True
        self.page, stage = found.run_page_url or self.page, life_of(found.state)
        self.commit = commit_of(found) or self.commit
        with alone(self.folder) as mine:
            read, news = self._copy() if mine else (True, False)
        news, self.stage = news or stage != self.stage, stage
        if is_over(found) and (read or self._has_waited()):
            self.reason, self.state = self._why(found), state_of(found)
        return news

    def _has_waited(self) -> bool:
        """A store that is away holds an end back for a little, as the end of the log and Metaflow's
        run id are there, and not for ever."""
        now = time.monotonic()
        self._over_since = self._over_since or now
        return now - self._over_since >= min(_LAST_WORDS_SECONDS, self.pace.patience)

    def _why(self, found: Run) -> str | None:
        if state_of(found) is RunState.SUCCEEDED:
            return None
        if state_of(found) is RunState.CANCELLED:
            return "it was cancelled"
        return why(self.workspace, found)

    # -- what the driver left ------------------------------------------------------------------

    def _copy(self) -> tuple[bool, bool]:
        """Whether the store could be read, and whether there was anything new."""
        noted = self._load()
        before = noted.model_copy()
        try:
            data = self._left(noted)
        except (OSError, ValueError) as error:
            return False, self._told(before, error)
        self._away = False
        if noted == before:
            return True, False
        append(self.folder, noted, data)
        return True, True

    def _told(self, noted: _Noted, error: Exception) -> bool:
        """Once, until the store is there again. A fault of the store's is none of the run's."""
        if self._away:
            return False
        self._away = True
        line = (
            f"The log and Metaflow's run id cannot be read from here: "
            f"{without_secrets(str(error)) or type(error).__name__}. They are asked for again; the "
            "run itself is followed on."
        )
        append(self.folder, noted, f"{line}\n".encode())
        return True

    def _left(self, noted: _Noted) -> bytes:
        """What comes after `noted`, which is brought up to it. Attempts before `attempt` are
        another launch's. Raises OSError, and ValueError for what is damaged."""
        told = read_json(posixpath.join(self.place, "run.json"))
        number = int(told.get("attempt", 0))
        if number < self.attempt:
            return b""
        noted.attempt = max(noted.attempt, self.attempt)
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
        return b"".join(pieces)

    def _load(self) -> _Noted:
        return noted_in(self.folder, _Noted)


def say(folder: Path, line: str) -> None:
    """Into the log of a run whose following has not begun."""
    folder.mkdir(parents=True, exist_ok=True)
    append(folder, noted_in(folder, _Noted), f"{line}\n".encode())
