"""The sensor under Dagster's own daemon, on a stored instance, killed in the middle of a tick."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import pytest
from external_kit import evaluations, materializations, publish

from dagster_metaflow.reports import Check

DEFINITIONS = """
import dagster as dg
from dagster_metaflow import build_external_runs_sensor

defs = dg.Definitions(
    sensors=[
        build_external_runs_sensor(
            ledger_root={lake!r},
            minimum_interval_seconds=1,
            default_status=dg.DefaultSensorStatus.RUNNING,
        )
    ]
)
"""


@contextmanager
def running_daemon(home: Path, definitions: Path) -> Iterator[None]:
    """Killed with all that it started, without a word."""
    command = ["dagster-daemon", "run", "-f", str(definitions)]
    command[0] = str(Path(sys.executable).with_name(command[0]))
    with (home / "daemon.log").open("ab") as log:
        started = subprocess.Popen(
            command,
            env={**os.environ, "DAGSTER_HOME": str(home)},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield
    finally:
        os.killpg(started.pid, signal.SIGKILL)
        started.wait()


def wait_for(what: Callable[[], bool], home: Path, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, (home / "daemon.log").read_text()[-3000:]
        time.sleep(0.02)


@pytest.mark.flow
def test_a_daemon_killed_in_a_tick_goes_on_where_it_was(tmp_path: Path) -> None:
    home, lake = tmp_path / "home", tmp_path / "lake"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    definitions = tmp_path / "definitions.py"
    definitions.write_text(DEFINITIONS.format(lake=str(lake)))
    launches = [f"{number:03}" for number in range(150)]
    for minute, launch in enumerate(launches):
        publish(lake, launch, minute=minute, checks=[Check(name="fine", passed=True)])
    with dg.DagsterInstance.from_config(str(home)) as instance:
        with running_daemon(home, definitions):
            wait_for(lambda: len(materializations(instance)) > 20, home)
        stored = len(materializations(instance))
        assert stored < len(launches)
        with running_daemon(home, definitions):
            wait_for(lambda: len(evaluations(instance, "fine")) >= len(launches), home)
            publish(lake, "new")
            wait_for(lambda: "new" in materializations(instance), home)
        assert materializations(instance) == [*launches, "new"]
        assert evaluations(instance, "fine") == launches
