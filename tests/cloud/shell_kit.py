"""Three shell steps on Batch, under the backends on AWS."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import psutil
from aws import LocalAws

from dagster_metaflow.backends import batch_jobs
from dagster_metaflow.backends.aws_api import Aws
from dagster_metaflow.backends.batch import BatchBackend
from dagster_metaflow.backends.processes import end_strays
from dagster_metaflow.backends.protocol import Handle, LaunchRequest
from dagster_metaflow.backends.step_functions import StepFunctionsBackend
from dagster_metaflow.testing.folder_stage import FolderStage

FLOW = Path(__file__).parent / "toy" / "shell_flow.py"
QUICK: dict[str, Any] = {"look_seconds": 0.05, "most_look_seconds": 0.1, "log_lag_seconds": 0.0}


class ShellStage(FolderStage):
    """Three shell steps on Batch."""

    def __init__(self, aws: LocalAws, folder: Path) -> None:
        super().__init__(folder)
        self.aws = aws
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


class BatchStage(ShellStage):
    def backend(self, **settings: Any) -> BatchBackend:
        return BatchBackend(environment=self.environment(), **settings)

    def lose(self, handle: Handle) -> None:  # noqa: ARG002 - all that bear its mark are the run's
        end_strays(self.launch_id)


class StepFunctionsStage(ShellStage):
    def backend(self, **settings: Any) -> StepFunctionsBackend:
        return StepFunctionsBackend(environment=self.environment(), **{**QUICK, **settings})

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
