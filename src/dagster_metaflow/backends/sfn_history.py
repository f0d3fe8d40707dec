"""What the history of a Step Functions execution says of a Metaflow run: its tasks, and its end."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

_ENDS = {
    "ExecutionSucceeded": "SUCCEEDED",
    "ExecutionFailed": "FAILED",
    "ExecutionTimedOut": "TIMED_OUT",
    "ExecutionAborted": "ABORTED",
}
_LONGEST_CAUSE = 400
_REFUSED = ("TaskSubmitFailed", "TaskStartFailed")
_SPLIT = "METAFLOW_SPLIT_PARENT_TASK_ID_FOR_FOREACH_JOIN"
_TABLE = "METAFLOW_SFN_DYNAMO_DB_TABLE"


@dataclass
class Task:
    """A step's job. number: of the event that it began with. left: its state is over, and a
    redrive does not repeat it. streams: of its attempts, in CloudWatch. why: it did not end well.
    """

    step: str
    job: str
    number: int
    began: datetime
    ended: datetime | None = None
    well: bool = False
    left: bool = False
    streams: list[str] = field(default_factory=list)
    why: str = ""


@dataclass
class History:
    """Of one execution, as far as it has been read.

    last: id of the last event that was taken. end: how the execution ended, as its status; None
    while it goes on. failed: the task that ended it. failed_step: its step, or the one at which the
    execution ended without a job that failed. splits: tasks that began a `foreach`, with the table
    in which the ids of its last tasks are noted. open_map_runs: distributed Maps that have not
    ended well.
    """

    last: int = 0
    end: str | None = None
    ended: datetime | None = None
    why: str = ""
    failed: Task | None = None
    failed_step: str = ""
    tasks: dict[str, Task] = field(default_factory=dict)
    splits: dict[str, str] = field(default_factory=dict)
    open_map_runs: int = 0
    _steps: dict[int, str] = field(default_factory=dict)
    _jobs: dict[int, str] = field(default_factory=dict)
    _refusals: dict[str, str] = field(default_factory=dict)  # steps, by the words of a refused call

    def take(self, events: Iterable[Mapping[str, Any]]) -> None:
        """events: in order, those of `last` and before are passed over."""
        for event in events:
            if event["id"] > self.last:
                self._take(event)
                self.last = event["id"]

    def _take(self, event: Mapping[str, Any]) -> None:
        kind, number, before = event["type"], event["id"], event.get("previousEventId", 0)
        if "stateEnteredEventDetails" in event:
            self._steps[number] = _step(event["stateEnteredEventDetails"]["name"], kind)
        elif before in self._steps:
            self._steps[number] = self._steps[before]
        if (job := self._jobs.get(before)) is not None:
            if kind == "TaskStateExited":
                self.tasks[job].left = True
            elif not kind.endswith("Exited"):
                self._jobs[number] = job
        if kind in _ENDS:
            self._over(kind, event)
        elif kind == "ExecutionRedriven":
            self.end, self.ended, self.why, self.failed = None, None, "", None
            self.failed_step = ""
            self._refusals.clear()
        elif kind in ("MapRunStarted", "MapRunSucceeded"):
            self.open_map_runs += 1 if kind == "MapRunStarted" else -1
        elif kind == "TaskScheduled":
            self._scheduled(event)
        elif kind == "TaskSubmitted":
            self._submitted(event)
        elif kind in ("TaskSucceeded", "TaskFailed", "TaskTimedOut", *_REFUSED):
            self._ended(event, kind)

    def _scheduled(self, event: Mapping[str, Any]) -> None:
        told = _read(event["taskScheduledEventDetails"].get("parameters"))
        given = (told.get("ContainerOverrides") or {}).get("Environment") or []
        variables = {one["Name"]: one.get("Value") for one in given}
        if variables.get(_SPLIT) and variables.get(_TABLE):
            self.splits[variables[_SPLIT]] = variables[_TABLE]

    def _submitted(self, event: Mapping[str, Any]) -> None:
        told = _read(event["taskSubmittedEventDetails"].get("output"))
        if (job := told.get("JobId")) is not None:
            step = self._steps.get(event["id"], "")
            self.tasks[job] = Task(step, job, event["id"], event["timestamp"])
            self._jobs[event["id"]] = job

    def _ended(self, event: Mapping[str, Any], kind: str) -> None:
        task = self.tasks.get(self._jobs.get(event["id"], ""))
        details = _details(event, kind)
        if task is None:
            if kind != "TaskSucceeded":  # a call that was refused, or an item that is not there
                self._refusals[_short(details)] = self._steps.get(event["id"], "")
            return
        told = _read(details.get("output") or details.get("cause"))
        task.ended, task.well = event["timestamp"], kind == "TaskSucceeded"
        task.streams = streams(told) or task.streams
        if not task.well:
            task.why = _reason(told) or _short(details)
            self.failed = task

    def _over(self, kind: str, event: Mapping[str, Any]) -> None:
        self.end, self.ended = _ENDS[kind], event["timestamp"]
        if self.failed is not None:
            self.why, self.failed_step = self.failed.why, self.failed.step
            return
        # A refused call that was made again and went well has ended nothing: only the end's own
        # words say which one it was.
        self.why = _short(_details(event, kind))
        here = self._steps.get(event["id"], "") if kind == "ExecutionFailed" else ""
        self.failed_step = self._refusals.get(self.why, here)

    @property
    def reason(self) -> str | None:
        """Why it ended otherwise than well."""
        if self.end == "SUCCEEDED":
            return None
        if self.end == "TIMED_OUT":
            return "the execution took longer than the state machine's time-out"
        if self.end == "ABORTED":
            return "it was stopped"
        step = f"step {self.failed_step}: " if self.failed_step else ""
        return f"{step}{self.why or 'no reason was given'}"


def streams(job: Mapping[str, Any]) -> list[str]:
    """Log streams of a job's attempts, in order. job: as Batch or as a state tells it."""
    lowered = {key[:1].lower() + key[1:]: value for key, value in job.items()}
    tries = lowered.get("attempts") or []
    places = [one.get("container") or one.get("Container") or {} for one in tries]
    places.append(lowered.get("container") or {})
    names = [place.get("logStreamName") or place.get("LogStreamName") for place in places]
    return list(dict.fromkeys(name for name in names if name))


def _step(state: str, kind: str) -> str:
    """Metaflow's states are steps; `#STEP` and `*STEP` count and spread one. A split's branches
    are a state too, which is none."""
    return "" if kind == "ParallelStateEntered" else state.lstrip("#*").partition("_*")[0]


def _details(event: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = event.get(kind[0].lower() + kind[1:] + "EventDetails", {})
    return found


def _reason(job: Mapping[str, Any]) -> str:
    container = job.get("Container") or {}
    code = container.get("ExitCode")
    words = [container.get("Reason"), job.get("StatusReason")]
    said = next((word for word in words if word), "")
    return f"{said} (exit code {code})" if said and code is not None else str(said)


def _short(details: Mapping[str, Any]) -> str:
    parts = [str(details[key]) for key in ("error", "cause") if details.get(key)]
    return ": ".join(parts)[:_LONGEST_CAUSE]


def _read(text: str | None) -> dict[str, Any]:
    """A cause is JSON or plain words."""
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
