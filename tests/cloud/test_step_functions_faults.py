"""What goes wrong on AWS, and what becomes of a run on Step Functions then."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from aws import KEY, LocalAws
from shell_kit import StepFunctionsStage

from dagster_metaflow.backends import batch_jobs
from dagster_metaflow.backends.aws_api import Aws
from dagster_metaflow.backends.protocol import LaunchError, OutOfSightError, RunState

pytestmark = pytest.mark.flow
ALWAYS = 1_000_000


@pytest.fixture
def stage(aws: LocalAws, tmp_path: Path) -> StepFunctionsStage:
    return StepFunctionsStage(aws, tmp_path)


@pytest.mark.parametrize(
    ("service", "operation", "code", "status"),
    [
        ("batch", "DescribeJobs", "TooManyRequestsException", 429),
        ("states", "GetExecutionHistory", "ThrottlingException", 400),
        ("logs", "FilterLogEvents", "InternalFailure", 500),
    ],
)
def test_calls_that_are_throttled_or_fail_for_a_while_are_made_again(
    stage: StepFunctionsStage, service: str, operation: str, code: str, status: int
) -> None:
    stage.aws.fail(service, operation, code, status=status, times=3, key=KEY)
    handle = stage.launched()
    assert stage.ended(handle).state is RunState.SUCCEEDED
    assert any("work runs" in line for line in stage.log(handle))


def test_a_queue_that_takes_no_more_jobs_is_asked_again_by_the_state_machine(
    stage: StepFunctionsStage,
) -> None:
    stage.aws.fail("batch", "SubmitJob", "TooManyRequestsException", times=2, key="states")
    assert stage.ended(stage.launched()).state is RunState.SUCCEEDED


def test_a_queue_that_takes_no_job_at_all_is_told_with_the_step(stage: StepFunctionsStage) -> None:
    refused = "batch", "SubmitJob", "AccessDeniedException"
    stage.aws.fail(*refused, times=ALWAYS, key="states")
    status = stage.ended(stage.launched())
    words = "step start: Batch.AWSBatchException: AccessDeniedException: as the test says"
    assert (status.state, status.reason) == (RunState.FAILED, words)


def test_a_job_with_more_overrides_than_batch_takes_ends_the_run_with_its_words(
    stage: StepFunctionsStage,
) -> None:
    handle = stage.launched()
    stage.ended(handle)
    by_hand = {**handle, "execution": f"{handle['execution']}-2", "folder": str(stage.folder / "2")}
    stage.aws.client("stepfunctions").start_execution(
        stateMachineArn=Aws(stage.environment()).machine_arn("ShellFlow"),
        name=by_hand["execution"],
        input=json.dumps({"Parameters": "x" * 9_000}),
    )
    status = stage.ended(by_hand)
    assert status.state is RunState.FAILED
    assert status.reason == "step start: Container Overrides length must be at most 8192"


def test_a_job_that_is_killed_is_tried_again_by_batch(stage: StepFunctionsStage) -> None:
    stage.variables["SHELL_ATTEMPTS"] = "2"
    stage.hold()
    handle = stage.launched()
    stage.lose(handle)
    stage.release()
    assert stage.ended(handle).state is RunState.SUCCEEDED
    assert Counter(stage.executed()) == {"start": 1, "work": 2, "end": 1}
    lines = [line for line in stage.log(handle) if "work runs" in line]
    assert len(lines) == 2  # of both attempts


def test_an_execution_that_takes_too_long_says_so_and_leaves_no_job(
    stage: StepFunctionsStage,
) -> None:
    stage.variables["SHELL_TIMEOUT"] = "1"
    stage.hold()
    handle = stage.launched()
    stage.wait_for("work")
    status = stage.ended(handle)
    assert (status.state, status.reason) == (
        RunState.FAILED,
        "the execution took longer than the state machine's time-out",
    )
    stage.backend().cancel(handle)  # as the follower of a run does that did not end well
    stage.wait_for_no_job(handle["execution"])


def test_credentials_that_expire_end_no_run_and_are_told(stage: StepFunctionsStage) -> None:
    stage.hold()
    handle = stage.launched()
    stage.aws.fail("*", "*", "ExpiredTokenException", times=ALWAYS, key=KEY)
    assert stage.backend().poll(handle).state is RunState.RUNNING  # for as long as it is patient
    other = {**handle, "folder": f"{handle['folder']}-impatient"}
    with pytest.raises(LaunchError, match=r"Sign in again.*The run goes on"):
        stage.ended(other, patience_seconds=0.3)
    stage.aws.mend()
    stage.release()
    assert stage.ended(other).state is RunState.SUCCEEDED


def test_an_execution_that_is_not_seen_yet_is_not_lost(stage: StepFunctionsStage) -> None:
    for operation in ("DescribeExecution", "GetExecutionHistory"):
        stage.aws.fail("states", operation, "ExecutionDoesNotExist", times=2, key=KEY)
    handle = stage.launched()
    assert stage.backend().poll(handle).state is RunState.RUNNING
    assert stage.ended(handle).state is RunState.SUCCEEDED


def test_where_it_may_not_be_seen_what_an_execution_runs_it_goes_on(
    stage: StepFunctionsStage,
) -> None:
    denied = "states", "DescribeStateMachineForExecution", "AccessDeniedException"
    stage.aws.fail(*denied, times=ALWAYS, key=KEY)
    assert stage.ended(stage.launched()).state is RunState.SUCCEEDED
    assert stage.aws.calls(KEY)["states:StopExecution"] == 0


def test_an_execution_that_is_not_seen_yet_is_cancelled(stage: StepFunctionsStage) -> None:
    stage.hold()
    handle = stage.launched()
    stage.aws.fail("states", "DescribeExecution", "ExecutionDoesNotExist", key=KEY)
    stage.backend().cancel(handle)
    assert stage.ended(handle).state is RunState.CANCELLED
    stage.wait_for_no_job(handle["execution"])


def test_a_permission_that_lacks_is_named_at_once(stage: StepFunctionsStage) -> None:
    handle = stage.launched()
    denied = "states", "GetExecutionHistory", "AccessDeniedException"
    stage.aws.fail(*denied, times=ALWAYS, key=KEY)
    with pytest.raises(LaunchError, match=r"infra/aws/stack\.yaml"):
        stage.ended(handle)


def test_logs_that_may_not_be_read_end_no_run(stage: StepFunctionsStage) -> None:
    denied = "logs", "FilterLogEvents", "AccessDeniedException"
    stage.aws.fail(*denied, times=ALWAYS, key=KEY)
    handle = stage.launched()
    assert stage.ended(handle).state is RunState.SUCCEEDED
    told = [line for line in stage.log(handle) if "AWS refused to read the logs" in line]
    assert len(told) == 1


def test_a_full_disk_here_is_told_and_ends_no_run(stage: StepFunctionsStage) -> None:
    stage.hold()
    handle = stage.launched()
    log = Path(handle["folder"], "log")
    log.symlink_to("/dev/full")
    with pytest.raises(OutOfSightError, match="The run goes on"):
        stage.ended(handle)
    log.unlink()
    stage.release()
    assert stage.ended(handle).state is RunState.SUCCEEDED


def test_a_run_of_another_machine_is_followed_in_a_folder_of_this_one(
    stage: StepFunctionsStage,
) -> None:
    backend, own = stage.backend(), stage.folder / "here"
    launched = stage.launched()
    assert backend.here(launched, own) == launched  # its folder is to be seen
    theirs = {**launched, "folder": "/proc/home-of-the-other/launch/1"}
    with pytest.raises(OutOfSightError, match="home-of-the-other"):
        stage.ended(theirs)
    moved = backend.here(theirs, own)
    assert moved == {**launched, "folder": str(own / "1")}
    assert stage.ended(moved).state is RunState.SUCCEEDED
    assert any("work runs" in line for line in stage.log(moved))


def test_what_was_cancelled_leaves_no_process(stage: StepFunctionsStage) -> None:
    stage.hold()
    handle = stage.launched()
    stage.wait_for("work")
    stage.backend().cancel(handle)
    assert stage.ended(handle).state is RunState.CANCELLED
    stage.wait_for_no_job(handle["execution"])
    found = subprocess.run(["pgrep", "-f", f"cd {stage.folder};"], capture_output=True, text=True)
    assert not found.stdout


def test_jobs_are_looked_for_in_the_queues_of_the_definition_alone(
    stage: StepFunctionsStage,
) -> None:
    """An account may have many, and its calls of ListJobs are few."""
    stage.hold()
    handle = stage.launched()
    stage.wait_for("work")
    stage.aws.forget_calls()
    stage.backend().cancel(handle)
    calls = stage.aws.calls(KEY)
    assert (calls["batch:DescribeJobQueues"], calls["batch:ListJobs"]) == (0, 5)  # one a state
    assert calls["batch:TerminateJob"] == 1


def test_where_the_definition_may_not_be_seen_every_queue_is_looked_in(
    stage: StepFunctionsStage,
) -> None:
    stage.hold()
    handle = stage.launched()
    stage.wait_for("work")
    denied = "states", "DescribeStateMachineForExecution", "AccessDeniedException"
    stage.aws.fail(*denied, times=ALWAYS, key=KEY)
    stage.backend().cancel(handle)
    stage.wait_for_no_job(handle["execution"])


WATCH = """
import json, os, sys, time
from dagster_metaflow.backends.step_functions import StepFunctionsBackend
backend = StepFunctionsBackend(**json.loads(sys.argv[1]))
handle = json.loads(sys.argv[2])
while not any("work runs" in line for line in backend.read_log(handle, 0)[0]):
    backend.poll(handle)
    time.sleep(0.02)
os.kill(os.getpid(), 9)
"""


def test_a_watcher_that_is_killed_leaves_a_log_that_goes_on(stage: StepFunctionsStage) -> None:
    stage.hold()
    handle = stage.launched()
    settings = json.dumps({"environment": stage.environment(), "look_seconds": 0.05})
    command = [sys.executable, "-c", WATCH, settings, json.dumps(dict(handle))]
    done = subprocess.run(command, env=os.environ, timeout=60)
    assert done.returncode == -9
    stage.release()
    assert stage.ended(handle).state is RunState.SUCCEEDED
    texts = [line.partition("] ")[2] for line in stage.log(handle)]
    assert Counter(texts)["work runs"] == 1
    assert Counter(texts)["end is done"] == 1
    assert Counter(texts)["Task finished successfully."] == 3


def test_a_hundred_jobs_are_described_in_one_call(aws: LocalAws) -> None:
    list(batch_jobs.described(Aws(aws.environment), [f"job-{number}" for number in range(250)]))
    assert aws.calls()["batch:DescribeJobs"] == 3


def test_looks_become_rarer_while_nothing_happens(stage: StepFunctionsStage) -> None:
    slower = {"look_seconds": 0.1, "most_look_seconds": 60.0}
    stage.hold()
    handle = stage.launched()
    seen = "work runs"
    stage.until(handle, lambda _: any(seen in line for line in stage.log(handle)), **slower)
    stage.aws.forget_calls()
    end = time.monotonic() + 1.5
    while time.monotonic() < end:
        stage.backend(**slower).poll(handle)
    calls = stage.aws.calls(KEY)
    assert 2 <= calls["states:GetExecutionHistory"] <= 8  # 0.1, 0.15, 0.23, ... seconds apart
    assert set(calls) == {
        "states:GetExecutionHistory",
        "batch:DescribeJobs",
        "logs:FilterLogEvents",
    }
    stage.release()
    stage.backend().cancel(handle)


def test_an_execution_is_not_redriven_beside_a_job_of_it_that_goes_on(
    stage: StepFunctionsStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_jobs, "_END_SECONDS", 0.0)
    stage.hold()
    handle = stage.launched()
    stage.wait_for("work")
    machine = Aws(stage.environment()).machine_arn("ShellFlow")
    arn = f"{machine.replace(':stateMachine:', ':execution:')}:{handle['execution']}"
    stage.aws.client("stepfunctions").stop_execution(executionArn=arn)
    ended = stage.ended(handle)
    stage.aws.fail("batch", "TerminateJob", "taken, and not done", status=200, times=ALWAYS)
    with pytest.raises(LaunchError, match="1 jobs of the run go on though they were told to end"):
        stage.resumed(ended.run_id)
    assert stage.aws.calls()["states:RedriveExecution"] == 0
    stage.aws.mend()
    monkeypatch.undo()
    stage.release()
    assert stage.ended(stage.resumed(ended.run_id)).state is RunState.SUCCEEDED
