"""What is asked of the workspace and of the store, and what is made of their answers or silence.

No driver is needed for that: the workspace ends these runs as it is told to, and what drivers leave
in the store is left there by the tests.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from databricks_kit import ShellRuns, left, number_in, token_of

from dagster_metaflow.backends import databricks_api
from dagster_metaflow.backends.protocol import LaunchError, OutOfSightError, RunState

ALWAYS = 10_000
FLOW = ("--flow", "flows/shell_flow.py")
AWAY = {"patience_seconds": 0.3}
Script = Callable[..., tuple[int, str]]


def away(stage: ShellRuns) -> Callable[[], None]:
    """The store: a file where its folder was. Calling the answer brings it back."""
    lake, kept = stage.folder / "lake", stage.folder / "kept"
    lake.rename(kept)
    lake.write_text("")

    def back() -> None:
        lake.unlink()
        kept.rename(lake)

    return back


# -- the store -------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [FLOW, ("--existing-job", "shell")])
def test_nothing_is_started_that_could_not_be_followed(
    run: Script, stage: ShellRuns, arguments: tuple[str, ...]
) -> None:
    (stage.folder / "lake").write_text("")
    code, told = run(*arguments)
    assert (code, "the store at" in told) == (1, True), told
    assert not stage.workspace.calls


def test_a_run_whose_number_cannot_be_noted_is_followed_all_the_same(stage: ShellRuns) -> None:
    workspace = stage.workspace
    workspace.machine.ends = ["SUCCESS"]
    workspace.fail("jobs/runs/submit", 429, answered=True, retry_after=1)

    def go_away() -> None:
        while not workspace.calls["jobs/runs/submit"]:
            time.sleep(0.02)
        away(stage)

    threading.Thread(target=go_away, daemon=True).start()
    handle = stage.launched()
    assert "Its number is not kept in the store" in stage.log(handle)[1]
    assert stage.ended(handle, **AWAY).state is RunState.SUCCEEDED


def test_a_store_that_is_away_hides_no_end_and_is_blamed_itself(stage: ShellRuns) -> None:
    stage.workspace.machine.ends = ["SUCCESS"]
    handle = stage.launched()
    away(stage)
    assert stage.ended(handle, **AWAY).state is RunState.SUCCEEDED
    (told,) = [line for line in stage.log(handle) if "cannot be read from here" in line]
    assert "lake" in told


def test_the_log_goes_on_when_the_store_is_there_again(stage: ShellRuns) -> None:
    stage.workspace.machine.pending = 60
    handle = stage.launched()
    left(stage, token_of(handle), "7", "first")
    stage.until(handle, lambda _: "first" in stage.log(handle))
    back = away(stage)
    stage.until(handle, lambda _: "cannot be read from here" in stage.log(handle)[-1])
    time.sleep(0.5)  # longer than this follower is patient with the workspace
    assert stage.backend(**AWAY).poll(handle).state is RunState.RUNNING
    back()
    left(stage, token_of(handle), None, "second")
    stage.until(handle, lambda _: stage.log(handle)[-1] == "second")
    assert [line for line in stage.log(handle) if "cannot" in line] == [stage.log(handle)[-2]]
    stage.backend().cancel(handle)


def test_a_store_that_cannot_be_read_is_told_before_a_repair(run: Script, stage: ShellRuns) -> None:
    stage.workspace.machine.ends = ["FAILED"]
    failed = number_in(run(*FLOW)[1])
    away(stage)
    code, told = run("--repair", str(failed))
    assert (code, "the store at" in told) == (1, True), told
    assert stage.workspace.calls["jobs/runs/repair"] == 0
    with pytest.raises(LaunchError, match="the store at"):
        stage.resumed("7")


# -- interrupts ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "arguments"),
    [(signal.SIGINT, FLOW), (signal.SIGTERM, ("--existing-job", "shell"))],
)
@pytest.mark.usefixtures("interrupted")
def test_an_interrupt_before_the_first_look_cancels_what_was_started(
    run: Script, stage: ShellRuns, number: signal.Signals, arguments: tuple[str, ...]
) -> None:
    workspace = stage.workspace
    workspace.machine.pending = 60
    workspace.fail("jobs/runs/get", 429, ALWAYS, code="RESOURCE_EXHAUSTED", retry_after=1)

    def interrupt() -> None:
        while not workspace.calls["jobs/runs/get"]:
            time.sleep(0.02)
        workspace.faults.clear()
        os.kill(os.getpid(), number)

    threading.Thread(target=interrupt, daemon=True).start()
    code, told = run(*arguments)
    assert code == 128 + number
    (started,) = [r for r in workspace.jobs.runs.values() if r.run_id == number_in(told)]
    assert f"run {started.run_id}: TERMINATED CANCELED" in told
    assert started.last.cancelled
    assert workspace.calls["jobs/runs/list"] == 0  # which may lag behind


# -- repairs ---------------------------------------------------------------------------------------


def test_a_jobs_run_is_repaired_with_the_parameters_that_it_had(
    run: Script, stage: ShellRuns
) -> None:
    for more in ((), ("--size", "7")):
        stage.workspace.machine.ends = ["FAILED", "SUCCESS"]
        failed = number_in(run("--existing-job", "shell", *more)[1])
        assert run("--repair", str(failed))[0] == 0
        first, second = stage.workspace.jobs.runs[failed].tries
        own = first.task["spark_python_task"]["parameters"]
        wanted = first.given or [text.replace("{{job.run_id}}", str(failed)) for text in own]
        assert second.given == wanted
        assert (f"--size={7 if more else 5}" in wanted, "{{" in str(wanted)) == (True, False)


def test_a_run_is_not_repaired_with_other_code_than_it_ran(run: Script, stage: ShellRuns) -> None:
    stage.workspace.machine.ends = ["FAILED", "SUCCESS"]
    failed, ran = number_in(run("--existing-job", "shell")[1]), stage.repository.head()
    (stage.repository.root / "note").write_text(stage.launch_id)
    now = stage.repository.commit("newer")
    assert run("--existing-job", "shell")[0] == 0
    (job,) = stage.workspace.jobs.jobs.values()
    at = {key: job["settings"]["git_source"][key] for key in ("git_url", "git_provider")}
    uploaded = "files of the workspace"  # by the Databricks CLI
    for source, what in (
        ({**at, "git_commit": now}, now),
        ({**at, "git_branch": "main"}, now),
        (None, uploaded),
    ):
        job["settings"]["git_source"] = source
        code, told = run("--repair", str(failed))
        assert code == 1
        assert f"ran commit {ran}" in told
        assert f"set to {what} since" in told
    assert stage.workspace.calls["jobs/runs/repair"] == 0


def test_a_run_of_a_branchs_head_is_not_repaired_when_the_branch_is_elsewhere(
    run: Script, stage: ShellRuns
) -> None:
    """As where the branch could not be seen when the run was started."""
    stage.workspace.machine.ends = ["SUCCESS"]
    jobs, ran = stage.workspace.jobs, stage.repository.head()
    settled = jobs.runs[number_in(run(*FLOW)[1])].settings
    git = {k: v for k, v in settled["git_source"].items() if k != "git_commit"}
    body = {**settled, "git_source": {**git, "git_branch": "main"}, "idempotency_token": None}
    stage.fail_once()
    failed = jobs.runs[jobs.submit(body)["run_id"]]
    while failed.is_active:
        time.sleep(0.02)
    (stage.repository.root / "note").write_text(stage.launch_id)
    now = stage.repository.commit("newer")
    code, told = run("--repair", str(failed.run_id))
    assert (code, f"ran commit {ran}, and branch main" in told) == (1, True), told
    assert f"is at {now} now: a repair would go on with that" in told
    git["git_url"] += "-none"
    failed.settings = {**body, "git_source": {**git, "git_branch": "main"}}
    failed.last.settings = failed.settings
    code, told = run("--repair", str(failed.run_id))
    assert (code, "a commit that cannot be seen from here" in told) == (1, True), told
    assert stage.workspace.calls["jobs/runs/repair"] == 0


def test_a_run_that_a_job_started_is_repaired_when_the_code_is_the_same(
    run: Script, stage: ShellRuns
) -> None:
    stage.workspace.machine.ends = ["FAILED", "SUCCESS"]
    failed = number_in(run("--existing-job", "shell")[1])
    given = stage.workspace.jobs.runs[failed].parameters or []
    (token,) = [text.removeprefix("--token=") for text in given if text.startswith("--token=")]
    left(stage, token, "7")
    again = stage.resumed("7")
    assert (again["run"], again["attempt"]) == (failed, 2)
    assert stage.ended(again).state is RunState.SUCCEEDED


def test_a_run_that_a_schedule_started_is_repaired_when_the_code_is_the_same(
    run: Script, stage: ShellRuns
) -> None:
    stage.workspace.machine.ends = ["SUCCESS", "FAILED", "SUCCESS"]
    run("--existing-job", "shell")
    (job,) = stage.workspace.jobs.jobs
    failed = stage.workspace.jobs.run_now({"job_id": job})["run_id"]
    left(stage, str(failed), "7")
    again = stage.resumed("7")
    assert (again["run"], again["attempt"]) == (failed, 2)
    assert stage.ended(again).state is RunState.SUCCEEDED


def test_an_end_before_a_repair_is_not_taken_for_its_own(run: Script, stage: ShellRuns) -> None:
    stage.workspace.machine.ends = ["FAILED", "SUCCESS"]
    failed = number_in(run(*FLOW)[1])
    stage.workspace.jobs.late = 1.0
    code, told = run("--repair", str(failed))
    assert code == 0, told


def test_a_repair_that_does_not_begin_is_told(stage: ShellRuns) -> None:
    stage.workspace.machine.ends = ["FAILED"]
    handle = stage.launched()
    left(stage, token_of(handle), "7")
    stage.ended(handle)
    stage.workspace.jobs.late = 60
    with pytest.raises(LaunchError, match=r"taken the repair of run \d+, and not begun"):
        stage.resumed("7", **AWAY)


def test_a_repair_by_others_is_followed_from_its_own_beginning(stage: ShellRuns) -> None:
    stage.workspace.machine.ends = ["FAILED"]
    handle = stage.launched()
    left(stage, token_of(handle), "7", "it breaks")
    stage.ended(handle)
    stage.workspace.machine.pending = 60
    stage.workspace.jobs.repair({"run_id": handle["run"]})
    again = {**stage.resumed("7"), "folder": f"{handle['folder']}-again"}
    status = stage.backend().poll(again)
    assert (status.state, status.run_id) == (RunState.RUNNING, None)
    assert "it breaks" not in stage.log(again)
    stage.backend().cancel(again)


# -- starts whose answers are lost -----------------------------------------------------------------


@pytest.mark.parametrize("route", ["jobs/create", "jobs/run-now"])
@pytest.mark.parametrize(("status", "code"), [(0, ""), (500, "INTERNAL_ERROR")])
def test_a_job_is_made_and_started_once(
    run: Script, stage: ShellRuns, route: str, status: int, code: str
) -> None:
    jobs = stage.workspace.jobs
    stage.workspace.machine.ends = ["SUCCESS"]
    before = len(jobs.runs)
    stage.workspace.fail(route, status, code=code, answered=True)
    ended, told = run("--existing-job", "shell")
    assert ended == 0, told
    assert (len(jobs.jobs), len(jobs.runs) - before) == (1, 1)


STARTS = pytest.mark.parametrize(
    ("route", "arguments"),
    [("jobs/runs/submit", FLOW), ("jobs/run-now", ("--existing-job", "shell"))],
)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls that fail are made again at once."""
    monkeypatch.setattr(databricks_api, "_PAUSE_SECONDS", 0.01)


@STARTS
@pytest.mark.usefixtures("hasty")
def test_a_start_whose_answers_stay_lost_is_found_and_followed(
    run: Script, stage: ShellRuns, route: str, arguments: tuple[str, ...]
) -> None:
    stage.workspace.machine.ends = ["SUCCESS"]
    before = set(stage.workspace.jobs.runs)
    stage.workspace.fail(route, 500, ALWAYS, code="INTERNAL_ERROR", answered=True)
    ended, told = run(*arguments)
    (started,) = set(stage.workspace.jobs.runs) - before
    assert (ended, number_in(told)) == (0, started), told


@STARTS
@pytest.mark.usefixtures("hasty")
def test_a_start_that_may_have_been_done_is_told_as_that(
    run: Script, stage: ShellRuns, route: str, arguments: tuple[str, ...]
) -> None:
    for unanswered in (route, "jobs/runs/list"):
        stage.workspace.fail(unanswered, 500, ALWAYS, code="INTERNAL_ERROR", answered=True)
    ended, told = run(*arguments)
    name = list(stage.workspace.jobs.runs.values())[-1].name
    assert (ended, f"look for '{name}' on the page Job Runs" in told) == (1, True), told
    assert "try again" not in told


@pytest.mark.usefixtures("hasty")
def test_dagster_finds_a_run_by_the_handle_of_a_start_without_an_answer(stage: ShellRuns) -> None:
    stage.workspace.machine.ends = ["SUCCESS"]
    for unanswered in ("jobs/runs/submit", "jobs/runs/list"):
        stage.workspace.fail(unanswered, 500, ALWAYS, code="INTERNAL_ERROR", answered=True)
    prepared = stage.backend().prepare(stage.request())
    with pytest.raises(OutOfSightError, match="a run may be under way all the same"):
        stage.backend().launch(stage.request(), prepared)
    stage.workspace.faults.clear()
    assert stage.ended(prepared).state is RunState.SUCCEEDED


def test_a_job_that_is_refused_is_not_asked_for_again(run: Script, stage: ShellRuns) -> None:
    stage.workspace.fail("jobs/create", 403, ALWAYS, code="PERMISSION_DENIED")
    code, told = run("--existing-job", "shell")
    assert (code, "Give the caller the permission" in told) == (1, True), told
    assert stage.workspace.calls["jobs/create"] == 1


def test_lists_are_read_to_their_end(run: Script, stage: ShellRuns) -> None:
    jobs = stage.workspace.jobs
    jobs.page = 2
    stage.workspace.machine.ends = ["SUCCESS"] * 6
    prepared = stage.backend().prepare(stage.request())
    started = stage.backend().launch(stage.request(), prepared)
    for _ in range(5):
        stage.launched()
    elsewhere = {**prepared, "folder": str(stage.folder / "elsewhere")}
    assert stage.backend().run_of(elsewhere) == started["run"]
    assert stage.workspace.calls["jobs/runs/list"] >= 3
    jobs.page = 1
    others = [jobs.create({"name": NAME, "tasks": [TASK]})["job_id"] for _ in range(2)]
    told = run("--existing-job", "shell")[1]
    assert f"job {others[0]}, {others[1]}, '{NAME}', was not made from here" in told


NAME = "[git dev] shell"
TASK = {"task_key": "x", "spark_python_task": {"python_file": "x"}, "existing_cluster_id": "c"}
OURS = {"name": NAME, "tasks": [TASK], "tags": {"dagster_metaflow": "git"}}


def test_of_two_jobs_that_were_made_at_once_the_older_is_run(run: Script, stage: ShellRuns) -> None:
    jobs = stage.workspace.jobs
    first, second = (jobs.create(OURS)["job_id"] for _ in range(2))
    jobs.jobs = {number: jobs.jobs[number] for number in (second, first)}
    jobs.jobs[first]["created_time"] -= 1
    stage.workspace.machine.ends = ["SUCCESS"]
    code, told = run("--existing-job", "shell")
    assert (code, f"job {first} {NAME}: updated" in told) == (0, True), told


def test_who_makes_a_job_second_takes_the_one_that_is_there(run: Script, stage: ShellRuns) -> None:
    """Between the look for it and the making of one, somebody else has made it."""
    jobs, make, made = stage.workspace.jobs, stage.workspace.jobs.create, list[int]()

    def create(given: Mapping[str, Any]) -> dict[str, Any]:
        made.extend(make(given)["job_id"] for _ in range(2))
        return {"job_id": made[-1]}

    stage.workspace.machine.ends = ["SUCCESS"]
    jobs.create = create  # type: ignore[method-assign]
    try:
        code, told = run("--existing-job", "shell")
    finally:
        del jobs.create  # type: ignore[method-assign]
    assert (code, f"job {made[0]} {NAME}: as it was" in told) == (0, True), told
    assert list(jobs.jobs) == made[:1]
