"""Going on with a run that failed, from where it failed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
Launch = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def failed(launch: Launch) -> Callable[..., str]:
    """Id of a run that failed in its second step, which will do better the next time."""

    def fail(*arguments: str) -> str:
        done = launch("mending_job", "--json", *arguments)
        assert done.returncode == 1, done.stderr
        return str(json.loads(done.stdout)["run_id"])

    return fail


def test_steps_that_succeeded_are_not_run_again(launch: Launch, failed: Any, runs: Any) -> None:
    run_id = failed("--tag", "who=mended", "--tag", "mend=1")
    done = launch("--from-failure", run_id)
    assert done.returncode == 0, done.stderr
    assert "mending_job launched as" in done.stdout
    assert "mend_once  succeeded" in done.stdout
    assert "prepare  started" not in done.stdout
    newest, first = runs(who="mended")
    assert first["runId"] == run_id
    assert newest["tags"]["dagster/parent_run_id"] == run_id


def test_the_same_build_goes_on_with_a_run_once(launch: Launch, failed: Any, runs: Any) -> None:
    run_id = failed("--idempotency-key", "build-9", "--tag", "mend=2", "--tag", "who=again")
    for said in ("launched as", "is launched already, following"):
        done = launch("--from-failure", run_id, "--idempotency-key", "build-9")
        assert done.returncode == 0, done.stderr
        assert said in done.stdout
    assert len(runs(who="again")) == 2


def test_machines_are_told_which_run_it_goes_on_with(launch: Launch, failed: Any) -> None:
    run_id = failed("--tag", "mend=3")
    facts = json.loads(launch("mending_job", "--from-failure", run_id, "--json").stdout)
    assert facts["status"] == "SUCCESS"
    assert facts["job"] == "mending_job"
    assert facts["from_failure"] == run_id
    assert facts["run_id"] != run_id


def test_a_run_that_fails_again_exits_1(launch: Launch) -> None:
    first = json.loads(launch("failing_job", "--json").stdout)
    done = launch("--from-failure", first["run_id"])
    assert done.returncode == 1
    assert "fail_with_message: The source is empty" in done.stderr.splitlines()[-1]


def test_a_run_that_dagster_has_retried_by_itself_is_not_retried_beside_that(
    launch: Launch, runs: Any
) -> None:
    done = launch("mortal_job", "--json", "--no-wait", "--tag", "who=mortal")
    died = json.loads(done.stdout)["run_id"]
    wait_until_failed(runs, died)
    for _ in range(2):  # the retry may be announced, going or done
        facts = json.loads(launch("--from-failure", died, "--json").stdout)
        assert (facts["status"], facts["followed"]) == ("SUCCESS", True)
        assert facts["run_id"] != died
    assert len(runs(who="mortal")) == 2


def wait_until_failed(runs: Any, run_id: str) -> None:
    deadline = time.monotonic() + 60
    while {run["runId"]: run["status"] for run in runs(who="mortal")}[run_id] != "FAILURE":
        assert time.monotonic() < deadline, "the run whose process died has not failed"
        time.sleep(0.5)


def test_what_cannot_be_gone_on_with_is_said_and_launches_nothing(launch: Launch) -> None:
    good = json.loads(launch("quick_job", "--json").stdout)["run_id"]
    for arguments, said in (
        (["--from-failure", good], f"Run {good} of quick_job is SUCCESS; only a run that failed"),
        (["--from-failure", "nowhere"], "There is no run nowhere at http://127.0.0.1:"),
        (["slow_job", "--from-failure", good], "is one of quick_job, not of slow_job"),
        (["--from-failure", good, "--backend", "batch"], "leave out --partition"),
        ([], "Name the JOB to launch, or a run with --from-failure"),
    ):
        done = launch(*arguments)
        assert done.returncode == 2
        assert said in " ".join(done.stderr.split())


def test_stopped_while_it_is_still_being_loaded_it_shows_no_trace(tmp_path: Path) -> None:
    slow = tmp_path / "click.py"  # whatever is imported first
    slow.write_text("import time; print('loading', flush=True); time.sleep(30)")
    launcher = subprocess.Popen(
        [sys.executable, "-m", "fraud_assets.launch", "quick_job"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert launcher.stdout is not None
    assert launcher.stdout.readline() == "loading\n"
    launcher.send_signal(signal.SIGINT)
    _, error = launcher.communicate(timeout=20)
    assert launcher.returncode == -signal.SIGINT
    assert error == ""
