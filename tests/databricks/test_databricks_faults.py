"""Faults of the workspace, the network and the driver, and what becomes of a run."""

from __future__ import annotations

import os
import socket
import time

import pytest
from databricks_kit import ShellRuns
from workspace_rules import ApiError
from workspace_server import SIGNED_OUT

from dagster_metaflow.backends import databricks_api, databricks_driver
from dagster_metaflow.backends.protocol import LaunchError, RunState, UsageError

ALWAYS = 10_000


def submitted(stage: ShellRuns) -> int:
    """Runs of this test."""
    return len([r for r in stage.workspace.jobs.runs.values() if stage.launch_id in r.name])


def test_throttled_calls_are_made_again_when_told(stage: ShellRuns) -> None:
    code = "RESOURCE_EXHAUSTED"
    stage.workspace.fail("jobs/runs/submit", 429, code=code, retry_after=1)
    stage.workspace.fail("jobs/runs/get", 503, retry_after=1)
    began = time.monotonic()
    assert stage.ended(stage.launched()).state is RunState.SUCCEEDED
    assert time.monotonic() - began >= 2
    assert submitted(stage) == 1


@pytest.mark.parametrize(("status", "code"), [(0, ""), (500, "INTERNAL_ERROR")])
def test_a_start_that_is_done_and_not_answered_is_done_once(
    stage: ShellRuns, status: int, code: str
) -> None:
    stage.workspace.fail("jobs/runs/submit", status, code=code, answered=True)
    assert stage.ended(stage.launched()).state is RunState.SUCCEEDED
    assert stage.workspace.calls["jobs/runs/submit"] == 2
    assert submitted(stage) == 1


def test_a_repair_that_is_done_and_not_answered_is_done_once(stage: ShellRuns) -> None:
    stage.fail_once()
    handle = stage.launched()
    failed = stage.ended(handle)
    stage.workspace.fail("jobs/runs/repair", 0, answered=True)
    assert stage.ended(stage.resumed(failed.run_id)).state is RunState.SUCCEEDED
    assert len(stage.workspace.jobs.runs[handle["run"]].tries) == 2


@pytest.mark.parametrize("answer", SIGNED_OUT)
def test_a_token_that_expires_ends_no_run_and_is_told(stage: ShellRuns, answer: str) -> None:
    stage.hold()
    handle = stage.launched()
    stage.wait_for("work")
    stage.workspace.expire_tokens(answer)
    assert stage.backend().poll(handle).state is RunState.RUNNING  # for as long as it is patient
    other = {**handle, "folder": f"{handle['folder']}-impatient"}
    with pytest.raises(LaunchError, match=r"Sign in again.*The run goes on"):
        stage.ended(other, patience_seconds=0.2)
    stage.workspace.mend()
    stage.release()
    assert stage.ended(other).state is RunState.SUCCEEDED


@pytest.mark.parametrize("answer", SIGNED_OUT)
def test_a_wrong_token_is_told_as_such_and_starts_nothing(stage: ShellRuns, answer: str) -> None:
    stage.workspace.expire_tokens(answer)
    with pytest.raises(LaunchError, match="Sign in again: a fresh DATABRICKS_TOKEN") as told:
        stage.launched()
    assert "permission" not in str(told.value)
    assert submitted(stage) == 0


@pytest.mark.parametrize("answer", SIGNED_OUT)
def test_a_service_principal_signs_in_and_signs_in_again(stage: ShellRuns, answer: str) -> None:
    stage.variables |= {"DATABRICKS_TOKEN": "", **stage.workspace.oauth_environment}
    stage.hold()
    handle = stage.launched()
    stage.wait_for("work")
    stage.workspace.expire_tokens(answer)
    stage.release()
    assert stage.ended(handle).state is RunState.SUCCEEDED


def test_a_workspace_that_does_not_answer_is_no_missing_token(
    stage: ShellRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All is set, and signing in goes over the network before anything is asked."""
    with socket.create_server(("127.0.0.1", 0)) as gone:
        host = f"http://127.0.0.1:{gone.getsockname()[1]}"
    monkeypatch.setattr(databricks_api, "_RETRY_SECONDS", 1)
    login = {**stage.workspace.oauth_environment, "DATABRICKS_HOST": host}
    stage.variables |= {"DATABRICKS_TOKEN": "", **login}
    with pytest.raises(LaunchError, match=f"Does {host} answer from here") as told:
        stage.launched()
    assert not isinstance(told.value, UsageError)
    assert "missing" not in str(told.value)
    assert login["DATABRICKS_CLIENT_SECRET"] not in str(told.value)


def test_a_permission_that_lacks_is_told_at_once(stage: ShellRuns) -> None:
    stage.workspace.fail("jobs/runs/submit", 403, ALWAYS, code="PERMISSION_DENIED")
    with pytest.raises(LaunchError, match="Give the caller the permission"):
        stage.launched()


def test_a_driver_that_never_comes_says_why(stage: ShellRuns) -> None:
    stage.workspace.machine.breaks = "Cluster terminated. Reason: Cloud provider launch failure"
    status = stage.ended(stage.launched())
    assert (status.state, status.run_id) == (RunState.FAILED, None)
    assert "Cloud provider launch failure" in str(status.reason)


def test_a_package_that_is_not_there_is_named(stage: ShellRuns) -> None:
    status = stage.ended(stage.launched(dependencies=["no-such-package==1.0"]))
    assert "No matching distribution found for no-such-package==1.0" in str(status.reason)


def test_a_revision_that_is_not_there_is_named(stage: ShellRuns) -> None:
    here = str(stage.repository.root)
    unseen = {"git_url": f"file://{here}-none", "repository": here}
    status = stage.ended(stage.launched(**unseen, git_commit=stage.repository.head()))
    assert "Failed to checkout Git repository" in str(status.reason)


def test_a_driver_that_is_killed_says_so_and_is_repaired(stage: ShellRuns) -> None:
    stage.hold()
    handle = stage.launched()
    stage.until(handle, lambda status: status.run_id is not None)
    stage.lose(handle)
    status = stage.ended(handle)
    assert "exited unexpectedly" in str(status.reason)
    stage.release()
    assert stage.ended(stage.resumed(status.run_id)).state is RunState.SUCCEEDED
    assert list(stage.executed()) == ["start", "work", "work", "end"]


def test_what_a_flow_leaves_running_holds_no_driver_up(
    stage: ShellRuns, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """It has the flow's output, which so has no end."""
    monkeypatch.setattr(databricks_driver, "_DRAIN_SECONDS", 0.3)
    monkeypatch.setattr(os, "environ", {**os.environ})
    flow = stage.folder / "leaves_flow.py"
    flow.write_text("import subprocess\nsubprocess.Popen(['sleep', '3'])\nprint('done')\n")
    began = time.monotonic()
    given = [f"--flow={flow.name}", f"--store={stage.folder / 'lake'}", "--token=one"]
    databricks_driver.main(given, stage.folder)
    assert time.monotonic() - began < 2.5
    told = capfd.readouterr().out
    assert told.index("done") < told.index("its output is no longer followed")


def test_looks_become_rarer_while_nothing_happens(stage: ShellRuns) -> None:
    slower = {"look_seconds": 0.1, "most_look_seconds": 60.0}
    stage.hold()
    handle = stage.launched()
    seen = "work/1"
    stage.until(handle, lambda _: any(seen in line for line in stage.log(handle)), **slower)
    stage.workspace.calls.clear()
    end = time.monotonic() + 1.5
    while time.monotonic() < end:
        stage.backend(**slower).poll(handle)
    assert 1 <= stage.workspace.calls["jobs/runs/get"] <= 8  # 0.1, 0.15, 0.23, ... seconds apart
    stage.release()
    stage.backend().cancel(handle)


def test_the_workspace_here_refuses_what_databricks_refuses(stage: ShellRuns) -> None:
    """A local workspace that takes anything would prove nothing."""
    python = {"python_file": "scripts/databricks_entry.py", "source": "GIT"}
    task = {"task_key": "flow", "spark_python_task": python, "environment_key": "Default"}
    spec = {"environment_version": "4", "dependencies": ["pydantic"]}
    good = {
        "tasks": [task],
        "environments": [{"environment_key": "Default", "spec": spec}],
        "git_source": {"git_url": "https://x", "git_provider": "gitHub", "git_branch": "main"},
    }
    refused = {
        "not supported for serverless": {"tasks": [{**task, "libraries": [{"whl": "x"}]}]},
        "environment key Other is not defined": {"tasks": [{**task, "environment_key": "Other"}]},
        "git_source must be specified": {"git_source": None},
        "Exactly one of git_branch": {"git_source": {**good["git_source"], "git_tag": "v1"}},  # type: ignore[dict-item]
        "must have environment_version": {
            "environments": [{"environment_key": "Default", "spec": {"dependencies": ["pydantic"]}}]
        },
        "unknown fields max_retry": {"tasks": [{**task, "max_retry": 1}]},
    }
    for words, change in refused.items():
        with pytest.raises(ApiError, match=words):
            stage.workspace.jobs.submit({**good, **change})
