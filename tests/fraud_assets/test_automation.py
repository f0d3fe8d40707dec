"""What is scored by itself, once the automation is switched on."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from assets_kit import MONTHS, Automation, Place


@pytest.fixture
def automation(generated: Place) -> Automation:
    made = Automation(generated)
    made.tick()
    return made


@pytest.fixture
def scored(automation: Automation) -> Automation:
    """A year of claims, a champion, and the scores of its last months."""
    automation.place.report("raw_zone", "r1", *MONTHS)
    automation.place.report("model_artifact", "m1")
    automation.tick()
    automation.scored("2024-09", "2024-10", "2024-11", "2024-12")
    return automation


def test_a_first_backfill_and_a_first_model_score_the_latest_claims_only(
    automation: Automation,
) -> None:
    automation.place.report("raw_zone", "r1", *MONTHS)
    assert automation.tick() == []
    automation.place.report("model_artifact", "m1")
    assert automation.tick() == ["2024-11", "2024-12"]
    automation.scored("2024-11", "2024-12")
    assert automation.tick() == []


def test_late_claims_are_scored_and_so_is_what_looks_back_on_them(scored: Automation) -> None:
    scored.place.report("raw_zone", "r2", "2024-10")
    assert scored.tick() == ["2024-10", "2024-11", "2024-12"]


def test_claims_that_come_out_the_same_are_not_scored_again(scored: Automation) -> None:
    scored.place.report("raw_zone", "r1", "2024-10")
    assert scored.tick() == []


def test_claims_that_were_never_scored_are_left_to_a_backfill(scored: Automation) -> None:
    scored.place.report("raw_zone", "r2", "2024-03")
    assert scored.tick() == []


def test_a_new_champion_scores_the_latest_partition_and_leaves_the_record(
    scored: Automation,
) -> None:
    scored.place.report("model_artifact", "m2")
    assert scored.tick() == ["2024-12"]


def test_a_training_that_leaves_the_champion_scores_nothing(scored: Automation) -> None:
    scored.place.report("model_artifact", "m1")
    assert scored.tick() == []


@pytest.fixture
def at_the_turn(landed: Place) -> Automation:
    """Scored claims of October and November; December has begun, and no claim of it has landed."""
    made = Automation(landed, now=datetime(2024, 12, 1, 3, 30, tzinfo=UTC))
    made.tick()
    landed.report("raw_zone", "r1", "2024-10", "2024-11")
    landed.report("model_artifact", "m1")
    made.tick()
    made.scored("2024-10", "2024-11")
    return made


def test_a_new_champion_at_a_months_turn_scores_the_latest_month_that_has_claims(
    at_the_turn: Automation,
) -> None:
    at_the_turn.place.report("model_artifact", "m2")
    assert at_the_turn.tick() == ["2024-11"]
    at_the_turn.scored("2024-11")
    at_the_turn.place.report("raw_zone", "r1", "2024-12")
    assert at_the_turn.tick() == ["2024-12"]
    at_the_turn.scored("2024-12")
    at_the_turn.place.report("model_artifact", "m3")
    assert at_the_turn.tick() == ["2024-12"]


def test_late_claims_at_a_months_turn_do_not_ask_for_a_month_without_any(
    at_the_turn: Automation,
) -> None:
    at_the_turn.place.report("raw_zone", "r2", "2024-11")
    assert at_the_turn.tick() == ["2024-11"]
