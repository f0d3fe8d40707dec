"""What Metaflow's log lines say of a run: which step it is at, and which task failed, and why."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from dagster_metaflow.reports import TOLD

_LINE = re.compile(
    r"^\S+ \S+ \[(?P<run>[^/\]]+)/(?P<step>[^/\]]+)/(?P<task>[^/\] ]+)[^\]]*\] (?P<text>.*)$"
)
_STARTS, _ENDS = "Task is starting", "Task finished successfully."
_FAILS = ("Task failed.", "Task fell through")
_CLONES = re.compile(
    r"Cloning (?:results of a )?previously run task "
    r"(?P<run>[^/\s]+)/(?P<step>[^/\s]+)/(?P<task>\S+)"
)
# Lines that come back from AWS Batch have the job's id in front.
_TELLS = re.compile(rf"(?:\[[^\]\s]+\] )?{re.escape(TOLD)}(?P<told>.*)")
_CAUSE = re.compile(r"^[A-Za-z_][\w.]*(?:Error|Exception|Failure|Interrupt|Exit)\b")
_TOLD_BY_METAFLOW = re.compile(r"^<flow \S+ step .+> failed:$")
_NOT_FOR_PEOPLE = "Internal error"
"""Next are a headline, and what it says: of an exception of Metaflow's own, by which a flow ends
with a message for people, the message, and of any other its trace."""
_KEPT_LINES = 40
_TOLD_LINES = 15
_LONGEST = 2_000


class _Task(NamedTuple):
    run: str
    step: str
    task: str


class Progress:
    """Follows the log of one run. steps: of the flow, in order.

    finished: tasks that ended well, or were taken from the run that is resumed, in order;
    `run/step/task`, as failed_task. taken: tasks of that run which were taken over.
    """

    def __init__(self, steps: Sequence[str]) -> None:
        self._steps = list(steps)
        self._begun: list[str] = []
        self._tail: dict[str, deque[str]] = {}
        self._last: deque[str] = deque(maxlen=_KEPT_LINES)
        self.failed_task: str | None = None
        self.finished: dict[str, None] = {}
        self.taken: set[_Task] = set()

    def read(self, line: str) -> Iterator[str]:
        """What is worth a line in Dagster's event log: steps that begin, tasks that fail, and
        what tasks `tell`."""
        match = _LINE.match(line)
        if match is None:
            if not line.startswith("$ "):  # the command itself is no reason
                self._last.append(line[:_LONGEST])
            return
        step, text = match["step"], match["text"]
        task = f"{match['run']}/{step}/{match['task']}"
        if text.startswith(_STARTS):  # "Task is starting (retry)." too
            self._forget(task)
            if step not in self._begun:
                self._begun.append(step)
                yield self._place(step)
        elif text == _ENDS:
            self._forget(task)
            self.finished[task] = None
        elif text.startswith(_FAILS):
            self.failed_task = task
            yield f"{task} failed"
        elif origin := _CLONES.match(text):
            self.finished[task] = None
            self.taken.add(_Task(**origin.groupdict()))
        elif told := _TELLS.fullmatch(text):
            yield f"{step}: {told['told'][:_LONGEST]}"
        else:
            self._tail.setdefault(task, deque(maxlen=_KEPT_LINES)).append(text[:_LONGEST])

    def has_ended_well(self, pathspec: str, run_id: str | None) -> bool:
        """Whether a task, `flow/run/step/task`, is not run again; True of what is no task.

        Of the run that `run_id`, which is followed, resumes, the log names each task that was taken
        over; of those before, whose tasks that one has taken over under other numbers, the step.
        """
        parts = pathspec.split("/")
        if len(parts) != 4:
            return True
        task = _Task(*parts[1:])
        if "/".join(task) in self.finished or task in self.taken:
            return True
        if task.run == run_id or task.run in {origin.run for origin in self.taken}:
            return False
        return task.step in {origin.step for origin in self.taken}

    def _forget(self, task: str) -> None:
        """Of a task that runs, or ran well in the end, no failure is to be told."""
        self._tail.pop(task, None)
        if self.failed_task == task:
            self.failed_task = None

    def _place(self, step: str) -> str:
        if step not in self._steps:
            return f"step {step}"
        return f"step {step} ({self._steps.index(step) + 1} of {len(self._steps)})"

    def reason(self) -> str:
        """The last words of the task that failed, or of the run itself."""
        return "\n".join(self._words()[-_TOLD_LINES:]).strip()

    def cause(self) -> str | None:
        """The line with the exception among them, which a reader wants before all frames; of a
        message that a flow ends with the first, which what to do comes after."""
        words = self._words()
        found = next((line for line in reversed(words) if _CAUSE.match(line)), None)
        if found is None:
            told = [n for n, line in enumerate(words[:-2]) if _TOLD_BY_METAFLOW.match(line)]
            found = _message(words[told[-1] + 1 :]) if told else None
        return found

    def _words(self) -> list[str]:
        return list(self._tail.get(self.failed_task or "", deque()) or self._last)


def _message(lines: Sequence[str]) -> str | None:
    headline, *said = lines
    if headline == _NOT_FOR_PEOPLE:
        return next((line for line in reversed(said) if line.strip()), None)
    return said[0]
