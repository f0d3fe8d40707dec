"""Each run is recorded once, whatever happens to the daemon, its cursor or the files."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest
from external_kit import Daemon, evaluations, materializations, publish, taken_at

from dagster_metaflow.cursor import RECENT
from dagster_metaflow.reports import Check

FINE = Check(name="fine", passed=True)


@pytest.mark.parametrize("stored", range(13))
def test_a_daemon_that_is_killed_before_its_cursor_is_stored_records_nothing_twice(
    daemon: Daemon, lake: Path, stored: int
) -> None:
    for minute, launch in enumerate("ab"):
        partitions = ["2026-01", "2026-02", "2026-03"]
        checks = [FINE, Check(name="whole", passed=False)]
        publish(lake, launch, partitions=partitions, checks=checks, minute=minute)
    publish(lake, "c", "second", minute=9)
    daemon.tick(killed_after=stored)
    daemon.tick()
    months = ["2026-01", "2026-02", "2026-03"]
    assert materializations(daemon.instance) == [f"{r}:{m}" for r in "ab" for m in months]
    assert evaluations(daemon.instance, "fine") == ["a", "b"]
    assert evaluations(daemon.instance, "whole") == ["a", "b"]
    assert materializations(daemon.instance, "second") == ["c"]


@pytest.mark.parametrize("cursor", [None, "", "of another sensor", '{"version": 1, "recent": "?"}'])
def test_a_cursor_that_is_lost_or_damaged_records_nothing_twice(
    daemon: Daemon, lake: Path, cursor: str | None
) -> None:
    for minute in range(8):
        publish(lake, str(minute), minute=minute, checks=[FINE])
    daemon.tick()
    daemon.cursor = cursor
    publish(lake, "8", minute=8, checks=[FINE])
    daemon.tick()
    assert materializations(daemon.instance) == [str(minute) for minute in range(9)]
    assert evaluations(daemon.instance, "fine") == [str(minute) for minute in range(9)]


def test_what_ops_have_recorded_meanwhile_does_not_hide_what_was_recorded(
    daemon: Daemon, lake: Path
) -> None:
    publish(lake, "1", minute=1)
    daemon.tick()
    for number in range(3):
        made = dg.AssetMaterialization("first", metadata={"launch_id": f"op-{number}"})
        daemon.instance.report_runless_asset_event(made)
    daemon.cursor = None
    assert daemon.tick() == []


def test_a_check_is_found_on_record_however_many_came_after_it(daemon: Daemon, lake: Path) -> None:
    publish(lake, "1", checks=[FINE], minute=1)
    daemon.tick()
    for _ in range(600):
        daemon.instance.report_runless_asset_event(
            dg.AssetCheckEvaluation(asset_key=dg.AssetKey("first"), check_name="fine", passed=True)
        )
    daemon.cursor = None
    assert daemon.tick() == []


def test_a_report_without_materializations_is_recorded_once(daemon: Daemon, lake: Path) -> None:
    publish(lake, "1", partitions=(), checks=[FINE])
    daemon.tick()
    daemon.cursor = None
    daemon.tick()
    assert evaluations(daemon.instance, "fine") == ["1"]


def test_a_retry_that_published_other_content_is_recorded_again(daemon: Daemon, lake: Path) -> None:
    publish(lake, "1", version="v1", minute=1)
    daemon.tick()
    publish(lake, "1", version="v2", minute=2)
    [again] = daemon.tick()
    assert again.tags["dagster/data_version"] == "v2"
    daemon.cursor = None
    assert daemon.tick() == []


def test_a_retry_that_published_the_same_is_not(daemon: Daemon, lake: Path) -> None:
    publish(lake, "1")
    daemon.tick()
    publish(lake, "1")
    assert daemon.tick() == []


def test_a_report_that_arrives_with_an_old_time_is_found(daemon: Daemon, lake: Path) -> None:
    for minute in range(3 * RECENT):
        taken_at(publish(lake, f"{minute:03}", minute=minute), minute)
    daemon.tick()
    late = publish(lake, "late", minute=5)
    taken_at(late, 5)
    assert [event.metadata["launch_id"].value for event in daemon.tick()] == ["late"]
    assert daemon.tick() == []


def test_a_writer_whose_clock_is_ahead_hides_no_one(daemon: Daemon, lake: Path) -> None:
    """By a year: its report is on record with a time that lies after the event's own."""
    ahead = 2 * 365 * 24 * 60
    publish(lake, "ahead", minute=ahead)
    daemon.tick()
    publish(lake, "right", minute=3)
    daemon.tick()
    daemon.cursor = None
    assert daemon.tick() == []
    assert materializations(daemon.instance) == ["ahead", "right"]


def test_old_launches_may_be_deleted(daemon: Daemon, lake: Path) -> None:
    places = [publish(lake, f"{m:03}", minute=m) for m in range(2 * RECENT)]
    for minute, place in enumerate(places):
        taken_at(place, minute)
    daemon.tick()
    for place in places[: RECENT // 2]:
        place.unlink()
    assert daemon.tick() == []
    publish(lake, "new")
    assert len(daemon.tick()) == 1
