"""A Dagster for a build: the one that DAGSTER_WEBSERVER_URL names, or one of the build's own.

python scripts/ci_dagster.py up       finds it, or starts one; its address is in ci/dagster.json
python scripts/ci_dagster.py down     ends the one that was started
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click
import psutil

import local_dagster
from fraud_assets.launcher.client import TOKEN_VARIABLE, URL_VARIABLE, Server, Unreachable

ROOT = Path(__file__).resolve().parents[1]
FOLDER = Path("ci")
START_SECONDS = 180.0
END_SECONDS = 30.0
_KILLED_SECONDS = 5.0
_CLOCK = 5.0
"""Seconds by which a clock that is set right moves when a process began."""

_LOADED = "{ repositoriesOrError { ... on RepositoryConnection { nodes { name } } } }"


def main() -> int:
    if sys.argv[1:] not in (["up"], ["down"]):
        print(__doc__, file=sys.stderr)
        return 2
    try:
        return _up() if sys.argv[1] == "up" else _down()
    except click.ClickException as error:
        print(f"Error: {error.format_message()}", file=sys.stderr)
        return error.exit_code


def server_url() -> str:
    """Of the Dagster of this build."""
    return str(_noted().get("url") or os.environ.get(URL_VARIABLE) or "http://127.0.0.1:3000")


def _up() -> int:
    FOLDER.mkdir(exist_ok=True)
    if url := os.environ.get(URL_VARIABLE):
        Server(url, os.environ.get(TOKEN_VARIABLE)).ask(_LOADED)
        _note(url=url)
        print(f"Dagster is at {url}")
        return 0
    port = _free_port()
    url = f"http://127.0.0.1:{port}"
    home = _home()
    held = local_dagster.hold(home)
    log = FOLDER / "dagster.log"
    with log.open("w") as stream:
        process = subprocess.Popen(  # noqa: S603 - our own command
            [sys.executable, "-m", "dagster", "dev", "--host=127.0.0.1", f"--port={port}"],
            cwd=ROOT,
            env=os.environ | {"DAGSTER_HOME": str(home)},
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
            pass_fds=[held.fileno()],  # the home is held as long as it runs
        )
    local_dagster.tell(held, f"{process.pid}, of a build in {Path.cwd()},")
    _note(url=url, pid=process.pid, began=psutil.Process(process.pid).create_time())
    if _is_ready(process, url):
        print(f"Dagster was started at {url}")
        return 0
    print(f"Dagster did not start; the end of {log}:\n{log.read_text()[-3000:]}", file=sys.stderr)
    return 1


def _is_ready(process: subprocess.Popen[bytes], url: str) -> bool:
    server = Server(url)
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(Unreachable):
            if server.ask(_LOADED)["repositoriesOrError"].get("nodes"):
                return True
        time.sleep(0.3)
    return False


def _down() -> int:
    """Webserver, daemon, code server, and the workers of runs that nobody waits for any more."""
    noted = _noted()
    if not noted.get("pid"):
        return 0
    try:
        leader = psutil.Process(noted["pid"])
        if abs(leader.create_time() - noted["began"]) > _CLOCK:  # the number is another's by now
            return 0
        family = [leader, *leader.children(recursive=True)]
        leader.send_signal(signal.SIGINT)
    except psutil.NoSuchProcess:
        return 0
    _, left = psutil.wait_procs(family, END_SECONDS)
    for process in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(left, _KILLED_SECONDS)  # its lock is free once it is gone
    print("Dagster was ended")
    return 0


def _home() -> Path:
    """Dagster's folder, with a dagster.yaml in it: the project's own, unless there is another."""
    home = Path(os.environ.get("DAGSTER_HOME") or FOLDER.parent / ".dagster").absolute()
    home.mkdir(parents=True, exist_ok=True)
    if not (home / "dagster.yaml").exists():
        (home / "dagster.yaml").unlink(missing_ok=True)
        (home / "dagster.yaml").symlink_to(ROOT / "dagster.yaml")
    return home


def _note(**facts: Any) -> None:
    (FOLDER / "dagster.json").write_text(json.dumps(facts) + "\n")


def _noted() -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((FOLDER / "dagster.json").read_text())
    except (OSError, ValueError):
        return {}
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


if __name__ == "__main__":
    sys.exit(main())
