"""What the launcher makes of a run's events."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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
