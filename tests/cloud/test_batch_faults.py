"""What goes wrong on this side of AWS Batch, and what becomes of a run then."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aws import KEY, LocalAws
from shell_kit import BatchStage

from dagster_metaflow.backends import batch_jobs
from dagster_metaflow.backends.aws_api import Aws
from dagster_metaflow.backends.processes import marked
from dagster_metaflow.backends.protocol import Handle, LaunchError, RunState

pytestmark = pytest.mark.flow


@pytest.fixture
def stage(aws: LocalAws, tmp_path: Path) -> BatchStage:
    return BatchStage(aws, tmp_path)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def held(stage: BatchStage, *queues: str, **settings: Any) -> Handle:
    """A run whose second step waits, on AWS. queues: that steps of its flow name."""
    stage.hold()
    backend = stage.backend(**settings)
    request = dataclasses.replace(stage.request(), queues=queues)
    handle = backend.launch(request, backend.prepare(request))
    until(lambda: "work" in stage.executed())
    return handle


def going(stage: BatchStage, run_id: str | None, *queues: str) -> list[str]:
    aws = Aws(stage.environment())
    return batch_jobs.unfinished(aws, "ShellFlow", str(run_id), queues or None)


def kill_scheduler(stage: BatchStage, handle: Handle) -> None:
    for process in marked(stage.launch_id):
        if "supervisor.py" not in " ".join(process.cmdline()):
            process.kill()
    until(lambda: stage.backend().poll(handle).state.ended)


def test_its_jobs_are_looked_for_where_metaflow_and_its_steps_put_them(stage: BatchStage) -> None:
    stage.variables["SHELL_QUEUE"] = own = "queue-of-the-step"
    handle = held(stage)
    kill_scheduler(stage, handle)
    run_id = stage.backend().poll(handle).run_id
    assert len(going(stage, run_id, own)) == 1
    stage.aws.forget_calls()
    stage.backend().cancel(handle)
    until(lambda: not going(stage, run_id, own))
    assert stage.aws.calls()["batch:DescribeJobQueues"] == 0


@pytest.mark.parametrize("told_by", ["a step's decorator", "--with", "Metaflow's configuration"])
def test_a_queue_that_no_line_of_the_log_leads_to_is_one_that_decorators_name(
    stage: BatchStage, told_by: str
) -> None:
    """The scheduler was killed between the submission of the job and its word of it."""
    own, absent, spec = "queue-of-the-step", "queue-that-is-not-there", "batch:memory=1,queue="
    stage.variables |= {"SHELL_QUEUE": own, "SHELL_SAYS_NO_JOB": "yes"}
    asked, with_ = [], []
    if told_by == "a step's decorator":
        asked = [own, absent]
    elif told_by == "--with":
        with_ = [f"{spec}{own},cpu=1"]
    else:
        stage.variables["METAFLOW_DEFAULT_DECOSPECS"] = f"retry {spec}{own}"
    handle = held(stage, *asked, decorators=with_)
    kill_scheduler(stage, handle)
    run_id = stage.backend().poll(handle).run_id
    assert len(going(stage, run_id, own)) == 1
    stage.backend(decorators=with_).cancel(handle)
    until(lambda: not going(stage, run_id, own))


def test_what_a_killed_scheduler_left_on_aws_is_ended(stage: BatchStage) -> None:
    handle = held(stage)
    kill_scheduler(stage, handle)
    status = stage.backend().poll(handle)
    assert (status.state, status.reason) == (
        RunState.FAILED,
        "its scheduler was killed by SIGKILL",
    )
    assert len(going(stage, status.run_id)) == 1
    stage.backend().cancel(handle)  # as the follower of a run does that did not end well
    until(lambda: not going(stage, status.run_id))


def test_one_that_cannot_be_ended_for_want_of_credentials_is_told(stage: BatchStage) -> None:
    handle = held(stage)
    stage.lose(handle)
    stage.aws.fail("*", "*", "ExpiredTokenException", times=1_000_000, key=KEY)
    with pytest.raises(LaunchError, match="Sign in again"):
        stage.backend().cancel(handle)
    stage.aws.mend()
    stage.backend().cancel(handle)
    until(lambda: not going(stage, stage.backend().poll(handle).run_id))


def test_a_run_whose_scheduler_is_signed_out_says_so_and_is_resumed(stage: BatchStage) -> None:
    """One refused DescribeJobs ends Metaflow's process of the task, and with it the run."""
    handle = held(stage)
    stage.aws.fail("batch", "DescribeJobs", "ExpiredTokenException", key=KEY)
    status = stage.ended(handle)
    assert status.state is RunState.FAILED
    assert "Sign in again" in str(status.reason)
    stage.backend().cancel(handle)  # as the follower of a run does that did not end well
    until(lambda: not going(stage, status.run_id))
    stage.release()
    assert stage.ended(stage.resumed(status.run_id)).state is RunState.SUCCEEDED
    assert stage.executed() == ["start", "work", "work", "end"]


def test_it_links_to_its_jobs(stage: BatchStage) -> None:
    links = stage.backend().links(stage.backend().prepare(stage.request()))
    assert links["batch_jobs"] == (
        "https://us-east-1.console.aws.amazon.com/batch/home?region=us-east-1#jobs"
    )


def test_also_from_another_machine(stage: BatchStage) -> None:
    handle = stage.backend().prepare(stage.request())
    elsewhere = {**handle, "host": "other", "folder": str(stage.folder / "of_the_other")}
    assert "batch_jobs" in stage.backend().links(elsewhere)


@pytest.mark.parametrize("where", ["variable", "file"])
@pytest.mark.parametrize(
    ("asked", "used"), [("retry", "retry batch"), ("batch:memory=9000", "batch:memory=9000")]
)
def test_decorators_that_metaflow_is_configured_with_are_kept(
    stage: BatchStage, where: str, asked: str, used: str
) -> None:
    stage.variables["METAFLOW_HOME"] = str(stage.folder)
    if where == "file":
        (stage.folder / "config.json").write_text(f'{{"METAFLOW_DEFAULT_DECOSPECS": "{asked}"}}')
    else:
        stage.variables["METAFLOW_DEFAULT_DECOSPECS"] = asked
    backend, request = stage.backend(), stage.request()
    handle = backend.launch(request, backend.prepare(request))
    noted = stage.folder / "decorators"
    until(lambda: noted.exists() and noted.read_text() != "")
    assert noted.read_text() == used
    backend.cancel(handle)
