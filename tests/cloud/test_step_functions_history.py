"""What is told of an execution that ended: the step, and the reason that ended it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from dagster_metaflow.backends.sfn_history import History

AT = datetime(2026, 1, 1, tzinfo=UTC)
THROTTLED = {"error": "Batch.AWSBatchException", "cause": "Too Many Requests"}
TOO_MUCH = {"error": "States.DataLimitExceeded", "cause": "more than 256 KB"}
MISSING = {"error": "States.Runtime", "cause": "The JsonPath '$.Item' could not be found"}


def entered(step: str, kind: str = "Task") -> tuple[str, dict[str, Any]]:
    return f"{kind}StateEntered", {"name": step}


def history(*told: tuple[str, dict[str, Any]]) -> History:
    """Each event comes after the one before it."""
    made = History()
    for number, (kind, details) in enumerate(told, 1):
        state = kind.endswith("StateEntered")
        name = "stateEntered" if state else kind[0].lower() + kind[1:]
        event = {"id": number, "previousEventId": number - 1, "timestamp": AT, "type": kind}
        made.take([{**event, f"{name}EventDetails": details}])
    return made


@pytest.mark.parametrize("kind", ["TaskSubmitFailed", "TaskStartFailed", "TaskFailed"])
def test_a_call_that_was_refused_names_its_step(kind: str) -> None:
    found = history(entered("train"), (kind, THROTTLED), ("ExecutionFailed", THROTTLED))
    assert (found.failed_step, found.why) == (
        "train", "Batch.AWSBatchException: Too Many Requests",
    )  # fmt: skip


def test_a_refusal_that_passed_does_not_hide_what_ended_the_execution() -> None:
    found = history(
        entered("train"),
        ("TaskSubmitFailed", THROTTLED),
        ("TaskSubmitted", {"output": '{"JobId": "1"}'}),
        ("TaskSucceeded", {"output": "{}"}),
        entered("score"),
        ("ExecutionFailed", TOO_MUCH),
    )
    assert (found.failed_step, found.why) == ("score", "States.DataLimitExceeded: more than 256 KB")


def test_of_two_refusals_the_one_that_ended_it_is_told() -> None:
    found = history(
        entered("train"),
        ("TaskSubmitFailed", MISSING),
        entered("score"),
        ("TaskSubmitFailed", THROTTLED),
        ("ExecutionFailed", MISSING),
    )
    assert found.failed_step == "train"


def test_states_that_metaflow_adds_bear_the_name_of_their_step() -> None:
    failed = ("ExecutionFailed", MISSING)
    assert history(entered("#train"), failed).failed_step == "train"
    assert history(entered("*train", "Map"), failed).failed_step == "train"
    assert history(entered("0f3a", "Parallel"), failed).failed_step == ""


def test_a_redrive_begins_with_no_refusal() -> None:
    failed = ("TaskSubmitFailed", THROTTLED), ("ExecutionFailed", THROTTLED)
    found = history(entered("train"), *failed, ("ExecutionRedriven", {}))
    assert (found.end, found.failed_step, found.why) == (None, "", "")


RUN = {"mapRunArn": "arn:aws:states:us-east-1:123456789012:mapRun:Flow/work:1"}


def test_a_distributed_map_is_open_until_it_has_ended_well() -> None:
    begun = entered("*work", "Map"), ("MapRunStarted", RUN)
    assert history(*begun, ("MapRunFailed", {}), ("ExecutionFailed", {})).open_map_runs == 1
    assert history(*begun, ("MapRunSucceeded", {})).open_map_runs == 0
