"""A landing zone that the sensor cannot look at is told to people, and so is its return."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from assets_kit import Place, rows

from fraud_assets.sensors import landing as landing_sensor

sys.path.append(str(Path(__file__).parents[1] / "notifications"))

from webhook import Webhook


@pytest.fixture(autouse=True)
def settled_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times of change cannot be set back where renaming counts, so that the wait is shortened."""
    monkeypatch.setattr(landing_sensor, "SETTLE_SECONDS", 0.0)


def land(place: Place, cursor: str | None = None) -> Any:
    return place.tick("landing_sensor", cursor)


def test_a_landing_zone_that_is_gone_is_told_once_and_its_return_too(
    hook: Webhook, landed: Place
) -> None:
    (landed.landing / "a.csv").write_text(rows("2024-01-05"))
    first = land(landed)
    landed.landing.rename(landed.folder / "elsewhere")
    second = land(landed, first.cursor)
    assert hook.received == [], "once is nobody's business"
    third = land(landed, land(landed, second.cursor).cursor)
    assert hook.titles == ["parcels/landing needs a look"]
    assert "Reason: " in hook.received[0]["message"]
    assert "no such file or folder" in hook.received[0]["message"]
    (landed.folder / "elsewhere").rename(landed.landing)
    fourth = land(landed, third.cursor)
    assert hook.titles[1:] == ["parcels/landing recovered"]
    assert fourth.cursor == first.cursor
    land(landed, fourth.cursor)
    assert len(hook.received) == 2


def test_a_landing_zone_that_is_not_there_yet_is_told_to_nobody(
    hook: Webhook, landed: Place
) -> None:
    landed.landing.rmdir()
    ticked = land(landed)
    assert "no such file or folder yet" in ticked.skip_message
    assert land(landed, ticked.cursor).cursor is None
    assert hook.received == []


def test_a_lost_record_of_seen_files_is_told_until_the_cursor_is_reset(
    hook: Webhook, landed: Place
) -> None:
    (landed.landing / "a.csv").write_text(rows("2024-01-05"))
    first = land(landed)
    for record in (landed.folder / "lake" / "_landing" / "parcels").glob("seen-*"):
        record.unlink()
    land(landed, land(landed, first.cursor).cursor)
    assert "Reset the sensor's cursor" in hook.received[0]["message"]
    land(landed)
    assert hook.titles == ["parcels/landing needs a look", "parcels/landing recovered"]


@pytest.mark.parametrize("somebody", ["hook", None])
def test_a_first_tick_says_of_nothing_that_it_has_recovered(
    landed: Place,
    request: pytest.FixtureRequest,
    capfd: pytest.CaptureFixture[str],
    somebody: str | None,
) -> None:
    if somebody:
        request.getfixturevalue(somebody)
    land(landed)
    assert "recovered" not in capfd.readouterr().err


def test_a_tick_that_fails_once_is_forgotten(hook: Webhook, landed: Place) -> None:
    (landed.landing / "a.csv").write_text(rows("2024-01-05"))
    first = land(landed)
    landed.landing.rename(landed.folder / "elsewhere")
    second = land(landed, first.cursor)
    (landed.folder / "elsewhere").rename(landed.landing)
    assert land(landed, second.cursor).cursor == first.cursor
    assert hook.received == []


def test_a_failing_tick_that_nobody_can_be_told_of_is_tried_again(landed: Place) -> None:
    (landed.landing / "a.csv").write_text(rows("2024-01-05"))
    first = land(landed)
    landed.landing.rename(landed.folder / "elsewhere")
    second = land(landed, first.cursor)
    assert land(landed, second.cursor).cursor == second.cursor
