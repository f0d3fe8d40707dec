"""What is scored by itself, once the automation is switched on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import dagster as dg
import pytest
from assets_kit import Place

MONTHS = [f"2024-{month:02}" for month in range(1, 13)]


@dataclass
class Automation:
    place: Place
    cursor: Any = None
    asked: dict[str, list[str]] = field(default_factory=dict)

    def tick(self) -> list[str]:
        """Partitions to be scored; those to be measured are always the same."""
        keys = self.place.dataset.keys("ml_outputs", "metrics")
        ticked = dg.evaluate_automation_conditions(
            defs=self.place.defs,
            instance=self.place.instance,
            cursor=self.cursor,
            asset_selection=dg.AssetSelection.assets(*keys),
        )
        self.cursor = ticked.cursor
        found = [sorted(ticked.get_requested_partitions(key) or []) for key in keys]
        assert found[0] == found[1]
        return [str(partition) for partition in found[0]]

    def scored(self, *partitions: str) -> None:
        for asset in ("ml_outputs", "metrics"):
            self.place.report(asset, "s", *partitions)
        assert self.tick() == []


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
