"""Flows as their users run them: processes of their own, in a folder of their own."""

from __future__ import annotations

import json
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
from typing import Any

from dagster_metaflow.reports import AssetReport, read_reports
from fraud_mlops.lakehouse.partitions import Lakehouse

FLOWS = Path(__file__).parents[2] / "flows"

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
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return path

    def start(self, *arguments: str, flow: str = "fraud_detection_flow") -> subprocess.Popen[str]:
        self.folder.mkdir(parents=True, exist_ok=True)
        # Trainings that share a temporary folder share cores: none waits for another test's.
        temporary = self.folder / "tmp"
        temporary.mkdir(exist_ok=True)
        environment = os.environ | {
            "TMPDIR": str(temporary),
            "METAFLOW_DATASTORE_SYSROOT_LOCAL": str(self.folder / "metaflow"),
            "METAFLOW_HOME": str(self.folder / "home"),
            "PYTHONUNBUFFERED": "1",
        }
        environment.pop("LAKEHOUSE_URI", None)
        process = subprocess.Popen(
            [sys.executable, str(FLOWS / f"{flow}.py"), *arguments],
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.started.append(process)
        return process

    def flow(self, *arguments: str, flow: str = "fraud_detection_flow") -> Ended:
        process = self.start(*arguments, flow=flow)
        output, _ = process.communicate(timeout=600)
        return Ended(process.returncode, output)

    def run(
        self, *arguments: str, candidates: str = QUICK, flow: str = "fraud_detection_flow"
    ) -> Ended:
        return self.flow("run", *self.options(flow, candidates), *arguments, flow=flow)

    def options(self, flow: str, candidates: str = QUICK) -> list[str]:
        """Quick candidates for a flow that trains, and where to write."""
        file = self.file("candidates.yaml", candidates)
        trains = flow in ("fraud_detection_flow", "training_flow")
        quick = ["--candidates-file", str(file)] if trains else []
        return [*quick, "--output-uri", str(self.root)]

    def reports(self, flow: str, launch: str, dataset: str = "synthetic_claims") -> Reported:
        """The report of each asset that the launch has published."""
        found = read_reports(str(self.root), flow, launch)
        assert {report.asset_key[0] for report in found} <= {dataset}
        return {report.asset_key[1]: Report.of(report) for report in found}

    def champion(self, dataset: str = "synthetic_claims") -> str:
        pointer = json.loads((self.root / "models" / dataset / "champion.json").read_text())
        return str(pointer["version"])

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
class Report:
    """An asset report in plain values: metadata by partition, checks by name."""

    partitions: dict[str | None, dict[str, Any]]
    passed: dict[str, bool]
    severity: dict[str, str]
    facts: dict[str, dict[str, Any]]

    @classmethod
    def of(cls, report: AssetReport) -> Report:
        made = cls({}, {}, {}, {})
        for message in report.messages:
            params = message["params"]
            metadata = {name: value["raw_value"] for name, value in params["metadata"].items()}
            if message["method"] == "report_asset_materialization":
                metadata["data_version"] = params["data_version"]
                made.partitions[metadata.get("partition")] = metadata
            else:
                name = params["check_name"]
                made.passed[name], made.severity[name] = params["passed"], params["severity"]
                made.facts[name] = metadata
        return made


Reported = dict[str, Report]


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


def kill_once(process: subprocess.Popen[str], happened: Callable[[], bool]) -> Ended:
    """Kills the run as soon as what it leaves behind is what is waited for.

    It goes on for 2 ms at a time and stands still while it is looked at: it cannot run away from a
    test that has to wait for a core.
    """
    lines: list[str] = []
    assert process.stdout is not None
    reader = threading.Thread(target=lines.extend, args=(process.stdout,))
    reader.start()
    end = time.monotonic() + 300
    while process.poll() is None and time.monotonic() < end:
        os.killpg(process.pid, signal.SIGSTOP)
        if happened():
            break
        os.killpg(process.pid, signal.SIGCONT)
        time.sleep(0.002)
    kill(process)
    reader.join()
    process.stdout.close()
    return Ended(process.returncode, "".join(lines))


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
