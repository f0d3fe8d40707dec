"""Workers of a code server that is another machine's, such as another container's."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster_servers
import psutil
from dagster import DagsterInstance, DagsterRun, DagsterRunStatus
from dagster._core.launcher import WorkerStatus
from dagster._grpc.client import DagsterGrpcClient

LOCATION = Path(__file__).parents[1] / "launch" / "toy_location.py"
ELSEWHERE = "127.0.0.2"  # not what the launcher takes for this machine
SETTINGS = """\
run_launcher: {module: fraud_assets.run_launcher, class: WatchedRunLauncher}
run_coordinator: {module: dagster._core.run_coordinator, class: DefaultRunCoordinator}
"""


def test_a_code_server_that_was_started_again_has_forgotten_its_runs(tmp_path: Path) -> None:
    """As when its container is replaced: nobody else could tell that the worker is gone."""
    (tmp_path / "dagster.yaml").write_text(SETTINGS)
    port = dagster_servers.free_port()
    with DagsterInstance.from_config(str(tmp_path)) as instance:

        def health() -> WorkerStatus:
            return instance.run_launcher.check_run_worker_health(run).status

        with code_server(tmp_path, port):
            run = started(instance, tmp_path, port)
            assert health() is WorkerStatus.RUNNING
        # Nobody answers. It may be the network: the run is not given up.
        assert health() is WorkerStatus.RUNNING
        with code_server(tmp_path, port):
            assert health() is WorkerStatus.NOT_FOUND


@contextlib.contextmanager
def code_server(home: Path, port: int) -> Iterator[None]:
    """Ends as a container does, with all of its processes at once."""
    command = ["api", "grpc", f"--host={ELSEWHERE}", f"--port={port}", f"--python-file={LOCATION}"]
    server = subprocess.Popen(
        [sys.executable, "-m", "dagster", *command, "--location-name=toy"],
        env=os.environ | {"DAGSTER_HOME": str(home)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        client = DagsterGrpcClient(host=ELSEWHERE, port=port)
        wait(lambda: answers(client))
        yield
    finally:
        for process in [*psutil.Process(server.pid).children(recursive=True), server]:
            process.kill()
        server.wait()


def answers(client: DagsterGrpcClient) -> bool:
    with contextlib.suppress(Exception):
        return client.ping("") is not None
    return False


def started(instance: DagsterInstance, home: Path, port: int) -> DagsterRun:
    workspace = home / "workspace.yaml"
    where = f"{{host: {ELSEWHERE}, port: {port}, location_name: toy}}"
    workspace.write_text(f"load_from: [{{grpc_server: {where}}}]\n")
    command = ["job", "launch", "-w", str(workspace), "-j", "slow_job", "-l", "toy"]
    subprocess.run(
        [sys.executable, "-m", "dagster", *command],
        env=os.environ | {"DAGSTER_HOME": str(home)},
        check=True,
        capture_output=True,
    )
    wait(lambda: instance.get_runs()[0].status is DagsterRunStatus.STARTED)
    return instance.get_runs()[0]


def wait(ready: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.2)
