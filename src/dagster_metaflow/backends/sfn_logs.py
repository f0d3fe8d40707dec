"""Log lines of Batch jobs in CloudWatch, each once, a hundred streams a call."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import BaseModel

from dagster_metaflow.backends.aws_api import Aws, code_of

MOST_STREAMS = 100
"""Log streams that one FilterLogEvents reads."""

_OVERLAP = 15_000
"""In milliseconds: lines become visible late, and not in the order of their times."""


_OF_THE_RUNTIME = "[save_logs] "
"""Metaflow's words on its own upload of the log."""


class Cursor(BaseModel):
    """How far the log of one job has been read. since: in ms. seen: ids of events, by time."""

    since: int
    seen: dict[str, int] = {}
    streams: list[str] = []


class Line(NamedTuple):
    at: int
    job: str
    text: str


def new_lines(aws: Aws, group: str, cursors: Mapping[str, Cursor]) -> list[Line]:
    """In order of time; the cursors move on."""
    owners = {name: job for job, cursor in cursors.items() for name in cursor.streams}
    forgotten = {job: _forgotten(cursor) for job, cursor in cursors.items()}
    found = []
    for event in _events(aws, group, list(owners), _first(cursors)):
        job = owners[event["logStreamName"]]
        cursor = cursors[job]
        # All streams are read from where the slowest has come to.
        if event["timestamp"] < forgotten[job] or event["eventId"] in cursor.seen:
            continue
        cursor.seen[event["eventId"]] = event["timestamp"]
        cursor.since = max(cursor.since, event["timestamp"])
        texts = str(event["message"]).replace("\r", "\n").split("\n")
        found += [
            Line(event["timestamp"], job, text)
            for text in texts
            if not text.startswith(_OF_THE_RUNTIME)
        ]
    newest = max((cursor.since for cursor in cursors.values()), default=0)
    for cursor in cursors.values():
        # A silent job's too, or all would be read from its beginning at each look.
        cursor.since = max(cursor.since, newest - _OVERLAP)
        oldest = _forgotten(cursor)
        cursor.seen = {name: at for name, at in cursor.seen.items() if at >= oldest}
    return sorted(found, key=lambda line: line.at)


def _forgotten(cursor: Cursor) -> int:
    """Time before which events have been read, and are not remembered any more."""
    return cursor.since - 2 * _OVERLAP


def _first(cursors: Mapping[str, Cursor]) -> int:
    return max(0, min((c.since for c in cursors.values()), default=0) - _OVERLAP)


def _events(aws: Aws, group: str, names: Sequence[str], since: int) -> Iterator[dict[str, Any]]:
    for first in range(0, len(names), MOST_STREAMS):
        yield from _of_streams(aws, group, names[first : first + MOST_STREAMS], since)


def _of_streams(aws: Aws, group: str, names: Sequence[str], since: int) -> Iterator[dict[str, Any]]:
    """A stream has a name before it is there; then the others are read without it."""
    from botocore.exceptions import ClientError

    pages = aws.client("logs").get_paginator("filter_log_events")
    try:
        for page in pages.paginate(logGroupName=group, logStreamNames=list(names), startTime=since):
            yield from page["events"]
    except ClientError as error:
        if code_of(error) != "ResourceNotFoundException":
            raise
        half = len(names) // 2
        if half:
            yield from _of_streams(aws, group, names[:half], since)
            yield from _of_streams(aws, group, names[half:], since)
