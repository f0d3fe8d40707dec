"""Lines of jobs' logs reach the log of their run once, however long another job is silent."""

from __future__ import annotations

import time
import uuid
from collections import Counter

import pytest
from aws import LocalAws

from dagster_metaflow.backends.aws_api import Aws
from dagster_metaflow.backends.sfn_logs import Cursor, new_lines


class Group:
    """A log group of its own, with one stream a job."""

    def __init__(self, aws: LocalAws, *jobs: str) -> None:
        self._client = aws.client("logs")
        self._began = int(time.time() * 1000) - 3_600_000
        self.aws, self.name = Aws(aws.environment), f"/test/{uuid.uuid4()}"
        self._client.create_log_group(logGroupName=self.name)
        for job in jobs:
            self._client.create_log_stream(logGroupName=self.name, logStreamName=job)
        self.cursors = {job: Cursor(since=self._began, streams=[job]) for job in jobs}

    def write(self, job: str, second: int, text: str) -> None:
        event = {"timestamp": self._began + second * 1000, "message": text}
        self._client.put_log_events(logGroupName=self.name, logStreamName=job, logEvents=[event])

    def look(self) -> list[str]:
        return [line.text for line in new_lines(self.aws, self.name, self.cursors)]


@pytest.fixture
def group(aws: LocalAws) -> Group:
    return Group(aws, "talks", "trains")


def test_a_job_that_talks_beside_a_silent_one_is_read_once(group: Group) -> None:
    group.write("trains", 0, "begins")
    found: list[str] = []
    for minute in range(10):
        group.write("talks", minute * 60, f"minute {minute}")
        found += group.look()
    assert Counter(found) == Counter(["begins", *[f"minute {n}" for n in range(10)]])
    assert group.look() == []


def test_what_a_silent_job_says_at_last_is_read(group: Group) -> None:
    group.write("talks", 600, "ten minutes later")
    assert group.look() == ["ten minutes later"]
    group.write("trains", 595, "so many epochs")  # seen late, as CloudWatch shows it
    assert group.look() == ["so many epochs"]


def test_streams_are_not_read_from_their_beginning_again(group: Group) -> None:
    group.write("talks", 600, "ten minutes later")
    group.look()
    assert group.cursors["trains"].since == group.cursors["talks"].since - 15_000


def test_a_job_that_begins_beside_old_ones_repeats_nothing_of_theirs(group: Group) -> None:
    later = group.cursors.pop("trains")  # whose stream is not known yet
    for minute in (1, 2, 3):
        group.write("talks", minute * 60, f"minute {minute}")
        group.look()
    group.write("trains", 1, "begins")
    group.cursors["trains"] = later
    assert group.look() == ["begins"]
