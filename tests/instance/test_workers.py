"""Run workers: where they come from, how they end, and what holds them back."""

from __future__ import annotations

import re
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

from fraud_assets.launcher.follow import CANCEL_SECONDS

ROOT = Path(__file__).parents[2]
LOCATION = ROOT / "tests" / "launch" / "toy_location.py"
COMMAND = [sys.executable, "-m", "fraud_assets.launch"]
_RUNS = """
query($tags: [ExecutionTag!]) { runsOrError(filter: {tags: $tags}) { ... on Runs { results {
  runId status
  eventConnection { events { __typename ... on MessageEvent { message timestamp } } }
} } } }
"""


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dagster_servers.Servers]:
    home = tmp_path_factory.mktemp("home")
    with dagster_servers.dagster(home, LOCATION) as running:
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
    wait(lambda: all(run["status"] == "SUCCESS" for run in runs(servers, "train")))
    spans = sorted(span_of_step(run) for run in runs(servers, "train"))
    assert len(spans) == 3
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))


def test_a_run_outlives_the_daemon_and_can_be_cancelled_without_it(servers: Any) -> None:
    assert launch(servers.url, "slow_job", "who=orphan", "--no-wait").returncode == 0
    worker = wait(lambda: worker_of(servers, "orphan"))
    daemon = servers.processes.pop("dagster-daemon")
    daemon.kill()
    daemon.wait()
    assert psutil.pid_exists(worker)
    [run] = runs(servers, "orphan")
    assert run["status"] == "STARTED"
    servers.query(
        "mutation($run: String!) { terminateRun(runId: $run) { __typename } }", run=run["runId"]
    )
    wait(lambda: runs(servers, "orphan")[0]["status"] == "CANCELED")
    servers.restart("dagster-daemon")
    assert launch(servers.url, "quick_job", "who=after").returncode == 0


def test_everything_is_killed_and_comes_back_while_a_client_waits(servers: Any) -> None:
    command = [*COMMAND, "hanging_job", "--tag", "who=power", "--url", servers.url]
    with waiting(command) as client:
        worker = wait(lambda: worker_of(servers, "power"))
        wait(lambda: (servers.home / "hung").exists())
        for name in ("dagster-daemon", "dagster-webserver"):
            servers.kill(name)
        wait(lambda: not psutil.pid_exists(worker))
        for name in ("dagster-webserver", "dagster-daemon"):
            servers.restart(name)
        said, _ = client.communicate(timeout=120)
    assert client.returncode == 0, said
    assert "The worker's process is gone" in said
    assert "Dagster tries again: " in said
    assert [run["status"] for run in runs(servers, "power")] == ["SUCCESS", "FAILURE"]


def test_who_waits_is_told_where_to_look_when_the_webserver_stays_away(servers: Any) -> None:
    command = [*COMMAND, "slow_job", "--tag", "who=alone", "--url", servers.url, "--timeout", "15"]
    with waiting(command) as client:
        wait(lambda: worker_of(servers, "alone"))
        [run] = runs(servers, "alone")
        servers.kill("dagster-webserver")
        # 15 s for the run, and then as long as Dagster is asked to end it.
        said, _ = client.communicate(timeout=15 + 2 * CANCEL_SECONDS)
    servers.restart("dagster-webserver")
    assert client.returncode == 2
    assert "The webserver does not answer; waiting" in said
    link = f"{servers.url}/runs/{run['runId']}"
    assert f"Run {run['runId']} could not be cancelled and goes on, it seems: see {link}" in said


def launch(url: str, job: str, tag: str, *options: str) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, job, "--tag", tag, "--url", url, *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


def waiting(command: list[str]) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, text=True, stdout=pipe, stderr=subprocess.STDOUT)


def runs(servers: Any, who: str) -> list[dict[str, Any]]:
    """Newest first."""
    found = servers.query(_RUNS, tags=[{"key": "who", "value": who}])["runsOrError"]["results"]
    return list(found)


def worker_of(servers: Any, who: str) -> int | None:
    """The process id of the worker, once the run has started."""
    run = next(iter(runs(servers, who)), None)
    if run is None or run["status"] != "STARTED":
        return None
    said = [event["message"] for event in run["eventConnection"]["events"] if "message" in event]
    found = re.search(r"Started process for run \(pid: (\d+)\)", " ".join(said))
    return int(found[1]) if found else None


def span_of_step(run: dict[str, Any]) -> tuple[float, float]:
    """Start and end of a run's only step."""
    at = {e["__typename"]: float(e["timestamp"]) for e in run["eventConnection"]["events"]}
    return at["ExecutionStepStartEvent"], at["ExecutionStepSuccessEvent"]


def wait(ready: Callable[[], Any], seconds: float = 60) -> Any:
    deadline = time.monotonic() + seconds
    while not (value := ready()):
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.2)
    return value
