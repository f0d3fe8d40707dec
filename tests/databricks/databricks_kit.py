"""The toy on Databricks: a Git repository with this library in it, and runs of three steps."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workspace_runs import kill
from workspace_server import LocalWorkspace

from dagster_metaflow.backends.databricks import DatabricksBackend
from dagster_metaflow.backends.databricks_attempt import Attempt
from dagster_metaflow.backends.protocol import Handle, LaunchRequest
from dagster_metaflow.testing.folder_stage import FolderStage

ROOT = Path(__file__).parents[2]
TOYS = (
    Path(__file__).parent / "toy" / "shell_flow.py",
    Path(__file__).parent / "toy" / "telling_flow.py",
    ROOT / "tests" / "cloud" / "toy" / "cloud_toy_flow.py",
)
BUNDLE = """
bundle: {name: toy}
variables: {lakehouse_uri: {description: root}, size: {default: 5}, folder: {description: toy's}}
resources:
  jobs:
    shell:
      name: shell
      permissions: [{group_name: users, level: CAN_VIEW}]
      tasks:
        - task_key: flow
          environment_key: Default
          disable_auto_optimization: true
          spark_python_task: &python
            python_file: scripts/databricks_entry.py
            parameters:
              - --flow=flows/shell_flow.py
              - --store=${var.lakehouse_uri}
              - --token={{job.run_id}}
              - --variable=SHELL_FOLDER=${var.folder}
              - --
              - --size=${var.size}
      environments: &environments
        - environment_key: Default
          spec: {environment_version: "4", dependencies: [-r requirements.txt]}
    retried:
      name: retried
      queue: {enabled: true}
      tasks:
        - task_key: flow
          environment_key: Default
          disable_auto_optimization: true
          max_retries: 1
          min_retry_interval_millis: 700
          spark_python_task: *python
      environments: *environments
targets: {dev: {mode: development, default: true}, prod: {variables: {size: 9}}}
"""
QUICK: dict[str, Any] = {"look_seconds": 0.05, "most_look_seconds": 0.1}


def number_in(told: str) -> int:
    """Of the run that the script tells of."""
    found = re.search(r"^run (\d+)", told, re.MULTILINE)
    assert found, told
    return int(found[1])


@dataclass(frozen=True)
class Repository:
    """Of Git, with a branch `main`."""

    root: Path

    @classmethod
    def of_the_toys(cls, root: Path) -> Repository:
        made = cls(root)
        made.copy("scripts/databricks_entry.py", "src/dagster_metaflow")
        (root / "flows").mkdir()
        for toy in TOYS:
            shutil.copy(toy, root / "flows")
        (root / "requirements.txt").write_text("# what it needs\npydantic>=2  # or newer\n")
        made.git("init", "-q", "-b", "main")
        made.commit("first")
        return made

    def copy(self, *paths: str) -> None:
        """Of this project, as it lies here."""
        unwanted = shutil.ignore_patterns("__pycache__")
        for path in paths:
            there = self.root / path
            there.parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / path).is_dir():
                shutil.copytree(ROOT / path, there, ignore=unwanted)
            else:
                shutil.copy(ROOT / path, there)

    def git(self, *arguments: str) -> str:
        who = {
            f"GIT_{role}_{what}": "toy"
            for role in ("AUTHOR", "COMMITTER")
            for what in ("NAME", "EMAIL")
        }
        done = subprocess.run(
            ["git", "-C", str(self.root), *arguments],
            env={**os.environ, **who},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    def commit(self, words: str) -> str:
        self.git("add", "--all")
        self.git("commit", "-q", "-m", words)
        return self.head()

    def head(self) -> str:
        return self.git("rev-parse", "HEAD")

    def environment(self) -> dict[str, str]:
        """What a user's shell says of it."""
        return {
            "DATABRICKS_GIT_URL": self.root.as_uri(),
            "DATABRICKS_GIT_BRANCH": "main",
            "DATABRICKS_GIT_PROVIDER": "gitHub",
        }


class ShellRuns(FolderStage):
    """Runs of the toy, by the backend: what its contract plays on."""

    def __init__(self, workspace: LocalWorkspace, repository: Repository, folder: Path) -> None:
        super().__init__(folder)
        self.workspace, self.repository = workspace, repository
        self.settings: dict[str, Any] = {}
        self.variables: dict[str, str] = {}

    def environment(self) -> dict[str, str]:
        return {
            **self.workspace.environment,
            **self.repository.environment(),
            "SHELL_FOLDER": str(self.folder),
            **self.variables,
        }

    def backend(self, **settings: Any) -> DatabricksBackend:
        given = {"environment": self.environment(), **QUICK, **self.settings, **settings}
        return DatabricksBackend(**given)

    def request(self, **parameters: Any) -> LaunchRequest:
        return LaunchRequest(
            launch_id=self.launch_id,
            flow_file=self.repository.root / "flows" / "shell_flow.py",
            flow_name="ShellFlow",
            parameters=parameters or {"size": 3},
            tags=("contract",),
            folder=self.folder / "launch",
            ledger_root=str(self.folder / "lake"),
        )

    def lose(self, handle: Handle) -> None:
        """The driver goes away."""
        self.wait_for("work")
        kill(self.workspace.jobs.runs[handle["run"]].last)


def left(stage: ShellRuns, token: str, run_id: str | None, *lines: str) -> Attempt:
    """What a driver leaves."""
    attempt = Attempt.begin(str(stage.folder / "lake"), "flows/shell_flow.py", token, None)
    if run_id is not None:
        attempt.has_begun(run_id)
    attempt.ship(lines)
    return attempt


def token_of(handle: Handle) -> str:
    return str(handle["place"]).rpartition("/")[2]
