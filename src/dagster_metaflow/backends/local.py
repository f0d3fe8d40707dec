"""Metaflow runs on this machine, each under a supervisor that outlives Dagster's process."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
from dagster import Config
from pydantic import Field

from dagster_metaflow.backends.protocol import (
    Handle,
    LaunchError,
    LaunchRequest,
    RunState,
    RunStatus,
)
from dagster_metaflow.parameters import to_arguments
from dagster_metaflow.watcher import find

MARK = "DAGSTER_METAFLOW_LAUNCH"
"""Variable in the environment of every process of a run: how strays are found again."""

_SUPERVISOR = Path(__file__).with_name("supervisor.py")
_START_SECONDS = 30.0
_CANCEL_SECONDS = 9.0
_BLOCK = 1 << 20


class LocalBackend(Config):
    """Runs flows as processes of this machine, with Metaflow's own scheduler."""

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

    def launch(self, request: LaunchRequest) -> Handle:
        given = to_arguments(request.parameters)
        return self._start(request, ["run", *self._run_options(), *given])

    def resume(self, request: LaunchRequest, origin_run_id: str) -> Handle:
        options = self._run_options(resumed=True)
        return self._start(request, ["resume", "--origin-run-id", origin_run_id, *options])

    def _run_options(self, *, resumed: bool = False) -> list[str]:
        options = [] if self.max_workers is None else [f"--max-workers={self.max_workers}"]
        # Metaflow has no --with for a resumed run: its steps keep their own decorators.
        return options + ([] if resumed else [f"--with={name}" for name in self.decorators])

    def _start(self, request: LaunchRequest, command: Sequence[str]) -> Handle:
        if not request.flow_file.is_file():
            raise LaunchError(f"{request.flow_file}: there is no such flow")
        folder = _new_attempt(request.folder)
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
        (folder / "log").write_text(f"$ {shlex.join(arguments)}\n", encoding="utf-8")
        pid = _supervised(folder, arguments, self.working_directory, environment)
        return {
            "host": socket.gethostname(),
            "pid": pid,
            "started": psutil.Process(pid).create_time(),
            "folder": str(folder),
            "launch_id": request.launch_id,
        }

    def poll(self, handle: Handle) -> RunStatus:
        _require_here(handle)
        run_id = _run_id(handle)
        alive = _supervisor(handle) is not None
        ended = _read_json(_folder(handle) / "exit.json")
        if ended is None:
            if alive:
                return RunStatus(RunState.RUNNING, run_id)
            return RunStatus(
                RunState.LOST, run_id, "its processes are gone without a word (killed?)"
            )
        if ended["cancelled"]:
            return RunStatus(RunState.CANCELLED, run_id, "it was cancelled")
        if ended["code"] == 0:
            return RunStatus(RunState.SUCCEEDED, run_id)
        return RunStatus(RunState.FAILED, run_id, f"exit status {ended['code']}")

    def read_log(self, handle: Handle, offset: int) -> tuple[list[str], int]:
        path = _folder(handle) / "log"
        if not path.is_file():
            return [], offset
        with path.open("rb") as stream:
            stream.seek(offset)
            data = stream.read(_BLOCK)
        whole = data[: data.rfind(b"\n") + 1] if len(data) < _BLOCK or b"\n" in data else data
        return whole.decode("utf-8", "replace").splitlines(), offset + len(whole)

    def cancel(self, handle: Handle) -> None:
        _require_here(handle)
        supervisor = _supervisor(handle)
        if supervisor is not None:
            supervisor.send_signal(signal.SIGTERM)
            _gone([supervisor], _CANCEL_SECONDS)
        end_strays(str(handle["launch_id"]))

    def links(self, handle: Handle) -> Mapping[str, str]:
        return {"log": str(_folder(handle) / "log")}


def _supervised(
    folder: Path, arguments: Sequence[str], cwd: str | None, environment: Mapping[str, str]
) -> int:
    """Number of the process that stands over the run."""
    try:
        started = subprocess.run(  # noqa: S603 - a list of arguments, no shell
            [sys.executable, str(_SUPERVISOR), str(folder), *arguments],
            cwd=cwd,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_START_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise LaunchError(f"the run cannot be started: {error}") from None
    return int(started.stdout)


def end_strays(launch_id: str) -> list[int]:
    """Kills every process of a launch that is still there, whoever its parent is; their ids."""
    strays = list(_marked(launch_id))
    for process in strays:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    _gone(strays, 2.0)
    return [process.pid for process in strays]


def _marked(launch_id: str) -> Iterator[psutil.Process]:
    own = os.getpid()
    for process in psutil.process_iter():
        try:
            marked = process.environ().get(MARK) == launch_id and process.pid != own
        except (psutil.Error, OSError):  # another user's, or gone
            continue
        if marked:
            yield process


def _gone(processes: Sequence[psutil.Process], seconds: float) -> None:
    psutil.wait_procs(processes, timeout=seconds)


def _new_attempt(folder: Path) -> Path:
    """`folder/1`, `folder/2`, ...: a resumed run has a log and an end of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    number = 1 + max((int(p.name) for p in folder.iterdir() if p.name.isdigit()), default=0)
    made = folder / str(number)
    made.mkdir()
    return made


def _folder(handle: Handle) -> Path:
    return Path(str(handle["folder"]))


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


def _supervisor(handle: Handle) -> psutil.Process | None:
    return find(int(handle["pid"]), float(handle["started"]))


def _require_here(handle: Handle) -> None:
    if (host := handle["host"]) != socket.gethostname():
        raise LaunchError(
            f"the run was started on {host}, and this is {socket.gethostname()}; runs of the local "
            "backend can be followed on their own machine only. Execute the assets anew."
        )
