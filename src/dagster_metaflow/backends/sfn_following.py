"""Follows one execution: its history and its jobs' logs become one log in Metaflow's own words.

A look at AWS is one call for new events of the history, one DescribeJobs for a hundred jobs that
run, and one FilterLogEvents for a hundred streams. Looks become rarer while nothing happens. How
far the log has come stands beside it, so that another process goes on where one was killed, and
writes no line twice.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import Field

from dagster_metaflow.backends import batch_jobs
from dagster_metaflow.backends.aws_api import (
    Aws,
    code_of,
    explained,
    is_lasting,
    is_signed_out,
)
from dagster_metaflow.backends.copied_log import Noted, alone, append, noted_in
from dagster_metaflow.backends.looks import Looks, Pace
from dagster_metaflow.backends.protocol import OutOfSightError
from dagster_metaflow.backends.sfn_history import History, Task, streams
from dagster_metaflow.backends.sfn_logs import Cursor, new_lines

_PAGE = 1000
_NOT_YET_SECONDS = 60.0
_WELL = "Task finished successfully."


class _Noted(Noted):
    """last: event that the log has come to. open: jobs whose logs are being read. warned: of logs
    that cannot be read."""

    last: int = 0
    open: dict[str, Cursor] = Field(default_factory=dict)
    warned: bool = False


@dataclass
class Follower:
    """arn: of the execution. run_id: Metaflow's. folder: of this attempt. after: event of the
    history from which on the log begins; of what went before, it has the tasks that ended well.
    group: CloudWatch's. lag: in seconds, in which it shows what a job has written."""

    aws: Aws
    arn: str
    run_id: str
    folder: Path
    after: int
    group: str
    lag: float
    pace: Pace
    history: History = field(default_factory=History)
    is_there: bool = True
    _looks: Looks = field(default_factory=Looks)
    _made: float = field(default_factory=time.monotonic)

    @property
    def is_over(self) -> bool:
        """The execution has ended, and its log is whole."""
        return self.history.end is not None and not self._load().open

    def hurry(self) -> None:
        """The next look is now."""
        self._looks.hurry()

    def look(self) -> None:
        """Comes back at once when it is not yet time. Raises LaunchError when AWS cannot be asked,
        for longer than is put up with or for good."""
        from botocore.exceptions import BotoCoreError, ClientError

        if not self._looks.is_due or self.is_over:
            return
        try:
            news = self._look()
        except (BotoCoreError, ClientError) as error:
            self._bear(error)
            news = False
        else:
            self._looks.went_well()
        self._looks.done(self.pace, news=news)

    def _bear(self, error: Exception) -> None:
        """A fault that may pass."""
        if code_of(error) == "ExecutionDoesNotExist":
            # What has just been started may not be seen yet.
            self.is_there = time.monotonic() - self._made < _NOT_YET_SECONDS
            return
        if is_signed_out(error):
            self.aws.sign_in_anew()
        if self._looks.outlasts(self.pace) or is_lasting(error):
            words = explained(error, f"to tell of execution {self.arn.rpartition(':')[2]}")
            raise OutOfSightError(f"{words} The run goes on.") from None

    def _look(self) -> bool:
        """Whether there was anything new."""
        self.history.take(self._events())
        self.is_there = True
        with alone(self.folder) as mine:
            return self._write() if mine else False

    def _events(self) -> list[dict[str, Any]]:
        """Those that came since the last look, in order."""
        client, found = self.aws.client("stepfunctions"), list[dict[str, Any]]()
        pages = client.get_paginator("get_execution_history").paginate(
            executionArn=self.arn, reverseOrder=True, PaginationConfig={"PageSize": _PAGE}
        )
        for page in pages:
            new = [event for event in page["events"] if event["id"] > self.history.last]
            found += new
            if len(new) < len(page["events"]):
                break
        return found[::-1]

    # -- the log -------------------------------------------------------------------------------

    def _write(self) -> bool:
        noted = self._load()
        tasks = self.history.tasks
        lines = [
            self._line(task, task.ended or task.began, _WELL)
            for task in tasks.values()
            if noted.last < task.number <= self.after and task.well
        ]
        for task in tasks.values():
            if self._is_new(task, noted):
                since = int(task.began.timestamp() * 1000)
                noted.open[task.job] = Cursor(since=since)
                lines.append(self._line(task, task.began, "Task is starting (in AWS Batch)."))
        self._find_streams(noted)
        lines += self._logged(noted)
        for job in list(noted.open):
            if self._is_drained(task := tasks[job]):
                del noted.open[job]
                words = _last_words(task, self.history)
                lines.append(self._line(task, task.ended or datetime.now(UTC), words))
        noted.last = self.history.last
        text = "".join(f"{line}\n" for line in lines)
        append(self.folder, noted, text.encode("utf-8", "replace"))
        return bool(lines)

    def _is_new(self, task: Task, noted: _Noted) -> bool:
        return task.number > max(noted.last, self.after) and task.job not in noted.open

    def _find_streams(self, noted: _Noted) -> None:
        running = [job for job in noted.open if self.history.tasks[job].ended is None]
        for told in batch_jobs.described(self.aws, running):
            noted.open[told["jobId"]].streams = streams(told)
        for job in noted.open.keys() - set(running):
            noted.open[job].streams = self.history.tasks[job].streams or noted.open[job].streams

    def _logged(self, noted: _Noted) -> list[str]:
        from botocore.exceptions import ClientError

        read = {job: cursor for job, cursor in noted.open.items() if cursor.streams}
        try:
            found = new_lines(self.aws, self.group, read) if read else []
        except ClientError as error:
            if not is_lasting(error):
                raise
            if noted.warned:  # a run does not fail for a log
                return []
            noted.warned = True
            return [f"{explained(error, 'to read the logs of the run')}"]
        tasks = self.history.tasks
        return [
            self._line(tasks[line.job], datetime.fromtimestamp(line.at / 1000, UTC), line.text)
            for line in found
        ]

    def _is_drained(self, task: Task) -> bool:
        ended = task.ended or self.history.ended
        return ended is not None and time.time() - ended.timestamp() >= self.lag

    def _line(self, task: Task, at: datetime, text: str) -> str:
        stamp = at.astimezone().strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
        return f"{stamp} [{self.run_id}/{task.step}/{task.job}] {text}"

    def _load(self) -> _Noted:
        return noted_in(self.folder, _Noted)


def _last_words(task: Task, history: History) -> str:
    if task.well:
        return _WELL
    if task.ended is not None:
        return f"Task failed. {task.why}".rstrip()
    return f"Task was left: the execution is {history.end}."
