"""A webserver that takes questions and never answers: who stops the command is heard."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flaky_proxy import proxy
from odd_server import conversing

from fraud_assets.launcher import client, follow, submit
from fraud_assets.launcher.client import Server, Unreachable
from fraud_assets.launcher.events import Story
from fraud_assets.launcher.follow import Follower
from fraud_assets.launcher.jobs import Job
from fraud_assets.launcher.submit import Launched, Request, launch

JOB = Job("slow_job", "repository", "location")


@pytest.fixture
def silent() -> Iterator[Server]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield Server(f"http://127.0.0.1:{listening.getsockname()[1]}")


def test_who_stops_the_command_is_answered_at_once_and_the_run_ends_when_the_server_is_back(
    environment: dict[str, str], runs: Callable[..., Any], servers: Any
) -> None:
    with proxy(servers.url) as network:
        command = [sys.executable, "-u", "-m", "fraud_assets.launch", "slow_job"]
        launcher = subprocess.Popen(
            [*command, "--tag", "who=silent", "--url", network.url],
            cwd=Path(__file__).parents[2],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert launcher.stdout is not None
        assert launcher.stderr is not None
        for line in launcher.stdout:
            if "sleep_a_minute  started" in line:
                break
        network.awake.clear()
        time.sleep(1.0)  # until a question is out
        began = time.monotonic()
        launcher.send_signal(signal.SIGINT)
        assert launcher.stderr.readline().startswith("Stopping, which may take a minute")
        assert any("cancelling run" in line for line in launcher.stdout)
        assert time.monotonic() - began < 5
        network.awake.set()
        _, error = launcher.communicate(timeout=60)
    assert launcher.returncode == 1
    assert "slow_job was cancelled" in error
    assert [run["status"] for run in runs(who="silent")] == ["CANCELED"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_before_the_job_is_found_it_ends_at_once_and_says_that_nothing_runs(
    number: signal.Signals,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        launcher = subprocess.Popen(
            [sys.executable, "-m", "fraud_assets.launch", "slow_job", "--url", url],
            cwd=Path(__file__).parents[2],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        asking, _ = listening.accept()
        with asking:
            assert asking.recv(10_000).startswith(b"POST /graphql")
            began = time.monotonic()
            launcher.send_signal(number)
            said = launcher.communicate(timeout=20)
            assert time.monotonic() - began < 10  # an answer is waited for for a minute
    assert said == ("", "Error: Stopped before anything was launched.\n")
    assert launcher.returncode == 2


def test_a_server_that_is_slow_is_waited_for_until_it_says_how_the_run_has_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Longer than until it is asked again."""
    monkeypatch.setattr(follow, "TRY_SECONDS", 0.3)
    monkeypatch.setattr(follow, "CANCEL_SECONDS", 2.0)
    cancelled: list[bytes] = []

    def answer(question: bytes) -> bytes:
        if b"terminateRun" in question:
            cancelled.append(question)
            return b'{"data": {"terminateRun": {"__typename": "TerminateRunSuccess"}}}'
        status = b"CANCELED" if cancelled else b"STARTED"
        return (
            b'{"data": {"runOrError": {"__typename": "Run", "status": "%b", "tags": []}, '
            b'"logsForRun": {"cursor": "1", "hasMore": false, "events": []}}}' % status
        )

    said: list[str] = []
    stop = threading.Event()
    stop.set()
    with conversing(answer, seconds=1.5) as url:
        follower = Follower(Server(url), JOB, Story(tell=said.append), stop, None)
        outcome = follower.follow(Launched("r1", followed=False, request="mark"))
    assert (outcome.status, outcome.reason) == ("CANCELED", "stopped")
    assert said == ["Stopped: cancelling run r1", "The webserver does not answer; trying again"]


@pytest.mark.parametrize("timeout", [None, 0.5])
def test_a_run_that_cannot_be_cancelled_is_said_to_go_on(
    silent: Server, monkeypatch: pytest.MonkeyPatch, timeout: float | None
) -> None:
    monkeypatch.setattr(follow, "CANCEL_SECONDS", 1.0)
    monkeypatch.setattr(follow, "TRY_SECONDS", 0.5)
    said: list[str] = []
    stop = threading.Event()
    if timeout is None:
        threading.Timer(0.5, stop.set).start()
    follower = Follower(silent, JOB, Story(tell=said.append), stop, timeout)
    began = time.monotonic()
    with pytest.raises(Unreachable, match="Run r1 could not be cancelled and goes on") as problem:
        follower.follow(Launched("r1", followed=False, request="mark"))
    assert time.monotonic() - began < 5
    assert problem.value.exit_code == 2
    assert "cancelling run r1" in said[0]


def test_a_launch_that_is_stopped_before_its_answer_says_where_to_look_for_the_run(
    silent: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "ORDER_SECONDS", 0.5)
    monkeypatch.setattr(submit, "LOST_ANSWER_SECONDS", 0.5)
    began = time.monotonic()
    with (
        silent.patience(lambda: True),
        pytest.raises(Unreachable, match=r"may have been launched nevertheless.*launch/request="),
    ):
        launch(silent, Request(JOB))
    assert time.monotonic() - began < 5


def test_a_question_is_not_waited_for_longer_than_said(
    silent: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often it is asked again."""
    monkeypatch.setattr(client, "ANSWER_SECONDS", 0.5)
    began = time.monotonic()
    with pytest.raises(Unreachable, match="nothing came within"):
        silent.ask("{ version }")
    assert time.monotonic() - began < 2
