"""What the launcher makes of a run's events."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from dagster_metaflow.backends.protocol import RunState, RunStatus
from dagster_metaflow.failing import failure
from dagster_metaflow.ledger import LaunchRecord
from dagster_metaflow.progress import Progress
from fraud_assets.launcher.events import Story
from fraud_assets.launcher.junit import write_junit


def checked(passed: bool, at: int, partition: str | None = None) -> dict[str, Any]:
    return {
        "__typename": "AssetCheckEvaluationEvent",
        "timestamp": str(at),
        "evaluation": {
            "assetKey": {"path": ["claims", "raw_zone"]},
            "checkName": "no_duplicates",
            "success": passed,
            "severity": "ERROR",
            "description": "two claims share an id",
            "partition": partition,
        },
    }


def made(month: str, at: int, **numbers: int) -> dict[str, Any]:
    entries = [
        {"label": label.replace("__", "/"), "number": str(n)} for label, n in numbers.items()
    ]
    return {
        "__typename": "MaterializationEvent",
        "timestamp": str(at),
        "assetKey": {"path": ["claims", "raw_zone"]},
        "partition": month,
        "metadataEntries": entries,
    }


def ended(at: int) -> dict[str, Any]:
    return {"__typename": "ExecutionStepSuccessEvent", "timestamp": str(at), "stepKey": "ingest"}


def test_partitions_of_a_range_are_told_once_with_their_own_rows_however_the_log_is_paged() -> None:
    """A step's result stands for each partition first, and has the step's figures alone."""
    months = [f"2024-{month:02}" for month in range(1, 13)]
    result = [made(m, n, seconds_since_launch=7, rows_added=9) for n, m in enumerate(months)]
    own = [made(month, 100 + n, dagster__row_count=10) for n, month in enumerate(months)]
    log = [*result, *own[:1], checked(True, 50), *own[1:], ended(1000)]
    for page in (1, 5, 9, 100):
        said: list[str] = []
        story = Story(tell=said.append)
        for begin in range(0, len(log), page):
            story.add(log[begin : begin + page])
        *told, end = said
        assert "succeeded" in end
        assert sum("check no_duplicates" in line for line in told) == 1
        told = [line for line in told if "check" not in line]
        assert not [line for line in told if "materialized" not in line]
        spans = [re.findall(r"2024-\d\d", line) for line in told]
        covered = [n for span in spans for n in range(int(span[0][5:]), int(span[-1][5:]) + 1)]
        assert covered == list(range(1, 13)), told
        rows = [int(n) for line in told for n in re.findall(r"(?:rows |: )(\d+)(?: rows)?$", line)]
        assert sum(rows) == 120, told


def test_partitions_without_rows_are_told_all_the_same() -> None:
    said: list[str] = []
    story = Story(tell=said.append)
    story.add([made(f"2024-0{n}", n, seconds_since_launch=7) for n in range(1, 6)])
    assert said == []
    story.add([ended(1000)])
    assert said[0].endswith("[2024-01 ... 2024-05]  5 partitions materialized")


def test_why_a_run_failed_is_the_cause_and_not_what_was_said_last() -> None:
    """As dagster_metaflow tells of a flow that ended with a message for people."""
    log = Progress(["ingest"])
    words = [
        "<flow IngestFlow step ingest> failed:",
        "The run cannot go on:",
        "mine: 1 of 4 rows break the contract.",
        "After a change of the contract begin a new run.",
        "Task failed.",
    ]
    for text in words:
        list(log.read(f"2024-01-01 00:00:00.000 [7/ingest/2 (pid 1)] {text}"))
    record = LaunchRecord.model_construct(flow="IngestFlow", launch_id="1", run_ids=("7",))
    ended = RunStatus(RunState.FAILED, "7", "exit status 1")
    told = failure(record, ended, log, {"log": "/a/log"}, None)
    story = Story(tell=lambda _: None)
    failed = {"__typename": "ExecutionStepFailureEvent", "timestamp": "1000", "stepKey": "raw_zone"}
    story.add([failed | {"failureMetadata": {"description": told.description}, "error": None}])
    assert story.why == (
        "raw_zone: IngestFlow failed in IngestFlow/7/ingest/2 (exit status 1). "
        "Cause: mine: 1 of 4 rows break the contract."
    )


def test_a_check_that_a_retried_task_has_mended_counts_as_passed(tmp_path: Path) -> None:
    said: list[str] = []
    story = Story(tell=said.append)
    story.add([checked(False, 1000), checked(False, 2000, "2024-01"), checked(True, 3000)])
    assert [(check.partition, check.passed) for check in story.checks] == [
        (None, True),
        ("2024-01", False),
    ]
    assert len(said) == 3  # the failure was told when it was one
    write_junit(tmp_path / "junit.xml", "ingest_job", story, problem="", properties={})
    text = (tmp_path / "junit.xml").read_text()
    assert 'failures="1"' in text
