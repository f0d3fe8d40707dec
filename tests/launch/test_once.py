"""The same request is one run: sent twice, by two at once, or over a network that loses answers."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flaky_proxy import Proxy, proxy

ROOT = Path(__file__).parents[2]
Launch = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def network(servers: Any) -> Iterator[Proxy]:
    with proxy(servers.url) as running:
        yield running


def test_a_key_launches_once_and_follows_afterwards(launch: Launch, runs: Any) -> None:
    first = launch("quick_job", "--idempotency-key", "build-1", "--tag", "who=key")
    again = launch("quick_job", "--idempotency-key", "build-1", "--tag", "who=key")
    assert (first.returncode, again.returncode) == (0, 0)
    assert "is launched already, following" in again.stdout
    assert len(runs(who="key")) == 1


def test_a_build_of_a_ci_server_is_a_key(launch: Launch, runs: Any) -> None:
    for _ in range(2):
        done = launch("quick_job", "--tag", "who=ci", "--no-wait", BUILD_TAG="jenkins-fraud-17")
        assert done.returncode == 0
    assert [run["tags"]["launch/idempotency_key"] for run in runs(who="ci")] == ["jenkins-fraud-17"]


def test_a_failed_run_is_not_launched_again_by_its_key(launch: Launch, runs: Any) -> None:
    for _ in range(2):
        done = launch("failing_job", "--idempotency-key", "build-2", "--tag", "who=failed")
        assert done.returncode == 1
    assert len(runs(who="failed")) == 1


def test_other_partitions_of_a_build_are_other_runs(launch: Launch, runs: Any) -> None:
    for month in ("2024-01", "2024-02"):
        launch("monthly_job", "--partition", month, "--no-wait", "--idempotency-key", "build-3")
    assert len(runs(launch__idempotency_key="build-3")) == 2


def test_a_key_with_other_settings_is_refused(launch: Launch) -> None:
    launch("quick_job", "--no-wait", "--idempotency-key", "build-4")
    done = launch("quick_job", "--no-wait", "--idempotency-key", "build-4", "--backend", "batch")
    assert done.returncode == 2
    assert "Give another key for another run" in done.stderr


def test_launchers_at_once_agree_on_the_oldest_run(
    environment: dict[str, str], runs: Any, servers: Any
) -> None:
    command = [sys.executable, "-m", "fraud_assets.launch", "quick_job", "--tag", "who=race"]
    launchers = [
        subprocess.Popen(
            [*command, "--idempotency-key", "race"],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    said = [launcher.communicate(timeout=120)[0] for launcher in launchers]
    assert [launcher.returncode for launcher in launchers] == [0, 0, 0, 0]
    found = runs(who="race")
    assert [run["status"] for run in found].count("SUCCESS") == 1
    assert all(run["status"] in ("SUCCESS", "CANCELED") for run in found)
    oldest = found[-1]["runId"]
    assert all(oldest in text for text in said)


def test_launchers_at_once_with_other_settings_are_refused_but_for_one(
    environment: dict[str, str], network: Proxy, runs: Any
) -> None:
    """The network holds both back until neither has seen the other's run."""
    network.together = threading.Barrier(2)
    command = [sys.executable, "-m", "fraud_assets.launch", "quick_job", "--url", network.url]
    launchers = [
        subprocess.Popen(
            [*command, "--idempotency-key", "torn", "--tag", f"who={name}"],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in ("anna", "bert")
    ]
    said = [launcher.communicate(timeout=120)[1] for launcher in launchers]
    assert sorted(launcher.returncode for launcher in launchers) == [0, 2], said
    assert "Give another key for another run" in "".join(said)
    younger, oldest = runs(launch__idempotency_key="torn")
    assert (younger["status"], oldest["status"]) == ("CANCELED", "SUCCESS")


def test_an_answer_that_is_lost_launches_nothing_twice(
    launch: Launch, network: Proxy, runs: Any
) -> None:
    network.drop = 1
    done = launch("quick_job", "--url", network.url, "--tag", "who=lost")
    assert done.returncode == 0, done.stderr
    assert network.launches == 1
    assert len(runs(who="lost")) == 1


def test_a_server_that_is_busy_for_a_moment_is_asked_again(launch: Launch, network: Proxy) -> None:
    network.busy = 2
    done = launch("quick_job", "--url", network.url)
    assert done.returncode == 0, done.stderr


def test_a_token_is_sent_and_never_shown(launch: Launch, network: Proxy) -> None:
    network.token = "s3same"  # noqa: S105
    without = launch("quick_job", "--url", network.url)
    assert without.returncode == 2
    assert "does not know who you are (HTTP 401): set DAGSTER_WEBSERVER_TOKEN" in without.stderr
    done = launch("quick_job", "--url", network.url, DAGSTER_WEBSERVER_TOKEN="s3same")  # noqa: S106
    assert done.returncode == 0, done.stderr
    assert "s3same" not in done.stdout + done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_stops_the_command_stops_the_run(
    environment: dict[str, str], runs: Any, number: signal.Signals
) -> None:
    tag = f"stop-{number}"
    launcher = subprocess.Popen(
        [sys.executable, "-m", "fraud_assets.launch", "slow_job", "--tag", f"who={tag}"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert launcher.stdout is not None
    for line in launcher.stdout:
        if "sleep_a_minute  started" in line:
            break
    began = time.monotonic()
    launcher.send_signal(number)
    _, error = launcher.communicate(timeout=60)
    assert time.monotonic() - began < 20
    assert launcher.returncode == 1
    assert "slow_job was cancelled" in error
    assert [run["status"] for run in runs(who=tag)] == ["CANCELED"]


def test_a_run_that_takes_too_long_is_cancelled(launch: Launch, runs: Any) -> None:
    done = launch("slow_job", "--timeout", "1", "--tag", "who=late")
    assert done.returncode == 1
    assert "--timeout of 1 s is over" in done.stderr
    assert [run["status"] for run in runs(who="late")] == ["CANCELED"]
