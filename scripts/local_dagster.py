"""A Dagster of one's own on this machine, for as long as it is wanted: `make demo`, `make ui`."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parents[1]
PORT = 3000
CARDS_PORT = 3070
_START_SECONDS = 120
_END_SECONDS = 30


def dagster_home() -> Path:
    """Dagster's folder, with a dagster.yaml in it: the project's own, unless there is another."""
    home = Path(os.environ.setdefault("DAGSTER_HOME", str(ROOT / ".dagster"))).absolute()
    home.mkdir(parents=True, exist_ok=True)
    if not (home / "dagster.yaml").exists():
        (home / "dagster.yaml").unlink(missing_ok=True)
        (home / "dagster.yaml").symlink_to(ROOT / "dagster.yaml")
    return home


@contextlib.contextmanager
def dagster(
    port: int, log: Path, cards_port: int | None = CARDS_PORT
) -> Iterator[subprocess.Popen[bytes]]:
    """`dagster dev`, ready to take jobs; ended with everything that it started.

    cards_port: where `make ui` serves cards, which what is materialized links to; None for nowhere.
    It has a session of its own: Ctrl-C is for whoever started it to hear, who ends it in order.
    """
    process: subprocess.Popen[bytes] | None = None
    held = hold(dagster_home())
    tell(held, f"{os.getpid()}, a `make ui` or `make demo`,")
    print("Starting Dagster ...", flush=True)
    try:
        with signals_wait():
            process = _start(port, log, cards_port)
        _wait_until_ready(process, address(port), log)
        yield process
    finally:
        if process is not None:
            _end(process)
        held.close()


def hold(home: Path) -> IO[str]:
    """Two daemons of one home would take the same runs out of its queue. Held until it is closed
    here and in what it was passed on to. Ends the program where somebody else holds it."""
    held = (home / "one-dagster.lock").open("a+")
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        held.seek(0)
        sys.exit(
            f"Process {held.read().strip()} has a Dagster in {home}. "
            "End that first, or set DAGSTER_HOME to another folder."
        )
    return held


def tell(held: IO[str], who: str) -> None:
    """To whoever finds it held."""
    held.truncate(0)
    print(who, file=held, flush=True)


def _start(port: int, log: Path, cards_port: int | None) -> subprocess.Popen[bytes]:
    cards = {} if cards_port is None else {"FRAUD_CARDS_URL": address(cards_port)}
    with log.open("w") as stream:
        return subprocess.Popen(  # noqa: S603 - our own command
            [sys.executable, "-m", "dagster", "dev", "--host=127.0.0.1", f"--port={port}"],
            cwd=ROOT,
            env={**cards, **os.environ},
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )


@contextlib.contextmanager
def signals_wait() -> Iterator[None]:
    """What asks us to end in here is heard at its end: a process that has just been started must
    be known before anybody can ask to end it, or it would stay behind."""
    heard: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {n: signal.signal(n, lambda got, _: heard.append(got)) for n in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for again in heard:
            signal.raise_signal(again)


def address(port: int) -> str:
    return f"http://127.0.0.1:{port}"


def is_free(port: int) -> bool:
    return why_not(port) is None


def why_not(port: int) -> str | None:
    """Why nothing of ours can be served there, in words; None where it can."""
    with socket.socket() as listener:
        # As servers do: a port that somebody has just left counts as free.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except PermissionError:
            return "is the system's own, which only root may use"
        except OSError:
            return "is taken"
    return None


def free_port() -> int:
    """3000 if nobody has it."""
    if is_free(PORT):
        return PORT
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-15:])


def _wait_until_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            sys.exit(f"Dagster did not start; the end of {log}:\n{tail(log)}")
        with contextlib.suppress(OSError, ValueError):
            if _has_jobs(url):
                return
        time.sleep(0.3)
    sys.exit(f"Dagster was not ready within {_START_SECONDS} s; the end of {log}:\n{tail(log)}")


def _has_jobs(url: str) -> bool:
    query = "{ repositoriesOrError { ... on RepositoryConnection { nodes { name } } } }"
    request = urllib.request.Request(  # noqa: S310 - a loopback address of our own
        f"{url}/graphql",
        data=json.dumps({"query": query}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310 - likewise
        found: Any = json.load(answer)
    return bool(found["data"]["repositoriesOrError"].get("nodes"))


def _end(process: subprocess.Popen[bytes]) -> None:
    """As Ctrl-C: Dagster ends its servers in order; what is left after a while is killed."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_END_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
