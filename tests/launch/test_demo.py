"""`make demo`, as far as its Dagster goes; the jobs that it launches have tests of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]


def test_a_demo_that_is_stopped_leaves_no_dagster_behind(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "scripts" / "demo.py"), "--sample-size", "1000"]
    places = {"DAGSTER_HOME": str(tmp_path / "dagster"), "LAKEHOUSE_URI": str(tmp_path / "lake")}
    demo = subprocess.Popen(
        command,
        env=os.environ | places | {"METAFLOW_DATASTORE_SYSROOT_LOCAL": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert demo.stdout is not None
    with demo.stdout:
        assert next(demo.stdout) == "Starting Dagster ...\n"
        assert next(demo.stdout).startswith("Dagster is at http://127.0.0.1:")
        started = psutil.Process(demo.pid).children(recursive=True)
        assert any("dagster_webserver" in " ".join(one.cmdline()) for one in started)
        demo.terminate()
        assert demo.wait(60) == 128 + signal.SIGTERM
    _, left = psutil.wait_procs(started, timeout=20)
    assert left == []
