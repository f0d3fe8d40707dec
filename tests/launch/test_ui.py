"""`make ui`: Dagster's pages, and an end that is as quiet as its beginning."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import requests

ROOT = Path(__file__).parents[2]


@pytest.fixture
def port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture
def ui(tmp_path: Path, port: int) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    begun = []

    def begin() -> subprocess.Popen[str]:
        places = {"DAGSTER_HOME": str(tmp_path / "home"), "LAKEHOUSE_URI": str(tmp_path / "lake")}
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "scripts" / "ui.py"), "--port", str(port)],
            env=os.environ | places,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        begun.append(process)
        return process

    yield begin
    for process in begun:
        process.terminate()
        process.communicate(timeout=60)


def test_ctrl_c_ends_the_pages_and_all_that_serves_them_without_a_trace(
    ui: Callable[[], subprocess.Popen[str]], port: int, tmp_path: Path
) -> None:
    process = ui()
    assert process.stdout is not None
    assert process.stdout.readline() == "Starting Dagster ...\n"
    assert process.stdout.readline() == (
        f"Dagster is at http://127.0.0.1:{port}; Ctrl-C ends it. "
        f"Its log: {tmp_path / 'home' / 'ui.log'}\n"
    )
    assert requests.get(f"http://127.0.0.1:{port}/assets", timeout=30).ok
    started = psutil.Process(process.pid).children(recursive=True)
    assert len(started) > 1
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=60)
    assert (rest, process.returncode) == ("\nEnding Dagster ...\n", 0)
    _, left = psutil.wait_procs(started, timeout=20)
    assert left == []


def test_ctrl_c_while_it_starts_is_heard(ui: Callable[[], subprocess.Popen[str]]) -> None:
    process = ui()
    assert process.stdout is not None
    assert process.stdout.readline() == "Starting Dagster ...\n"
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=60)
    assert (rest, process.returncode) == ("\nEnding Dagster ...\n", 0)


def test_a_port_that_somebody_has_is_said_at_once(
    ui: Callable[[], subprocess.Popen[str]], port: int
) -> None:
    with socket.create_server(("127.0.0.1", port)):
        process = ui()
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert said.startswith(f"Port {port} of this machine is taken")
    assert f"--port {port + 1}" in said
