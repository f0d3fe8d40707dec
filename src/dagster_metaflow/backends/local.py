"""Metaflow runs on this machine, each under a supervisor that outlives Dagster's process."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dagster import Config
from pydantic import ConfigDict, Field

from dagster_metaflow.backends.copied_log import read_lines
from dagster_metaflow.backends.metaflow_settings import run_page
from dagster_metaflow.backends.processes import MARK, end_strays, is_locked
from dagster_metaflow.backends.protocol import (
    Handle,
    LaunchError,
    LaunchRequest,
    MetaflowClient,
    RunState,
    RunStatus,
)
from dagster_metaflow.parameters import to_arguments

_SUPERVISOR = Path(__file__).with_name("supervisor.py")
_USERS = ("METAFLOW_USER", "SUDO_USER", "USERNAME", "USER")
"""Variables by which Metaflow learns who runs a flow. It refuses to run for nobody, and for root,
who is all that there is in most containers."""
_WELL = b"] Task finished successfully."
_START_SECONDS = 30.0
_CANCEL_SECONDS = 8.0


class LocalBackend(Config):
    """Runs flows as processes of this machine, with Metaflow's own scheduler."""

    model_config = ConfigDict(extra="forbid")

    python: str = Field(
        default=sys.executable, description="Python that runs the flows; Dagster's own by default."
    )
    working_directory: str | None = Field(
        default=None,
        description="Folder that runs start in, where Metaflow looks for `.metaflow`; by default "
        "the one Dagster runs in.",
    )
    environment: dict[str, str] = Field(
        default={}, description="Variables for the runs, beside those of Dagster's process."
    )
    max_workers: int | None = Field(
        default=None, description="Tasks of one run at a time; Metaflow's default when left out."
    )
    decorators: list[str] = Field(
        default=[], description="Step decorators for every step, as in `run --with retry`."
    )
    options: list[str] = Field(
        default=[], description="Options before `run`, such as `--datastore=s3`."
    )

    def prepare(self, request: LaunchRequest) -> Handle:
        if not request.flow_file.is_file():
            raise LaunchError(f"{request.flow_file}: there is no such flow")
        return {
            "host": socket.gethostname(),
            "folder": str(new_attempt(request.folder)),
            "launch_id": request.launch_id,
            "flow": request.flow_name,
        }

    def launch(self, request: LaunchRequest, handle: Handle) -> Handle:
        given = to_arguments(request.parameters)
        return self._start(request, handle, ["run", *self._run_options(), *given])

    def resume(self, request: LaunchRequest, handle: Handle, origin_run_id: str) -> Handle:
        origin, folder = _with_tasks(request.folder, origin_run_id), _folder(handle)
        (folder / "origin").write_text(origin)
        options = self._run_options(resumed=True)
        made = self._start(request, handle, ["resume", f"--origin-run-id={origin}", *options])
        if origin != origin_run_id:
            self._say(
                handle, f"Run {origin} is resumed: no task of run {origin_run_id} ended well."
            )
        return made

    def _say(self, handle: Handle, words: str) -> None:
        """Into the log of a run that Metaflow's own scheduler has begun."""
        with (_folder(handle) / "log").open("a", encoding="utf-8") as log:
            log.write(f"{words}\n")

    def _run_options(self, *, resumed: bool = False) -> list[str]:
        options = [] if self.max_workers is None else [f"--max-workers={self.max_workers}"]
        # Metaflow has no --with for a resumed run: its steps keep their own decorators.
        return options + ([] if resumed else [f"--with={name}" for name in self.decorators])

    def _start(self, request: LaunchRequest, handle: Handle, command: Sequence[str]) -> Handle:
        folder = _folder(handle)
        verb, *rest = command
        arguments = [
            self.python,
            str(request.flow_file),
            *self.options,
            verb,
            f"--runner-attribute-file={folder / 'run.json'}",
            *[f"--tag={tag}" for tag in request.tags],
            *rest,
        ]
        environment = os.environ | self.environment | dict(request.environment)
        environment |= {MARK: request.launch_id, "PYTHONUNBUFFERED": "1"}
        if not {environment.get(name) for name in _USERS} - {None, "", "root"}:
            environment["METAFLOW_USER"] = "dagster"
        (folder / "log").write_text(f"$ {shlex.join(arguments)}\n", encoding="utf-8")
        _supervised(folder, arguments, self.working_directory, environment)
        return handle

    def poll(self, handle: Handle) -> RunStatus:
        alive = _is_supervised(handle)  # asked first: the word is written before it goes
        run_id, ended = _run_id(handle), _read_json(_folder(handle) / "exit.json")
        if ended is not None:
            return _ended(ended["code"], ended["cancelled"], run_id)
        if alive:
            return RunStatus(RunState.RUNNING, run_id)
        if not _folder(handle).is_dir():
            raise LaunchError(
                f"the run was started on {handle['host']}, and {handle['folder']} cannot be seen "
                f"from {socket.gethostname()}"
            )
        return RunStatus(RunState.LOST, run_id, "its processes are gone without a word (killed?)")

    def read_log(self, handle: Handle, offset: int) -> tuple[list[str], int]:
        return read_lines(_folder(handle), offset, over=not _is_supervised(handle))

    def cancel(self, handle: Handle) -> None:
        if handle["host"] != socket.gethostname():
            if _is_supervised(handle):
                raise LaunchError(
                    f"the run goes on on {handle['host']}; it can be ended there only"
                )
            return
        if _is_supervised(handle):
            _terminate(_folder(handle) / "supervisor")
            deadline = time.monotonic() + _CANCEL_SECONDS
            while _is_supervised(handle) and time.monotonic() < deadline:
                time.sleep(0.05)
        end_strays(str(handle["launch_id"]))

    def client(self) -> MetaflowClient:
        return MetaflowClient(self.python, self.working_directory, self.environment)

    def links(self, handle: Handle) -> Mapping[str, str]:
        found = {"log": str(_folder(handle) / "log")}
        with contextlib.suppress(LaunchError):  # it runs on another machine
            found |= self._run_page(handle, self.poll(handle).run_id)
        return found

    def _run_page(self, handle: Handle, run_id: str | None) -> Mapping[str, str]:
        flow = handle.get("flow")  # not known of runs that an older version launched
        return run_page(os.environ | self.environment, str(flow), run_id) if flow else {}


def _supervised(
    folder: Path, arguments: Sequence[str], cwd: str | None, environment: Mapping[str, str]
) -> None:
    """Comes back when the supervisor holds its lock."""
    try:
        subprocess.run(  # noqa: S603 - a list of arguments, no shell
            [sys.executable, "-I", "-S", str(_SUPERVISOR), str(folder), *arguments],
            cwd=cwd,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_START_SECONDS,
            check=True,
        )
    except subprocess.CalledProcessError as error:
        why = error.stderr.strip() or f"its supervisor ended at once, with code {error.returncode}"
        raise LaunchError(f"the run cannot be started: {why}") from None
    except (OSError, subprocess.SubprocessError) as error:
        raise LaunchError(f"the run cannot be started: {error}") from None


def _terminate(lock: Path) -> None:
    number = lock.read_text()
    if number:  # none yet: it has just been started, and is found by its mark
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(number), signal.SIGTERM)


def _ended(code: int, cancelled: bool, run_id: str | None) -> RunStatus:
    if code == 0:  # also when it was told to end, and had just ended well
        return RunStatus(RunState.SUCCEEDED, run_id)
    if cancelled:
        return RunStatus(RunState.CANCELLED, run_id, "it was cancelled")
    if code < 0:
        name = signal.Signals(-code).name
        return RunStatus(RunState.FAILED, run_id, f"its scheduler was killed by {name}")
    return RunStatus(RunState.FAILED, run_id, f"exit status {code}")


def new_attempt(folder: Path) -> Path:
    """`folder/1`, `folder/2`, ...: a resumed run has a log and an end of its own."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        while True:
            number = 1 + max((int(p.name) for p in folder.iterdir() if p.name.isdigit()), default=0)
            made = folder / str(number)
            with contextlib.suppress(FileExistsError):  # another launch was quicker
                made.mkdir()
                break
    except OSError as error:
        raise LaunchError(
            f"the folder for the run's log cannot be made: {error}. Give the resource another "
            "`state_folder`."
        ) from None
    return made


def seen_from_here(handle: Handle, folder: Path) -> Handle:
    """With another attempt's folder below `folder` where its own is another machine's."""
    return handle if _folder(handle).is_dir() else {**handle, "folder": str(new_attempt(folder))}


def _with_tasks(attempts: Path, run_id: str) -> str:
    """The run, or the one that it resumed, where no task of its own ended well: it has nothing that
    that one has not, and may have ended while it was taking over what had finished there."""
    for folder in attempts.iterdir():
        origin = folder / "origin"
        if origin.exists() and _run_id({"folder": folder}) == run_id:
            ran = _WELL in (folder / "log").read_bytes()
            return run_id if ran else _with_tasks(attempts, origin.read_text())
    return run_id


def _folder(handle: Handle) -> Path:
    return Path(str(handle["folder"]))


def _is_supervised(handle: Handle) -> bool:
    return is_locked(_folder(handle) / "supervisor")


def _run_id(handle: Handle) -> str | None:
    told = _read_json(_folder(handle) / "run.json")
    return None if told is None else str(told["run_id"])


def _read_json(path: Path) -> dict[str, Any] | None:
    """None for a file that is not there yet, or not whole yet."""
    try:
        found: dict[str, Any] = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return found
