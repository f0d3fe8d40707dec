"""What the workspace on loopback knows of a run, and what it tells of where it stands."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_MOST_LOG = 5 << 20
ACTIVE = ("QUEUED", "PENDING", "RUNNING", "TERMINATING")
AUTOMATIC_RETRIES = 1  # of serverless compute's own accord; how many there are is not documented
_CODES = {
    "SUCCESS": ("SUCCESS", "SUCCESS"),
    "FAILED": ("RUN_EXECUTION_ERROR", "CLIENT_ERROR"),
    "CANCELED": ("USER_CANCELED", "CLIENT_ERROR"),
    "TIMEDOUT": ("CANCELED", "CLIENT_ERROR"),
    "MAXIMUM_CONCURRENT_RUNS_REACHED": ("MAX_CONCURRENT_RUNS_EXCEEDED", "CLIENT_ERROR"),
}


@dataclass
class TaskRun:
    """One execution of a run's task; a repair adds another, and so does a retry. settings: that it
    goes by. given: parameters in the place of the task's. number: of the retry."""

    run_id: int
    settings: Mapping[str, Any]
    folder: Path
    given: list[str] | None = None
    number: int = 0
    life: str = "PENDING"
    result: str | None = None
    message: str = ""
    started: float = field(default_factory=time.time)
    ended: float = 0.0
    process: subprocess.Popen[bytes] | None = None
    cancelled: bool = False

    @property
    def task(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.settings["tasks"][0]
        return found

    @property
    def retries(self) -> int:
        automatic = "environment_key" in self.task
        automatic = automatic and not self.task.get("disable_auto_optimization")
        return int(self.task.get("max_retries", 0)) + (AUTOMATIC_RETRIES if automatic else 0)

    def state(self) -> dict[str, Any]:
        ended = {"result_state": self.result} if self.result else {}
        return {"life_cycle_state": self.life, "state_message": self.message, **ended}

    def status(self) -> dict[str, Any]:
        if self.result is None:
            return {"state": self.life}
        broken = ("INTERNAL_ERROR", "INTERNAL_ERROR")
        code, kind = broken if self.life == "INTERNAL_ERROR" else _CODES[self.result]
        details = {"code": code, "type": kind, "message": self.message}
        return {"state": "TERMINATED", "termination_details": details}

    def error(self) -> dict[str, str]:
        told = self.folder / "error.json"
        if told.exists():
            found: dict[str, str] = json.loads(told.read_text())
            return found
        return {"error": self.message} if self.result not in (None, "SUCCESS") else {}

    def logs(self) -> str:
        log = self.folder / "output"
        return log.read_text()[-_MOST_LOG:] if log.exists() else ""


@dataclass
class Run:
    run_id: int
    name: str
    settings: Mapping[str, Any]
    kind: str
    job_id: int = 0
    token: str | None = None
    parameters: list[str] | None = None
    commit: str | None = None
    tries: list[TaskRun] = field(default_factory=list)
    repairs: list[int] = field(default_factory=list)
    waits: bool = False
    """For a retry."""

    @property
    def last(self) -> TaskRun:
        return self.tries[-1]

    @property
    def is_active(self) -> bool:
        return self.waits or self.last.life in ACTIVE

    def state(self) -> dict[str, Any]:
        if self.waits:
            return {"life_cycle_state": "WAITING_FOR_RETRY", "state_message": ""}
        return self.last.state()
