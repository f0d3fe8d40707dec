"""Where the workspace says that a run stands, and how a person is told; no driver is needed."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable

import pytest
from databricks_kit import ShellRuns, left, number_in

from dagster_metaflow.backends.protocol import RunState

ALWAYS = 10_000
FLOW = ("--flow", "flows/shell_flow.py")
Script = Callable[..., tuple[int, str]]


def test_an_end_is_told_where_its_output_cannot_be_read(run: Script, stage: ShellRuns) -> None:
    stage.workspace.machine.ends = ["FAILED"]
    stage.workspace.fail("jobs/runs/get-output", 400, ALWAYS, code="INVALID_PARAMETER_VALUE")
    code, told = run(*FLOW)
    assert (code, ": failed" in told, "The run goes on" in told) == (1, True, False), told
    failed = stage.workspace.jobs.runs[number_in(told)]
    left(stage, str(failed.token), "7", "the last words")
    code, told = run("--inspect-run-id", str(failed.run_id))
    assert code == 0
    for words in (
        "ended by: RUN_EXECUTION_ERROR (CLIENT_ERROR)",
        "Databricks refused to give its output: injected fault",
        "end of the log, in the store:\n    the last words",
        f"--repair {failed.run_id}",
    ):
        assert words in told


STORE = "The store refuses"
DENIED = "This request is not authorized.\nErrorCode:AuthorizationPermissionMismatch"


@pytest.mark.parametrize(
    ("log", "advice"),
    [
        ("features took 403 ms in run 1403, pid 403 (13:00:00.403)", None),
        ("400403 claims, 1.403 GB", None),
        (DENIED, STORE),
        ("HttpResponseError: Operation returned an invalid status code: 403", STORE),
        ("HTTPError: 403 Client Error: Forbidden for url", STORE),
        (f"a worker ran out of memory, and was started again\n{DENIED}", STORE),
        (f"{DENIED}\ntried again, and went well\nout of memory", "most likely for memory"),
    ],
)
def test_what_to_do_is_told_by_the_last_error_and_by_no_mere_number(
    run: Script, stage: ShellRuns, log: str, advice: str | None
) -> None:
    stage.workspace.machine.ends = ["FAILED"]
    number = number_in(run(*FLOW)[1])
    folder = stage.workspace.jobs.runs[number].last.folder
    folder.mkdir(parents=True)
    (folder / "output").write_text(log)
    told = run("--inspect-run-id", str(number))[1].partition("What next\n")[2].splitlines()
    assert len(told) == (1 if advice is None else 2), told
    assert advice is None or advice in told[0]


def test_a_retry_is_waited_for_and_a_repair_after_it_counts_last(
    run: Script, stage: ShellRuns
) -> None:
    stage.workspace.machine.ends = ["FAILED", "FAILED", "SUCCESS"]
    code, told = run("--existing-job", "retried")
    assert (code, "WAITING_FOR_RETRY" in told) == (1, True), told
    failed = number_in(told)
    assert run("--repair", str(failed))[0] == 0
    told = run("--inspect-run-id", str(failed))[1]
    assert "task flow, attempt 3: TERMINATED SUCCESS" in told
    tries = stage.workspace.jobs.runs[failed].tries
    assert [attempt.number for attempt in tries] == [0, 1, 0]


def test_a_run_beside_another_of_its_job_is_skipped_and_said_to_be(
    run: Script, stage: ShellRuns
) -> None:
    stage.workspace.machine.pending = 60
    first = number_in(run("--existing-job", "shell", "--no-wait")[1])
    code, told = run("--existing-job", "shell")
    assert (code, "as many runs of its job" in told) == (1, True), told
    assert "it was never started" in run("--inspect-run-id", str(number_in(told)))[1]
    stage.workspace.jobs.cancel({"run_id": first})


def test_a_run_whose_time_is_up_ends_and_says_so(stage: ShellRuns) -> None:
    stage.hold()
    status = stage.ended(stage.launched(timeout_seconds=1))
    assert status.state is RunState.FAILED
    assert str(status.reason).startswith("its time (timeout_seconds) was up")


def test_a_run_that_is_lost_sight_of_is_followed_again(run: Script, stage: ShellRuns) -> None:
    stage.workspace.machine.pending = 60
    stage.workspace.fail("jobs/runs/get", 403, ALWAYS, code="PERMISSION_DENIED")
    code, told = run(*FLOW)
    number = number_in(told)
    assert (code, f"The run goes on. --follow {number} shows it again." in told) == (1, True), told
    assert "re-executing" not in told
    stage.workspace.faults.clear()
    stage.workspace.jobs.cancel({"run_id": number})
    started = stage.workspace.jobs.runs[number]
    left(stage, str(started.token), "7", "the only words")
    code, told = run("--follow", str(number))
    assert (code, "the only words\n" in told) == (1, True), told
    assert f"run {number} of commit {stage.repository.head()}, Metaflow run 7: cancelled" in told
    assert stage.workspace.calls["jobs/runs/submit"] == 1


@pytest.mark.usefixtures("interrupted")
def test_an_interrupt_of_who_only_looks_leaves_the_run_as_it_is(
    run: Script, stage: ShellRuns
) -> None:
    stage.workspace.machine.pending = 60
    number = number_in(run(*FLOW, "--no-wait")[1])
    stage.workspace.calls.clear()

    def interrupt() -> None:
        while stage.workspace.calls["jobs/runs/get"] < 2:
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    assert run("--follow", str(number))[0] == 130
    assert not stage.workspace.jobs.runs[number].last.cancelled
    stage.workspace.jobs.cancel({"run_id": number})


def test_a_run_is_not_tried_again_by_the_platform_and_not_for_ever(stage: ShellRuns) -> None:
    stage.workspace.machine.ends = ["FAILED", "SUCCESS"]
    assert stage.ended(stage.launched()).state is RunState.FAILED
    body = json.loads(next(b for b in reversed(stage.workspace.bodies) if "run_name" in b))
    assert body["timeout_seconds"] == 86_400


def test_a_run_that_waits_for_another_of_its_job_is_followed(run: Script, stage: ShellRuns) -> None:
    jobs, machine = stage.workspace.jobs, stage.workspace.machine
    machine.pending = 60
    first = number_in(run("--existing-job", "retried", "--no-wait")[1])
    machine.pending, machine.ends = 0.0, ["SUCCESS"]

    def make_way() -> None:
        while not any(r.last.life == "QUEUED" for r in list(jobs.runs.values())):
            time.sleep(0.02)
        time.sleep(1)  # in which it is looked at
        jobs.cancel({"run_id": first})

    threading.Thread(target=make_way, daemon=True).start()
    code, told = run("--existing-job", "retried")
    assert (code, "  QUEUED" in told) == (0, True), told
