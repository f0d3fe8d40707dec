"""Run workers: where they come from, how they end, and what holds them back."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import dagster_servers
import psutil
import pytest

ROOT = Path(__file__).parents[2]
LOCATION = ROOT / "tests" / "launch" / "toy_location.py"
_RUNS = """
query($tags: [ExecutionTag!]) { runsOrError(filter: {tags: $tags}) { ... on Runs {
  results { runId status startTime endTime tags { key value }
    eventConnection { events { ... on EngineEvent { message } } } } } } }
"""


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dagster_servers.Servers]:
    home = tmp_path_factory.mktemp("home")
    with dagster_servers.dagster(home, LOCATION, preload=["toy_location"]) as running:
        yield running


def test_a_worker_that_is_killed_is_noticed_and_its_run_tried_again(servers: Any) -> None:
    done = launch(servers.url, "mortal_job", "who=mortal")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Dagster tries again: " in done.stdout
    states = [run["status"] for run in runs(servers, "mortal")]
    assert states == ["SUCCESS", "FAILURE"]


def test_what_an_asset_gets_wrong_is_not_tried_again(servers: Any) -> None:
    assert launch(servers.url, "failing_job", "who=wrong").returncode == 1
    time.sleep(6)  # the daemon looks every 5 s
    assert len(runs(servers, "wrong")) == 1


def test_one_training_at_a_time(servers: Any) -> None:
    for _ in range(2):
        launch(servers.url, "training_job", "who=train", "--no-wait")
    assert launch(servers.url, "training_job", "who=train").returncode == 0
    wait(lambda: all(run["endTime"] for run in runs(servers, "train")))
    spans = sorted((run["startTime"], run["endTime"]) for run in runs(servers, "train"))
    assert len(spans) == 3
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))


def test_a_run_outlives_the_daemon_and_can_be_cancelled_without_it(servers: Any) -> None:
    assert launch(servers.url, "slow_job", "who=orphan", "--no-wait").returncode == 0
    worker = wait(lambda: started(servers, "orphan"))
    os.kill(servers.processes["dagster-daemon"].pid, signal.SIGKILL)
    servers.processes.pop("dagster-daemon").wait()
    wait(lambda: not forkers(servers, worker))  # the process that forks ends with the daemon
    assert psutil.pid_exists(worker)
    [run] = runs(servers, "orphan")
    assert run["status"] == "STARTED"
    servers.query(
        "mutation($run: String!) { terminateRun(runId: $run) { __typename } }", run=run["runId"]
    )
    wait(lambda: runs(servers, "orphan")[0]["status"] == "CANCELED")
    servers.start("dagster-daemon", "run", "--python-file", str(LOCATION))
    assert launch(servers.url, "quick_job", "who=after").returncode == 0


def test_workers_run_the_code_of_today(tmp_path: Path) -> None:
    location = tmp_path / "changing_location.py"
    source = """
import dagster as dg
from pathlib import Path
NUMBERS = [int(line) for line in (Path(__file__).parent / "numbers.txt").read_text().split()]
@dg.asset
def thing():
    return dg.MaterializeResult(metadata={"first": NUMBERS[0], "version": VERSION})
defs = dg.Definitions(assets=[thing], jobs=[dg.define_asset_job("job", "*")],
                      executor=dg.in_process_executor)
"""
    numbers = tmp_path / "numbers.txt"
    numbers.write_text("1")
    location.write_text("VERSION = 1" + source)
    with dagster_servers.dagster(
        tmp_path / "home", location, preload=["changing_location"]
    ) as servers:
        assert "first 1, version 1" in launch(servers.url, "job", "who=me").stdout
        location.write_text("VERSION = 22" + source)
        assert "first 1, version 22" in launch(servers.url, "job", "who=me").stdout
        numbers.write_text("33")  # no module, but read while importing one
        assert "first 33, version 22" in launch(servers.url, "job", "who=me").stdout
        log = (tmp_path / "home" / "dagster-daemon.log").read_text()
        assert f"{numbers} has changed; importing anew" in log


def launch(url: str, job: str, tag: str, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "fraud_assets.launch", job, "--tag", tag, "--url", url]
    return subprocess.run(
        [*command, *options], cwd=ROOT, capture_output=True, text=True, timeout=120
    )


def runs(servers: Any, who: str) -> list[dict[str, Any]]:
    """Newest first."""
    found = servers.query(_RUNS, tags=[{"key": "who", "value": who}])["runsOrError"]["results"]
    return list(found)


def started(servers: Any, who: str) -> int | None:
    """The process id of the worker of a run that has started."""
    [run] = runs(servers, who)
    if run["status"] != "STARTED":
        return None
    return int((servers.home / "run_workers" / run["runId"]).read_text())


def forkers(servers: Any, worker: int) -> list[int]:
    """Processes that fork workers for this deployment; workers themselves look the same."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            ours = process.environ().get("DAGSTER_HOME") == str(servers.home)
            if ours and "fraud_assets.run_workers" in process.cmdline() and process.pid != worker:
                found.append(process.pid)
    return found


def wait(ready: Callable[[], Any], seconds: float = 60) -> Any:
    deadline = time.monotonic() + seconds
    while not (value := ready()):
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.2)
    return value
