"""What is known of the one task of this process."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from metaflow import current  # noqa: TID253 - this file is part of the flows

CARD_SECONDS = 300
"""That a card may take to be drawn."""

TOLD_SECONDS = 20.0
"""Between two lines of a long task that Dagster's event log has."""


class Task:
    """began: when the step's own code began, by the monotonic clock."""

    began = time.monotonic()
    retry_is_useless = False


def seconds() -> float:
    """Since the step began."""
    return time.monotonic() - Task.began


def pathspec() -> str:
    return f"{current.flow_name}/{current.run_id}/{current.step_name}/{current.task_id}"


def card_command(step: str) -> str:
    """How a person looks at the card of a step of this run."""
    flow = Path(sys.argv[0]).name
    return f"python flows/{flow} card view {current.run_id}/{step}"


def dagster_run_id() -> str | None:
    """Of the Dagster run that launched this one: it says so in a tag."""
    prefix = "dagster_run_id:"
    found = [tag.removeprefix(prefix) for tag in current.tags if tag.startswith(prefix)]
    return found[0] if found else None
