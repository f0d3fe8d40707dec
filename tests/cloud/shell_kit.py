"""Three shell steps on Batch, under the backends on AWS."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil
from aws import LocalAws

from dagster_metaflow.backends import batch_jobs
from dagster_metaflow.backends.aws_api import Aws
from dagster_metaflow.backends.batch import BatchBackend
from dagster_metaflow.backends.processes import end_strays
from dagster_metaflow.backends.protocol import Backend, Handle, LaunchRequest, RunStatus
from dagster_metaflow.backends.step_functions import StepFunctionsBackend

FLOW = Path(__file__).parent / "toy" / "shell_flow.py"
QUICK: dict[str, Any] = {"look_seconds": 0.05, "most_look_seconds": 0.1, "log_lag_seconds": 0.0}


class ShellStage:
    """Three shell steps on Batch."""

    most_seconds = 60.0

    def __init__(self, aws: LocalAws, folder: Path) -> None:
        self.aws, self.folder = aws, folder
        self.launch_id = f"contract-{time.time_ns()}"
        self.code_version = str(folder)  # which the deployment holds
        self.variables: dict[str, str] = {}

    def environment(self) -> dict[str, str]:
        return {**self.aws.environment, "SHELL_FOLDER": str(self.folder), **self.variables}

    def request(self) -> LaunchRequest:
        return LaunchRequest(
            launch_id=self.launch_id,
            flow_file=FLOW,
            flow_name="ShellFlow",
            parameters={"output-uri": str(self.folder), "launch-id": self.launch_id},
            tags=("contract",),
            folder=self.folder / "launch",
            code_version=self.code_version,
        )

    def hold(self) -> None:
        (self.folder / "hold_work").touch()

    def release(self) -> None:
        (self.folder / "hold_work").unlink(missing_ok=True)

    def fail_once(self) -> None:
        (self.folder / "fail_work").touch()

    def executed(self) -> Sequence[str]:
        count = self.folder / "count"
        return count.read_text().split() if count.exists() else []


class BatchStage(ShellStage):
    def backend(self) -> Backend:
        return BatchBackend(environment=self.environment())

    def lose(self, handle: Handle) -> None:  # noqa: ARG002 - all that bear its mark are the run's
        end_strays(self.launch_id)


class StepFunctionsStage(ShellStage):
    def backend(self, **settings: Any) -> StepFunctionsBackend:
        return StepFunctionsBackend(environment=self.environment(), **{**QUICK, **settings})

    def launched(self, **settings: Any) -> Handle:
        backend, request = self.backend(**settings), self.request()
        return backend.launch(request, backend.prepare(request))

    def resumed(self, run_id: str | None, **settings: Any) -> Handle:
        backend, request = self.backend(**settings), self.request()
        return backend.resume(request, backend.prepare(request), str(run_id))

    def ended(self, handle: Handle, **settings: Any) -> RunStatus:
        return self.until(handle, lambda status: status.state.ended, **settings)

    def until(
        self, handle: Handle, condition: Callable[[RunStatus], bool], **settings: Any
    ) -> RunStatus:
        deadline = time.monotonic() + self.most_seconds
        while not condition(status := self.backend(**settings).poll(handle)):
            assert time.monotonic() < deadline, status
            time.sleep(0.02)
        return status

    def log(self, handle: Handle) -> list[str]:
        return self.backend().read_log(handle, 0)[0]

    def wait_for(self, step: str) -> None:
        deadline = time.monotonic() + self.most_seconds
        while step not in self.executed():
            assert time.monotonic() < deadline, f"{step} has not begun"
            time.sleep(0.02)

    def wait_for_no_job(self, run_id: str) -> None:
        """A job that is terminated takes a moment to end, there as here."""
        deadline = time.monotonic() + 10
        while batch_jobs.unfinished(Aws(self.environment()), "ShellFlow", run_id):
            assert time.monotonic() < deadline, "a job goes on"
            time.sleep(0.05)

    def lose(self, handle: Handle) -> None:  # noqa: ARG002 - only its job says this folder
        """The machine that the job of the second step is on."""
        self.wait_for("work")
        for process in psutil.process_iter():
            try:
                found = f"cd {self.folder};" in " ".join(process.cmdline())
            except psutil.Error:
                continue
            if found:
                process.kill()
