"""Flows as their users run them: processes of their own, in a folder of their own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from fraud_mlops.lakehouse.partitions import Lakehouse

FLOW = Path(__file__).parents[2] / "flows" / "fraud_detection_flow.py"

QUICK = """\
- {name: small, family: mlp, seed: 1, params: {epochs: 4, width: 32, blocks: 1, bins: 8}}
- {name: line, family: logistic, seed: 2, params: {epochs: 4}}
"""


@dataclass
class Place:
    """A lakehouse and a Metaflow datastore that nobody else uses."""

    folder: Path
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def root(self) -> Path:
        return self.folder / "lake"

    @property
    def lake(self) -> Lakehouse:
        return Lakehouse(str(self.root))

    def file(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return path

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        self.folder.mkdir(parents=True, exist_ok=True)
        environment = os.environ | {
            "METAFLOW_DATASTORE_SYSROOT_LOCAL": str(self.folder / "metaflow"),
            "METAFLOW_HOME": str(self.folder / "home"),
            "PYTHONUNBUFFERED": "1",
        }
        environment.pop("LAKEHOUSE_URI", None)
        process = subprocess.Popen(
            [sys.executable, str(FLOW), *arguments],
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.started.append(process)
        return process

    def flow(self, *arguments: str) -> Ended:
        process = self.start(*arguments)
        output, _ = process.communicate(timeout=600)
        return Ended(process.returncode, output)

    def run(self, *arguments: str, candidates: str = QUICK) -> Ended:
        file = self.file("candidates.yaml", candidates)
        given = ["--candidates-file", str(file), "--output-uri", str(self.root), *arguments]
        return self.flow("run", *given)

    def versions(self) -> dict[str, str]:
        """Data version of every partition of every zone that a run publishes."""
        dataset = [p.name for p in (self.root / "raw").iterdir()]
        return {
            f"{zone}/{p.value}": p.data_version
            for zone in ("raw", "ml_outputs", "metrics")
            for name in dataset
            for p in self.lake.partitions(zone, name)
        }

    def stop_all(self) -> None:
        for process in self.started:
            if process.poll() is None:
                kill(process)


@dataclass(frozen=True)
class Ended:
    code: int
    output: str

    @property
    def run_id(self) -> str:
        match = re.search(r"run-id (\d+)", self.output)
        assert match, self.output
        return match[1]


def kill(process: subprocess.Popen[str]) -> None:
    """SIGKILL for the run and every task of it: a machine that goes away."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def kill_when(process: subprocess.Popen[str], seen: Callable[[str], bool]) -> Ended:
    """Kills the run as soon as one of its lines is what is waited for."""
    lines: list[str] = []
    timer = threading.Timer(300, lambda: kill(process))
    timer.start()
    assert process.stdout is not None
    for line in process.stdout:
        lines.append(line)
        if seen(line):
            break
    timer.cancel()
    time.sleep(0.05)
    kill(process)
    process.stdout.close()
    return Ended(process.returncode, "".join(lines))
