"""Builds of the real Jenkinsfile on this machine, in a checkout of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
INTERPRETER = HERE / "groovy" / "run.groovy"
QUICK = "tests/test_quick.py"
_QUICK = """import os


def test_that_the_agent_s_own_lakehouse_and_chat_room_reach_no_test() -> None:
    assert not [name for name in os.environ if name.startswith(("FRAUD_", "LAKEHOUSE_"))]
"""
MARKED = "dagster-t0ken-of-this-test"
# Of a shell that no CI server has set up, and of nobody's lakehouse.
_LEFT_OUT = ("BUILD_", "DAGSTER_", "FRAUD_", "LAKEHOUSE", "SNOWFLAKE", "AZURE", "AWS", "CI", "GIT")


@dataclass(frozen=True)
class Ended:
    """result: as Jenkins calls it. output: what the build's page shows."""

    result: str
    output: str
    events: list[dict[str, Any]]
    workspace: Path

    def stages(self) -> dict[str, str]:
        return {e["name"]: e["result"] for e in self.events if e["event"] == "stage"}

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [e for e in self.events if e["event"] == kind]

    @property
    def archived(self) -> list[str]:
        return [name for event in self.of("archive") for name in event["files"]]

    def json(self, name: str) -> Any:
        return json.loads((self.workspace / "ci" / name).read_text())


@dataclass
class Jenkins:
    """folder: of workspace and settings. credentials: secrets by id. environment: of the agent."""

    folder: Path
    credentials: dict[str, str]
    environment: dict[str, str] = field(default_factory=dict)
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def workspace(self) -> Path:
        return self.folder / "workspace"

    @property
    def events_file(self) -> Path:
        return self.folder / "events.jsonl"

    def check_out(self) -> None:
        """What Git has, and what is about to be committed, as a repository of its own."""
        if self.workspace.exists():
            return
        listed = subprocess.run(
            ["git", "ls-files", "-coz", "--exclude-standard"], cwd=ROOT, capture_output=True
        ).stdout
        self.workspace.mkdir(parents=True)
        there = b"\0".join(n for n in listed.split(b"\0") if n and (ROOT / n.decode()).is_file())
        pack = ["tar", "--create", "--null", "--files-from=-"]
        tar = subprocess.run(pack, cwd=ROOT, input=there, capture_output=True, check=True)
        unpack = ["tar", "--extract", "-C", str(self.workspace)]
        subprocess.run(unpack, input=tar.stdout, check=True)
        quick = self.workspace / QUICK
        quick.write_text(_QUICK)
        for command in (
            "init -q",
            "add -A",
            "-c user.name=Ann -c user.email=a@example.org commit -qm Parcels",
        ):
            subprocess.run(["git", "-C", str(self.workspace), *command.split()], check=True)

    def start(
        self,
        approve: bool = True,
        *,
        first: bool = False,
        jenkinsfile: Path | None = None,
        meanwhile: Sequence[str] = (),
        **params: Any,
    ) -> subprocess.Popen[str]:
        """first: build of the branch. meanwhile: a command that runs while approval is waited for.
        Jenkins' own times for a step that is stopped, 5 s and 20 s, are a tenth of that here."""
        self.check_out()
        self.events_file.unlink(missing_ok=True)
        settings = {
            "jenkinsfile": str(jenkinsfile or self.workspace / "Jenkinsfile"),
            "workspace": str(self.workspace),
            "events": str(self.events_file),
            "params": params,
            "credentials": self.credentials,
            "approve": approve,
            "meanwhile": list(meanwhile),
            "first": first,
            "softKillSeconds": 0.5,
            "giveUpSeconds": 2,
            "environment": {
                "JENKINS_URL": "http://jenkins.example.org/",
                "JOB_NAME": "fraud/main",
                "BRANCH_NAME": "main",
                "BUILD_NUMBER": "17",
                "BUILD_TAG": f"jenkins-fraud-main-{time.time_ns()}",
                "BUILD_URL": "http://jenkins.example.org/job/fraud/17/",
                **({} if first else {"GIT_PREVIOUS_SUCCESSFUL_COMMIT": "HEAD"}),
                **self.environment,
            },
        }
        file = self.folder / "settings.json"
        file.write_text(json.dumps(settings))
        process = subprocess.Popen(
            ["groovy", str(INTERPRETER), str(file)],
            env=agent_environment() | {"CI_VENV": str(Path(sys.prefix))},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.processes.append(process)
        return process

    def end(self, process: subprocess.Popen[str], seconds: float = 240) -> Ended:
        output, _ = process.communicate(timeout=seconds)
        events = [json.loads(line) for line in self.events_file.read_text().splitlines()]
        result = next((e["result"] for e in events if e["event"] == "finished"), "none")
        return Ended(result, output, events, self.workspace)

    def build(self, approve: bool = True, **given: Any) -> Ended:
        return self.end(self.start(approve, **given))

    def wait_for(self, found: Callable[[], Any], what: str, seconds: float = 120) -> Any:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if (value := found()) or self.processes[-1].poll() is not None:
                return value
            time.sleep(0.2)
        raise TimeoutError(what)

    def stop_all(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()


def agent_environment() -> Mapping[str, str]:
    """Java's home is where its program is: Debian's groovy looks where there is none."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(_LEFT_OUT)}
    java = subprocess.run(["which", "java"], capture_output=True, text=True).stdout.strip()
    return kept | {"JAVA_HOME": str(Path(java).resolve().parents[1])} if java else kept
