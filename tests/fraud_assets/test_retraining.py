"""Drift and decay ask for a training, but not again and again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
from assets_kit import Place

from fraud_assets.sensors.retraining import Failed, decide

NOW = datetime(2024, 6, 20, tzinfo=UTC)
DAY = timedelta(days=1)
COOL = 14 * DAY


def check(place: Place, name: str, *, passed: bool) -> None:
    place.instance.report_runless_asset_event(
        dg.AssetCheckEvaluation(
            asset_key=place.dataset.key("metrics"),
            check_name=name,
            passed=passed,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={},
        )
    )


def failed(days_ago: float, event: int = 1, name: str = "drift") -> Failed:
    return Failed(name, NOW - days_ago * DAY, event)


@pytest.mark.parametrize(
    ("found", "trained", "asked"),
    [
        ([], None, False),
        ([failed(1)], None, True),
        ([failed(1)], 20, True),
        ([failed(1)], 5, False),  # cools down
        ([failed(10)], 14, True),  # failed while it cooled down, and still stands
        ([failed(20)], 15, False),  # the training since has answered it
    ],
)
def test_a_failed_check_is_answered_once_and_not_too_soon(
    generated: Place, found: list[Failed], trained: int | None, asked: bool
) -> None:
    at = None if trained is None else NOW - trained * DAY
    answer = decide(generated.dataset, found, at, NOW, COOL)
    assert isinstance(answer, dg.RunRequest) == asked


def test_the_same_failure_is_one_run_and_the_next_failure_another(generated: Place) -> None:
    keys = [
        decide(generated.dataset, found, None, NOW, COOL).run_key
        for found in ([failed(3, 7)], [failed(3, 7)], [failed(3, 7), failed(1, 9, "performance")])
    ]
    assert keys[0] == keys[1] != keys[2]


def test_the_sensor_reads_how_checks_stand_in_dagster(generated: Place) -> None:
    assert "No check has failed" in generated.tick("retraining_sensor").skip_message
    check(generated, "drift", passed=False)
    asked = generated.tick("retraining_sensor").run_requests
    assert [request.job_name for request in asked] == ["training_job"]
    assert asked[0].tags["fraud/retrain_reason"] == "drift"

    check(generated, "drift", passed=True)
    assert "No check has failed" in generated.tick("retraining_sensor").skip_message
    generated.report("model_artifact", "20240801-aaaaaaaaaaaa")
    check(generated, "performance", passed=False)
    assert "cools down until" in generated.tick("retraining_sensor").skip_message


def test_the_cool_down_is_a_setting(generated: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    from fraud_mlops.settings import settings

    generated.report("model_artifact", "20240801-aaaaaaaaaaaa")
    check(generated, "drift", passed=False)
    monkeypatch.setenv("FRAUD_RETRAIN_COOL_DOWN", "0s")
    settings.cache_clear()
    try:
        assert generated.tick("retraining_sensor").run_requests
    finally:
        monkeypatch.undo()
        settings.cache_clear()
