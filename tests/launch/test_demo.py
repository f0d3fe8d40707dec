"""`make demo`, as far as its Dagster goes; the jobs that it launches have tests of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_demo_that_is_stopped_leaves_no_dagster_behind(
    tmp_path: Path, number: int, port: int, cards_port: int
) -> None:
    command = [sys.executable, str(ROOT / "scripts" / "demo.py"), "--sample-size", "1000"]
    places = {"DAGSTER_HOME": str(tmp_path / "dagster"), "LAKEHOUSE_URI": str(tmp_path / "lake")}
    demo = subprocess.Popen(
        command,
        env=os.environ | places | {"METAFLOW_DATASTORE_SYSROOT_LOCAL": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert demo.stdout is not None
    with demo.stdout:
        assert next(demo.stdout) == "Starting Dagster ...\n"
        assert next(demo.stdout).startswith("Dagster is at http://127.0.0.1:")
        started = psutil.Process(demo.pid).children(recursive=True)
        assert any("dagster_webserver" in " ".join(one.cmdline()) for one in started)
        ui = [sys.executable, str(ROOT / "scripts" / "ui.py")]
        second = subprocess.run(
            [*ui, f"--port={port}", f"--cards-port={cards_port}"],
            env=os.environ | places, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert second.returncode == 1
        assert f"Process {demo.pid}, a `make ui` or `make demo`, has a Dagster in" in second.stderr
        while "/runs/" not in next(demo.stdout):
            pass  # the launcher has launched its run, and follows it
        started += psutil.Process(demo.pid).children(recursive=True)
        demo.send_signal(number)
        told = demo.stdout.read()
        assert demo.wait(60) == 128 + number
        assert "Traceback" not in told
    _, left = psutil.wait_procs(started, timeout=20)
    assert left == []
