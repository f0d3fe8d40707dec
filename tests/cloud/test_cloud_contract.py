"""The backends on AWS do what every backend does."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
from aws import LocalAws

from dagster_metaflow.backends.batch import BatchBackend
from dagster_metaflow.backends.processes import end_strays
from dagster_metaflow.backends.protocol import Backend, Handle, LaunchRequest
from dagster_metaflow.backends.step_functions import StepFunctionsBackend
from dagster_metaflow.testing.contract import BackendContract

FLOW = Path(__file__).parent / "toy" / "shell_flow.py"
QUICK: dict[str, Any] = {"look_seconds": 0.05, "most_look_seconds": 0.1, "log_lag_seconds": 0.0}


class ShellStage:
    """Three shell steps on Batch."""

    most_seconds = 60.0

    def __init__(self, aws: LocalAws, folder: Path) -> None:
        self.aws, self.folder = aws, folder
        self.launch_id = f"contract-{time.time_ns()}"

    def environment(self) -> dict[str, str]:
        return {**self.aws.environment, "SHELL_FOLDER": str(self.folder)}

    def request(self) -> LaunchRequest:
        return LaunchRequest(
            launch_id=self.launch_id,
            flow_file=FLOW,
            flow_name="ShellFlow",
            parameters={"output-uri": str(self.folder), "launch-id": self.launch_id},
            tags=("contract",),
            folder=self.folder / "launch",
            code_version=str(self.folder),  # which the deployment holds
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
    def backend(self) -> Backend:
        return StepFunctionsBackend(environment=self.environment(), **QUICK)

    def lose(self, handle: Handle) -> None:  # noqa: ARG002 - only its job says this folder
        """The machine that the job of the second step is on."""
        while "work" not in self.executed():
            time.sleep(0.02)
        for process in psutil.process_iter():
            try:
                found = f"cd {self.folder};" in " ".join(process.cmdline())
            except psutil.Error:
                continue
            if found:
                process.kill()


@pytest.mark.flow
class TestBatchBackend(BackendContract):
    @pytest.fixture
    def stage(self, aws: LocalAws, tmp_path: Path) -> BatchStage:
        return BatchStage(aws, tmp_path)


@pytest.mark.flow
class TestStepFunctionsBackend(BackendContract):
    @pytest.fixture
    def stage(self, aws: LocalAws, tmp_path: Path) -> StepFunctionsStage:
        return StepFunctionsStage(aws, tmp_path)
