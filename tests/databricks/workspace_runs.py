"""Runs of the workspace on loopback: cloned, checked, and really run, each in an empty folder."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from interpreters import NotInstalledError, with_only
from packaging.requirements import InvalidRequirement, Requirement
from workspace_states import Run, TaskRun

EXEC = Path(__file__).with_name("exec_task.py")
Hold = Callable[[], str | None]


@dataclass
class Machine:
    """Where drivers run. python: in which this project is not installed. environment: all that a
    driver has. pending: seconds that a serverless driver takes to come. named, argv0: how the file
    is executed; see exec_task."""

    folder: Path
    python: Path
    environment: Mapping[str, str]
    pending: float = 0.0
    named: bool = True
    argv0: str | None = None
    breaks: str | None = None
    """The next run ends INTERNAL_ERROR with this message, before the driver comes."""
    ends: list[str] = field(default_factory=list)
    """The next runs end with these results, and no driver is started for them."""
    variables: dict[str, str] = field(default_factory=dict)
    builds: bool = False
    """Runs have a clean environment with databricks-sdk and what they depend on, as on Databricks;
    else `python`, which has all packages of the tests, and versions are compared."""

    def start(self, run: Run, attempt: TaskRun, hold: Hold, again: Callable[[], None]) -> None:
        """hold: whether it has to wait for other runs, or may not run. again: tries it again."""
        play = (run, attempt, hold, again)
        threading.Thread(target=self._play, args=play, daemon=True).start()

    def _play(self, run: Run, attempt: TaskRun, hold: Hold, again: Callable[[], None]) -> None:
        while (held := hold()) == "QUEUED" and not attempt.cancelled:
            attempt.life = held
            time.sleep(0.02)
        if held == "SKIPPED":
            why = "Run was skipped: the maximum number of concurrent runs was reached."
            self._end(attempt, "SKIPPED", "MAXIMUM_CONCURRENT_RUNS_REACHED", why)
            return
        end = self._outcome(run, attempt)
        wanted = end[1] == "FAILED" and attempt.number < attempt.retries
        run.waits = wanted
        self._end(attempt, *end)
        if not wanted:
            return
        time.sleep(attempt.task.get("min_retry_interval_millis", 0) / 1000)
        if attempt.cancelled:
            attempt.result, run.waits = "CANCELED", False
        else:
            again()

    def _outcome(self, run: Run, attempt: TaskRun) -> tuple[str, str, str]:
        """Life, result and message."""
        try:
            self._wait(attempt)
            if self.ends and not attempt.cancelled:
                result = self.ends.pop(0)
                return "TERMINATED", result, ""
            code = self._run(run, attempt)
        except BrokenRunError as error:
            return "INTERNAL_ERROR", "FAILED", str(error)
        except subprocess.TimeoutExpired:
            kill(attempt)
            return "TERMINATED", "TIMEDOUT", "Run exceeded its timeout."
        if attempt.cancelled:
            return "TERMINATED", "CANCELED", "Run cancelled."
        if code == 0:
            return "TERMINATED", "SUCCESS", ""
        if code < 0:
            why = "The Python process exited unexpectedly: the driver may have run out of memory."
            return "INTERNAL_ERROR", "FAILED", why
        return "TERMINATED", "FAILED", "Workload failed, see run output for details"

    def _end(self, attempt: TaskRun, life: str, result: str, message: str) -> None:
        attempt.message, attempt.result, attempt.ended = message, result, time.time()
        attempt.life = life

    def _wait(self, attempt: TaskRun) -> None:
        end = time.monotonic() + self.pending
        while time.monotonic() < end and not attempt.cancelled:
            time.sleep(0.02)
        if self.breaks is not None:
            message, self.breaks = self.breaks, None
            raise BrokenRunError(message)

    def _run(self, run: Run, attempt: TaskRun) -> int:
        if attempt.cancelled:
            return 0
        attempt.folder.mkdir(parents=True)
        clone = attempt.folder / "clone"
        self._clone(run, attempt, clone)
        interpreter = self._interpreter(attempt)
        python = attempt.task["spark_python_task"]
        file = clone / python["python_file"]
        if not file.is_file():
            raise BrokenRunError(
                f"Cannot read the python file {python['python_file']} in the repository."
            )
        given = attempt.given if attempt.given is not None else python.get("parameters", [])
        task = {
            "python_file": str(file),
            "parameters": [_resolved(text, run) for text in given],
            "named": self.named,
            "argv0": self.argv0,
        }
        (attempt.folder / "task.json").write_text(json.dumps(task))
        driver = attempt.folder / "driver"
        driver.mkdir()
        with (attempt.folder / "output").open("wb") as output:
            attempt.process = subprocess.Popen(
                [interpreter, EXEC, attempt.folder / "task.json"],
                cwd=driver,
                env={**self.environment, **self.variables, "HOME": str(driver)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            attempt.life = "RUNNING"
            if attempt.cancelled:
                kill(attempt)
            code = attempt.process.wait(attempt.settings.get("timeout_seconds") or None)
        kill(attempt)  # the machine goes, and with it what the driver has left running
        shutil.rmtree(driver, ignore_errors=True)
        return code

    def _clone(self, run: Run, attempt: TaskRun, clone: Path) -> None:
        git = attempt.settings["git_source"]
        at = git.get("git_commit") or git.get("git_branch") or git.get("git_tag")
        quiet: dict[str, Any] = {"capture_output": True, "text": True, "timeout": 60}
        url = git["git_url"].removesuffix(".git")
        done = subprocess.run(["git", "clone", "-q", "--shared", url, str(clone)], **quiet)
        if not done.returncode:
            done = subprocess.run(["git", "-C", str(clone), "checkout", "-q", at], **quiet)
        if done.returncode:
            raise BrokenRunError(f"Failed to checkout Git repository: {done.stderr.strip()}")
        head = ["git", "-C", str(clone), "rev-parse", "HEAD"]
        run.commit = subprocess.run(head, **quiet).stdout.strip()

    def _interpreter(self, attempt: TaskRun) -> Path:
        key = attempt.task.get("environment_key")
        lines = [
            line
            for environment in attempt.settings.get("environments") or []
            if environment["environment_key"] == key
            for line in environment["spec"].get("dependencies") or []
        ]
        if self.builds:
            return _built(lines)
        for line in lines:
            _check_dependency(line)
        return self.python


def _built(lines: list[str]) -> Path:
    # Another index is asked for PyTorch alone, as `make` does: it may be out of reach.
    others = [line for line in lines if line.startswith("--extra-index-url")]
    parts = [
        [f"databricks-sdk=={version('databricks-sdk')}"],  # Databricks' images have it
        [*others, *(line for line in lines if line.startswith("torch=="))],
        [line for line in lines if line not in others],
    ]
    files = {f"{number}.txt": "\n".join(part) for number, part in enumerate(parts)}
    script = " && ".join(f"pip install --no-compile -r {name}" for name in files)
    try:
        return with_only(script, files)
    except NotInstalledError as error:
        raise BrokenRunError(f"Library installation failed: {error}") from None


def kill(attempt: TaskRun, how: signal.Signals = signal.SIGKILL) -> None:
    if attempt.process is None:
        return
    try:
        os.killpg(attempt.process.pid, how)
    except ProcessLookupError:
        return


def _check_dependency(line: str) -> None:
    if line.startswith("-"):
        return  # an option of pip's
    try:
        wanted = Requirement(line)
    except InvalidRequirement:
        raise BrokenRunError(
            f"Library installation failed: Invalid requirement: '{line}'"
        ) from None
    if wanted.marker is not None and not wanted.marker.evaluate():
        return
    try:
        found = version(wanted.name)
    except PackageNotFoundError:
        raise BrokenRunError(_no_match(line)) from None
    if not wanted.specifier.contains(found.partition("+")[0], prereleases=True):
        raise BrokenRunError(_no_match(line))


def _no_match(line: str) -> str:
    return f"Library installation failed: No matching distribution found for {line}"


def _resolved(text: str, run: Run) -> str:
    known = {"{{job.run_id}}": run.run_id, "{{job.id}}": run.job_id}
    for name, value in known.items():
        text = text.replace(name, str(value))
    if "{{" in text:
        raise BrokenRunError(f"Unknown dynamic value reference in {text}")
    return text


class BrokenRunError(Exception):
    """The run ends before its driver has come."""
