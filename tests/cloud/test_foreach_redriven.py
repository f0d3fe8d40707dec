"""A `foreach` that was given up halfway is joined of one task a part, however its tasks ended."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from aws import LocalAws
from cloud_kit import QUICK

from dagster_metaflow.backends import batch_jobs
from dagster_metaflow.backends.aws_api import Aws
from dagster_metaflow.backends.protocol import Handle, LaunchRequest, RunStatus
from dagster_metaflow.backends.sfn_start import execution_arn
from dagster_metaflow.backends.step_functions import StepFunctionsBackend

pytestmark = pytest.mark.flow
FLOW = Path(__file__).parent / "toy" / "parts_flow.py"
SECONDS = 400.0


class Parts:
    """A launch of PartsFlow."""

    def __init__(self, aws: LocalAws, folder: Path) -> None:
        self.folder = folder
        (folder / ".metaflow").mkdir()
        home = {"METAFLOW_HOME": str(folder / "home"), "METAFLOW_USER": "parts"}
        self.backend = StepFunctionsBackend(
            environment={**aws.environment, **home}, working_directory=str(folder), **QUICK
        )
        self.request = LaunchRequest(
            launch_id=f"parts-{time.time_ns()}",
            flow_file=FLOW,
            flow_name="PartsFlow",
            parameters={"folder": str(folder)},
            tags=(),
            folder=folder / "launch",
            code_version="1",
        )
        self._states = aws.client("stepfunctions")

    def order(self, name: str) -> None:
        (self.folder / name).touch()

    def launched(self) -> Handle:
        return self.backend.launch(self.request, self.backend.prepare(self.request))

    def resumed(self, run_id: str | None) -> Handle:
        prepared = self.backend.prepare(self.request)
        return self.backend.resume(self.request, prepared, str(run_id))

    def ended(self, handle: Handle) -> RunStatus:
        until(lambda: self.backend.poll(handle).state.ended)
        return self.backend.poll(handle)

    def given_up(self, handle: Handle, *, stopped: bool) -> None:
        """The execution is over, and a task of it still goes on, and ends well."""
        machine = Aws(self.backend.environment).machine_arn(handle["machine"])
        arn, states = execution_arn(machine, handle["execution"]), self._states
        until((self.folder / "begun_2").exists)
        if stopped:
            until(lambda: self.has_ended_part(arn))
            states.stop_execution(executionArn=arn)
        until(lambda: states.describe_execution(executionArn=arn)["status"] != "RUNNING")
        self.order("go")
        until(lambda: not self.unfinished(handle))

    def has_ended_part(self, arn: str) -> bool:
        events = self._states.get_execution_history(executionArn=arn, maxResults=1000)["events"]
        return any(event["type"] == "MapIterationSucceeded" for event in events)

    def unfinished(self, handle: Handle) -> list[str]:
        return batch_jobs.unfinished(self.backend.aws(), "PartsFlow", handle["execution"])


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.fixture
def parts(aws: LocalAws, tmp_path: Path) -> Parts:
    return Parts(aws, tmp_path)


@pytest.mark.parametrize("stopped", [False, True], ids=["another part failed", "stopped"])
def test_a_task_that_ended_after_its_execution_is_not_joined_beside_its_repetition(
    parts: Parts, stopped: bool
) -> None:
    if stopped:
        parts.order("mended")
    handle = parts.launched()
    parts.given_up(handle, stopped=stopped)
    failure = parts.ended(handle)
    parts.order("mended")
    status = parts.ended(parts.resumed(failure.run_id))
    assert (status.state.value, status.run_id) == ("succeeded", failure.run_id)  # redriven
    assert (parts.folder / "joined").read_text() == "[0, 1, 2]"
    counted = Counter((parts.folder / "count").read_text().split())
    assert (counted["0"], counted["2"]) == (1, 2)
