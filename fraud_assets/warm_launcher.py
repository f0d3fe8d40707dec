"""A run launcher whose workers start at once, and whose dead workers are noticed.

Dagster's own launcher has the code server spawn a Python for each run, which imports Dagster and
the code location anew: seconds, before the first step. Here the daemon keeps one process that has
done so, and forks. What cannot be forked is launched Dagster's way.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dagster import DefaultRunLauncher
from dagster._core.launcher.base import CheckRunHealthResult, LaunchRunContext, WorkerStatus
from dagster._core.storage.dagster_run import DagsterRun
from dagster._grpc.types import ExecuteRunArgs
from dagster._serdes import ConfigurableClassData

ANSWER_SECONDS = 60.0  # imports included
STOP_SECONDS = 5.0
COLD_TAG = ".dagster/grpc_info"


class WarmRunLauncher(DefaultRunLauncher):
    """Configuration: `preload`, the modules that workers find imported."""

    def __init__(
        self, preload: list[str] | None = None, inst_data: ConfigurableClassData | None = None
    ) -> None:
        super().__init__(inst_data)
        self._forks = _Forks(preload or [])

    @classmethod
    def config_type(cls) -> Any:
        from dagster import Array, Field

        return {"preload": Field(Array(str), is_required=False, default_value=[])}

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData, config_value: Mapping[str, Any]
    ) -> WarmRunLauncher:
        return cls(config_value["preload"], inst_data)

    def keep_warm(self) -> None:
        """Sees to it that the next run starts at once; returns at once itself."""
        self._forks.keep_warm()

    def launch_run(self, context: LaunchRunContext) -> None:
        run = context.dagster_run
        arguments = self._arguments(run)
        pid = self._forks.fork(arguments, self._lock(run.run_id)) if arguments else None
        if pid is None:
            super().launch_run(context)

    def terminate(self, run_id: str) -> bool:
        pid = self._worker(run_id)
        if pid is None:
            return bool(super().terminate(run_id))  # type: ignore[no-untyped-call]
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return False
        self._instance.report_run_canceling(run)
        try:
            os.kill(pid, signal.SIGTERM)
        except ProcessLookupError:
            return False
        return True

    @property
    def supports_check_run_worker_health(self) -> bool:
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Dead once nobody holds the worker's lock, however it died, and whoever else did."""
        if COLD_TAG in run.tags:  # its code server watches it
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        pid = self._worker(run.run_id)
        if pid is None:
            return CheckRunHealthResult(WorkerStatus.NOT_FOUND, "The worker's process is gone.")
        return CheckRunHealthResult(WorkerStatus.RUNNING, run_worker_id=str(pid))

    def dispose(self) -> None:
        self._forks.close()
        super().dispose()

    def _arguments(self, run: DagsterRun) -> list[str] | None:
        """What follows `dagster` in a worker; None for code that another Python must run."""
        origin = run.job_code_origin
        if origin is None or origin.repository_origin.executable_path != sys.executable:
            return None
        wanted = ExecuteRunArgs(
            job_origin=origin, run_id=run.run_id, instance_ref=self._instance.get_ref()
        )
        command = list(wanted.get_command_args())
        return command[command.index("api") :]

    def _lock(self, run_id: str) -> Path:
        folder = Path(self._instance.root_directory) / "run_workers"
        folder.mkdir(exist_ok=True)
        return folder / run_id

    def _worker(self, run_id: str) -> int | None:
        """The process id of a run's worker, if it lives."""
        try:
            handle = os.open(self._lock(run_id), os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # held
            return int(os.read(handle, 32) or 0) or None
        finally:
            os.close(handle)
        self._lock(run_id).unlink(missing_ok=True)
        return None


class _Forks:
    """The process that forks, from the side of those who ask it to. Safe to share by threads."""

    def __init__(self, preload: list[str]) -> None:
        self.preload = preload
        self._lock = threading.Lock()
        self._pipes: _Pipes | None = None

    def fork(self, arguments: list[str], lock: Path) -> int | None:
        """The process id of a new worker; None when there is none to be had this way."""
        request = {"arguments": arguments, "lock": str(lock)}
        with self._lock:
            for _ in range(2):  # the second time with the code of today
                self._pipes = self._pipes or _Pipes(self.preload)
                answer = self._pipes.ask(request)
                if answer is not None and "pid" in answer:
                    return int(answer["pid"])
                self._end()
            return None

    def keep_warm(self) -> None:
        if not self._lock.acquire(blocking=False):
            return  # it is at work
        try:
            if self._pipes is not None and self._pipes.ask({}) != {}:
                self._end()
            self._pipes = self._pipes or _Pipes(self.preload)
        finally:
            self._lock.release()

    def close(self) -> None:
        with self._lock:
            self._end()

    def _end(self) -> None:
        if self._pipes is not None:
            self._pipes.close()
            self._pipes = None


class _Pipes:
    """One such process, and how to talk to it."""

    def __init__(self, preload: list[str]) -> None:
        read, self._requests = os.pipe()
        self._answers, write = os.pipe()
        module = ["-m", "fraud_assets.run_workers", str(read), str(write), *preload]
        self._process = subprocess.Popen(  # noqa: S603 - this Python, and modules of dagster.yaml
            [sys.executable, *module], pass_fds=(read, write), stdin=subprocess.DEVNULL
        )
        os.close(read)
        os.close(write)

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any] | None:
        """None when the process is dead or silent."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self._requests, json.dumps(request).encode() + b"\n")
            return self._answer()
        return None

    def close(self) -> None:
        """The end of its requests is the end of the process; its workers go on."""
        os.close(self._requests)
        os.close(self._answers)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _answer(self) -> dict[str, Any] | None:
        line, deadline = b"", time.monotonic() + ANSWER_SECONDS
        while not line.endswith(b"\n"):
            ready = select.select([self._answers], [], [], 0.2)[0]
            got = os.read(self._answers, 4096) if ready else b""
            dead = not ready and self._process.poll() is not None
            if dead or (ready and not got) or time.monotonic() > deadline:
                return None
            line += got
        found: dict[str, Any] = json.loads(line)
        return found
