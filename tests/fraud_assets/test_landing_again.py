"""An ingest that fails by a file of later is asked for again when that file has been looked at."""

# No `from __future__ import annotations`: Dagster reads the types of contexts.

from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pytest
from assets_kit import Place, asked, rows

from fraud_assets.run_requests import RANGE_END, RANGE_START
from fraud_assets.sensors import landing as landing_sensor
from fraud_mlops.claims import ingest
from fraud_mlops.errors import SourceError
from fraud_mlops.lakehouse.ranges import PartitionRange

SENSOR = "landing_sensor"
BAD = "claim,day\nc1,2024-01-05\n"


@pytest.fixture(autouse=True)
def settled_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times of change cannot be set back where renaming counts, so that the wait is shortened."""
    monkeypatch.setattr(landing_sensor, "SETTLE_SECONDS", 0.0)


def land(place: Place, name: str, text: str) -> None:
    (place.landing / name).write_text(text)


def run(place: Place, request: dg.RunRequest, *without: str, **more: str) -> bool:
    """What the sensor has asked for, as Dagster runs it, without a flow. Whether it went well.

    without: tags that somebody's own run has not.
    """
    tags = {tag: value for tag, value in request.tags.items() if tag not in without} | more
    if request.partition_key:
        tags["dagster/partition"] = request.partition_key
    first = request.partition_key or tags[RANGE_START]

    part = PartitionRange.of(first, tags.get(RANGE_END), "month")
    refused: list[SourceError] = []

    @dg.op
    def raw_zone() -> None:
        try:
            ingest(
                place.dataset.contract,
                place.stores.lakehouse,
                launch_id="x",
                as_of=datetime.now(UTC),
                sample_size=None,
                partitions=part,
            )
        except SourceError as error:
            refused.append(error)
            raise

    @dg.job(name="ingest_job")
    def ingesting() -> None:
        raw_zone()

    ended = ingesting.execute_in_process(instance=place.instance, tags=tags, raise_on_error=False)
    assert ended.success is not bool(refused)
    return ended.success


def failed(place: Place, *days: str, **tags: str) -> tuple[Any, dg.RunRequest]:
    """A tick, and the run that it asked for, which met a bad file that landed in between."""
    land(place, "a.csv", rows(*days))
    ticked = place.tick(SENSOR)
    (request,) = ticked.run_requests
    land(place, "b.csv", BAD)
    assert not run(place, request, **tags)
    return ticked, request


@pytest.mark.parametrize("days", [("2024-01-05",), ("2024-01-05", "2024-02-05")])
def test_what_a_bad_file_has_failed_is_ingested_once_that_is_set_aside(
    landed: Place, days: tuple[str, ...]
) -> None:
    first, request = failed(landed, *days)
    second = landed.tick(SENSOR, first.cursor)
    assert [record.path for record in landed.aside()] == [str(landed.landing / "b.csv")]
    assert asked(second) == asked(first)
    (again,) = second.run_requests
    assert again.run_key != request.run_key
    repeated = landed.tick(SENSOR, first.cursor)
    assert [one.run_key for one in repeated.run_requests] == [again.run_key]
    assert run(landed, again)
    assert asked(landed.tick(SENSOR, second.cursor)) == []


def test_a_run_that_ends_after_the_bad_file_was_set_aside_is_asked_for_again_too(
    landed: Place,
) -> None:
    land(landed, "a.csv", rows("2024-01-05"))
    first = landed.tick(SENSOR)
    land(landed, "b.csv", BAD)
    second = landed.tick(SENSOR, first.cursor)
    assert asked(second) == []
    for record in (landed.folder / "lake/_landing/parcels/aside").iterdir():
        record.unlink()  # as the run had it, which had begun before
    assert not run(landed, first.run_requests[0])
    assert asked(landed.tick(SENSOR, second.cursor)) == ["2024-01"]


def test_what_a_half_written_file_has_failed_is_ingested_once_it_is_whole(landed: Place) -> None:
    first, _ = failed(landed, "2024-01-05")
    land(landed, "b.csv", rows("2024-07-01", start=5))
    second = landed.tick(SENSOR, first.cursor)
    assert asked(second) == ["2024-07", "2024-01"]
    assert all(run(landed, request) for request in second.run_requests)


def test_what_fails_again_by_the_same_files_is_left_until_there_are_others(landed: Place) -> None:
    first, _ = failed(landed, "2024-01-05")
    second = landed.tick(SENSOR, first.cursor)
    for record in (landed.folder / "lake/_landing/parcels/aside").iterdir():
        record.unlink()
    assert not run(landed, second.run_requests[0])
    third = landed.tick(SENSOR, second.cursor)
    assert asked(third) == []
    land(landed, "c.csv", rows("2024-07-01", start=5))
    assert asked(landed.tick(SENSOR, third.cursor)) == ["2024-07", "2024-01"]


def test_what_dagster_tries_again_by_itself_is_not_asked_for_twice(landed: Place) -> None:
    first, _ = failed(landed, "2024-01-05", **{"dagster/will_retry": "true"})
    assert asked(landed.tick(SENSOR, first.cursor)) == []


def test_what_somebody_has_run_again_is_not_asked_for(landed: Place) -> None:
    first, request = failed(landed, "2024-01-05")
    land(landed, "b.csv", rows("2024-07-01", start=5))
    assert run(landed, request)
    assert asked(landed.tick(SENSOR, first.cursor)) == ["2024-07"]


def test_a_failed_run_of_somebodys_own_is_theirs_to_run_again(landed: Place) -> None:
    land(landed, "a.csv", rows("2024-01-05"))
    first = landed.tick(SENSOR)
    (request,) = first.run_requests
    assert run(landed, request)
    land(landed, "b.csv", BAD)
    assert not run(landed, request, "fraud/files_seen")
    assert asked(landed.tick(SENSOR, first.cursor)) == []


def test_a_failed_run_of_somebodys_own_does_not_end_the_asking(landed: Place) -> None:
    first, request = failed(landed, "2024-01-05")
    assert not run(landed, request, "fraud/files_seen")
    second = landed.tick(SENSOR, first.cursor)
    assert asked(second) == ["2024-01"]
    assert second.run_requests[0].run_key != request.run_key


@pytest.mark.parametrize("days", [("2024-01-05",), ("2024-01-05", "2024-02-05")])
def test_what_another_job_has_made_since_is_not_asked_for(
    landed: Place, days: tuple[str, ...]
) -> None:
    months = [day[:7] for day in days]
    landed.report("raw_zone", "before", *months)
    first, _ = failed(landed, *days)
    landed.report("raw_zone", "healed", *months)
    assert asked(landed.tick(SENSOR, first.cursor)) == []


def test_what_another_job_has_made_in_part_is_asked_for(landed: Place) -> None:
    landed.report("raw_zone", "before", "2024-01", "2024-02")
    first, _ = failed(landed, "2024-01-05", "2024-02-05")
    landed.report("raw_zone", "healed", "2024-01")
    assert asked(landed.tick(SENSOR, first.cursor)) == ["2024-01..2024-02"]


def test_partitions_that_a_tick_asks_for_anyway_are_asked_for_once(landed: Place) -> None:
    first, _ = failed(landed, "2024-01-05")
    land(landed, "b.csv", rows("2024-01-07", start=5))
    assert asked(landed.tick(SENSOR, first.cursor)) == ["2024-01"]


def test_what_fails_for_good_is_asked_for_again_three_times(landed: Place) -> None:
    ticked, _ = failed(landed, "2024-01-05")
    for file in range(5):
        land(landed, f"c{file}.csv", rows("2024-07-01", start=10 + file))
        ticked = landed.tick(SENSOR, ticked.cursor)
        again = [one for one in ticked.run_requests if one.partition_key == "2024-01"]
        assert len(again) == (1 if file < 3 else 0)
        for record in (landed.folder / "lake/_landing/parcels/aside").iterdir():
            record.unlink()  # so that the run reads the bad file, too
        assert not any(run(landed, request) for request in again)
