"""`make ui`: Dagster's pages, and an end that is as quiet as its beginning."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psutil
import pytest
import requests

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "scripts"
HURRIED = f"""
import os, signal, subprocess, sys
sys.path.insert(0, {str(SCRIPTS)!r})
import ui

class Interrupted(subprocess.Popen):
    def __init__(self, *given, **named):
        super().__init__(*given, **named)
        os.kill(os.getpid(), signal.SIGINT)

subprocess.Popen = Interrupted
sys.exit(ui.main())
"""
"""Ctrl-C in the instant in which Dagster's process has begun and nobody knows of it yet."""


@pytest.fixture
def ui(
    tmp_path: Path, port: int, cards_port: int
) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    begun = []

    def begin(*program: str, ports: Sequence[str] = ()) -> subprocess.Popen[str]:
        ports = ports or ["--port", str(port), "--cards-port", str(cards_port)]
        places = {"DAGSTER_HOME": str(tmp_path / "home"), "LAKEHOUSE_URI": str(tmp_path / "lake")}
        process = subprocess.Popen(
            [sys.executable, *(program or (str(SCRIPTS / "ui.py"),)), *ports],
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
    ui: Callable[..., subprocess.Popen[str]], port: int, cards_port: int, tmp_path: Path
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
    cards = f"http://127.0.0.1:{cards_port}"
    assert {each.environ()["FRAUD_CARDS_URL"] for each in started} == {cards}
    assert "Cards are at" in requests.get(f"{cards}/elsewhere", timeout=30).text
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=60)
    assert (rest, process.returncode) == ("\nEnding Dagster ...\n", 0)
    _, left = psutil.wait_procs(started, timeout=20)
    assert left == []


def test_ctrl_c_while_it_starts_leaves_nothing_behind(
    ui: Callable[..., subprocess.Popen[str]], port: int
) -> None:
    process = ui()
    assert process.stdout is not None
    assert process.stdout.readline() == "Starting Dagster ...\n"
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=60)
    assert (rest, process.returncode) == ("\nEnding Dagster ...\n", 0)
    assert none_serves(port)


def test_ctrl_c_in_the_instant_in_which_dagster_begins_leaves_nothing_behind(
    ui: Callable[..., subprocess.Popen[str]], port: int
) -> None:
    process = ui("-c", HURRIED)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert none_serves(port)


def none_serves(port: int) -> bool:
    running = [each.info["cmdline"] or [] for each in psutil.process_iter(["cmdline"])]
    return not [command for command in running if f"--port={port}" in command]


def test_a_port_that_somebody_has_is_said_at_once(
    ui: Callable[..., subprocess.Popen[str]], port: int
) -> None:
    with socket.create_server(("127.0.0.1", port)):
        process = ui()
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert said.startswith(f"Port {port} of this machine is taken")
    assert f"--port {port + 1}" in said


@pytest.mark.parametrize(
    ("ports", "words"),
    [
        (["--port", "99999"], "--port: 99999 is no port; take one from 1 to 65535"),
        (["--cards-port", "0"], "--cards-port: 0 is no port; take one from 1 to 65535"),
        (["--port", "3000", "--cards-port", "3000"], "--cards-port: 3000 is that of the pages"),
    ],
)
def test_what_is_no_port_is_said_in_words(
    ui: Callable[..., subprocess.Popen[str]], ports: list[str], words: str
) -> None:
    process = ui(ports=ports)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    assert words in said
    assert "Traceback" not in said
