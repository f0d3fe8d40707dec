"""A Dagster deployment for a test or a benchmark: webserver and daemon, as operators run them.

    with dagster(folder, location) as servers:
        requests.post(servers.url + "/graphql", ...)

DAGSTER_HOME is `folder` with the project's own dagster.yaml; everything ends with the block.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
import yaml

ROOT = Path(__file__).parents[1]
START_SECONDS = 90.0
STOP_SECONDS = 20.0


@dataclass
class Servers:
    """Running servers. `logs` are their outputs, for the message when one dies."""

    url: str
    home: Path
    environment: dict[str, str]
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    commands: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def query(self, text: str, **variables: Any) -> Any:
        """The `data` of a GraphQL answer.

        Raises:
            RuntimeError: the server found errors in the query.
        """
        answer = requests.post(
            f"{self.url}/graphql", json={"query": text, "variables": variables}, timeout=30
        ).json()
        if "errors" in answer:
            raise RuntimeError(answer["errors"])
        return answer["data"]

    def start(self, name: str, *arguments: str) -> None:
        """`name`: a command beside this Python, which becomes the leader of a process group."""
        self.commands[name] = arguments
        with (self.home / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [str(Path(sys.executable).with_name(name)), *arguments],
                cwd=self.home,
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def stop(self, name: str) -> None:
        """Asks, waits, and ends whatever is left of its group."""
        process = self.processes.pop(name)
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGINT)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            pass
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def restart(self, name: str) -> None:
        """After a kill, with the same arguments; it may take a while to be up."""
        self.start(name, *self.commands[name])

    def kill(self, name: str) -> None:
        """SIGKILL for the server and all its children, which get no chance to say a word."""
        process = self.processes.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def wait(self, what: str, ready: str) -> None:
        """Until the GraphQL query `ready` holds no False. Raises RuntimeError with the logs."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            dead = [name for name, process in self.processes.items() if process.poll() is not None]
            if dead:
                break
            with contextlib.suppress(requests.RequestException, RuntimeError, ValueError):
                if _all_true(self.query(ready)):
                    return
            time.sleep(0.2)
        logs = "\n".join(
            f"--- {path.name}\n{path.read_text()[-3000:]}" for path in self.home.glob("*.log")
        )
        raise RuntimeError(f"{what} did not come up:\n{logs}")


def _all_true(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(_all_true(one) for one in value.values())
    if isinstance(value, list):
        return bool(value) and all(_all_true(one) for one in value)
    return value not in (False, None)


@contextlib.contextmanager
def dagster(
    home: Path,
    location: Path,
    *,
    daemon: bool = True,
    environment: Mapping[str, str] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Iterator[Servers]:
    """Everything runs, and the code location is loaded, when the block begins.

    Args:
        location: a Python file with definitions; its folder is importable.
        settings: laid over the top of dagster.yaml.
    """
    home.mkdir(parents=True, exist_ok=True)
    _write_instance(home, settings or {})
    port = free_port()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DAGSTER_")}
    paths = [str(ROOT), str(location.parent), *filter(None, [kept.get("PYTHONPATH")])]
    own = {"DAGSTER_HOME": str(home), "PYTHONPATH": os.pathsep.join(paths)}
    url = f"http://127.0.0.1:{port}"
    servers = Servers(url, home, kept | own | dict(environment or {}))
    code = ["--python-file", str(location)]
    try:
        servers.start("dagster-webserver", *code, "--host", "127.0.0.1", "--port", str(port))
        servers.wait("The webserver with its code location", _CODE_LOADED)
        if daemon:
            servers.start("dagster-daemon", "run", *code)
            servers.wait("The daemon", _QUEUE_RUNS)
        yield servers
    finally:
        for name in list(servers.processes):
            servers.stop(name)


def _write_instance(home: Path, settings: Mapping[str, Any]) -> None:
    instance = yaml.safe_load((ROOT / "dagster.yaml").read_text())
    (home / "dagster.yaml").write_text(yaml.safe_dump(instance | dict(settings)))


_CODE_LOADED = "{ repositoriesOrError { ... on RepositoryConnection { nodes { name } } } }"
_QUEUE_RUNS = """
{ instance { daemonHealth { daemonStatus(daemonType: "QUEUED_RUN_COORDINATOR") { healthy } } } }
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
