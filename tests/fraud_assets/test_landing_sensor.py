"""Files land in a folder, and the partitions they touch are ingested."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import dagster as dg
import pytest
from assets_kit import HEADER, LANDED, Place, asked, rows

from fraud_assets.sensors import landing as landing_sensor
from fraud_assets.sensors.landing import SETTLE_SECONDS

SENSOR = "landing_sensor"


@pytest.fixture(autouse=True)
def settled_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times of change cannot be set back where renaming counts, so that the wait is shortened."""
    monkeypatch.setattr(landing_sensor, "SETTLE_SECONDS", 0.0)


def land(place: Place, name: str, text: str) -> Path:
    path = place.landing / name
    path.write_text(text)
    return path


def test_new_files_are_ingested_by_the_partitions_they_touch(landed: Place) -> None:
    land(landed, "a.csv", rows("2024-01-31", "2024-02-01"))
    land(landed, "b.csv", rows("2024-03-05", "2024-03-06", start=10))
    land(landed, "c.csv", rows("2024-07-01", start=20))
    assert asked(landed.tick(SENSOR)) == ["2024-01..2024-03", "2024-07"]


def test_a_link_that_leads_nowhere_stops_nothing(landed: Place) -> None:
    (landed.landing / "gone.csv").symlink_to("/nowhere/at/all.csv")
    land(landed, "a.csv", rows("2024-01-31"))
    assert asked(landed.tick(SENSOR)) == ["2024-01"]


def test_a_file_is_seen_once_whatever_is_restarted(landed: Place) -> None:
    land(landed, "a.csv", rows("2024-01-31"))
    first = landed.tick(SENSOR)
    again = landed.tick(SENSOR, first.cursor)
    assert asked(again) == []
    assert "No new file among 1" in again.skip_message
    land(landed, "b.csv", rows("2024-05-05", start=5))
    assert asked(landed.tick(SENSOR, again.cursor)) == ["2024-05"]


def test_a_tick_that_is_repeated_after_a_crash_asks_for_the_same_runs(landed: Place) -> None:
    land(landed, "a.csv", rows("2024-01-31"))
    before = landed.tick(SENSOR)
    land(landed, "b.csv", rows("2024-05-05", start=5))
    lost, repeated = (landed.tick(SENSOR, before.cursor) for _ in range(2))
    assert [r.run_key for r in lost.run_requests] == [r.run_key for r in repeated.run_requests]
    assert lost.cursor == repeated.cursor
    assert before.run_requests[0].run_key != lost.run_requests[0].run_key


def test_a_changed_file_is_ingested_where_it_was_and_where_it_is(landed: Place) -> None:
    land(landed, "a.csv", rows("2024-01-31"))
    first = landed.tick(SENSOR)
    land(landed, "a.csv", rows("2024-09-30"))
    assert asked(landed.tick(SENSOR, first.cursor)) == ["2024-01", "2024-09"]


def test_a_file_that_is_gone_changes_nothing(landed: Place) -> None:
    path = land(landed, "a.csv", rows("2024-01-31"))
    first = landed.tick(SENSOR)
    path.unlink()
    assert asked(landed.tick(SENSOR, first.cursor)) == []


def test_a_bad_file_is_reported_and_the_next_one_goes_on(landed: Place) -> None:
    bad = land(landed, "a.csv", "claim,day\nc1,2024-01-05\n")
    land(landed, "b.csv", rows("2024-05-05"))
    ticked = landed.tick(SENSOR)
    assert asked(ticked) == ["2024-05"]
    assert [record.path for record in landed.aside()] == [str(bad)]
    assert "no column 'fraud'" in landed.aside()[0].reason
    assert bad.exists()
    assert asked(landed.tick(SENSOR, ticked.cursor)) == []

    land(landed, "a.csv", rows("2024-01-05", start=5))
    assert asked(landed.tick(SENSOR, ticked.cursor)) == ["2024-01"]
    assert landed.aside() == []


RUBBISH = {
    "empty": b"",
    "header alone": HEADER.encode(),
    "binary": bytes(range(256)) * 40,
    "zeros": bytes(4096),
    "another separator": rows("2024-01-05").replace(",", "|").encode(),
    "half a line": rows("2024-01-05", "2024-01-06").encode()[:-20],
    "not UTF-8": rows("2024-01-05").encode("utf-16"),
    "no dates": rows("soon", "later").encode(),
    "a quote that never ends": (HEADER + 'c1,"2024-01-05,0,10,g1\n' * 50).encode(),
}


def test_whatever_lands_the_good_files_are_ingested(landed: Place) -> None:
    for number, data in enumerate(RUBBISH.values()):
        (landed.landing / f"a{number}.csv").write_bytes(data)
    (landed.landing / "b.csv").mkdir()
    (landed.landing / "c.csv").symlink_to(landed.landing / "nowhere")
    land(landed, "d.csv", rows("2024-05-05"))
    ticked = landed.tick(SENSOR)
    assert "2024-05" in asked(ticked)
    assert asked(landed.tick(SENSOR, ticked.cursor)) == []


def test_a_file_whose_name_is_not_utf_8_holds_up_no_other(
    make_place: Callable[..., Place],
) -> None:
    """Without claim ids of its own, claims are named by their file."""
    place = make_place(LANDED.replace("claim_id: claim\n", ""))
    land(place, os.fsdecode(b"sch\xe4den.csv"), rows("2024-01-31"))
    land(place, os.fsdecode(b"sch\xf6n.csv"), "rubbish\n1\n")
    land(place, "b.csv", rows("2024-05-05", start=5))
    ticked = place.tick(SENSOR)
    assert asked(ticked) == ["2024-01", "2024-05"]
    (event,) = ticked.asset_events
    shown = [record.data["file"] for record in event.metadata["newest"].records]
    assert str(place.landing / r"sch\udce4den.csv") in shown
    (record,) = place.aside()
    assert record.path.endswith(r"sch\udcf6n.csv")
    (alert,) = place.alerts()
    assert record.path in alert.facts
    assert asked(place.tick(SENSOR, ticked.cursor)) == []


def test_a_folder_that_may_not_be_read_is_told_once_and_passed_over(
    make_place: Callable[..., Place],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    place = make_place(LANDED.replace("*.csv", "**/*.csv"))
    closed = place.landing / "lost+found"
    closed.mkdir()
    scandir = os.scandir

    def refusing(path: str) -> object:  # chmod would not hold up root
        if os.fspath(path) == str(closed):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    land(place, "a.csv", rows("2024-01-31"))
    first = place.tick(SENSOR)
    assert asked(first) == ["2024-01"]
    assert f"{closed}: may not be read" in capfd.readouterr().err
    land(place, "b.csv", rows("2024-05-05", start=5))
    assert asked(place.tick(SENSOR, first.cursor)) == ["2024-05"]
    assert "may not be read" not in capfd.readouterr().err


def test_one_alert_for_all_files_that_a_tick_sets_aside(landed: Place) -> None:
    for number in range(12):
        land(landed, f"{number:02}.csv", "claim,day\nc1,2024-01-05\n")
    for _ in range(2):  # a tick that is repeated replaces its alert
        landed.tick(SENSOR)
    (alert,) = landed.alerts()
    assert alert.title == "parcels: 12 landed files cannot be read"
    assert "no column 'fraud'" in alert.facts[str(landed.landing / "00.csv")]
    assert alert.facts["more"].startswith("2 files")


def test_a_good_file_that_turns_bad_leaves_its_claims_as_they_are(landed: Place) -> None:
    land(landed, "a.csv", rows("2024-01-05"))
    first = landed.tick(SENSOR)
    land(landed, "a.csv", "garbage")
    assert asked(landed.tick(SENSOR, first.cursor)) == []
    assert len(landed.aside()) == 1


def test_a_file_that_may_still_be_written_is_left_alone(
    landed: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(landing_sensor, "SETTLE_SECONDS", SETTLE_SECONDS or 30.0)
    land(landed, "a.csv", rows("2024-01-05"))
    ticked = landed.tick(SENSOR)
    assert asked(ticked) == []
    assert "1 may still be being written" in ticked.skip_message
    later = time.time() + 60
    monkeypatch.setattr(time, "time", lambda: later)
    assert asked(landed.tick(SENSOR, ticked.cursor)) == ["2024-01"]


def test_a_record_that_was_deleted_is_said_in_words(landed: Place) -> None:
    land(landed, "a.csv", rows("2024-01-05"))
    first = landed.tick(SENSOR)
    for record in Path(landed.stores.lakehouse.uri("_landing", "parcels")).glob("seen-*"):
        record.unlink()
    assert "Reset the sensor's cursor" in landed.tick(SENSOR, first.cursor).skip_message


def test_claims_outside_of_all_partitions_are_told_and_the_others_ingested(landed: Place) -> None:
    land(landed, "a.csv", rows("1999-01-05", "2024-01-05"))
    assert asked(landed.tick(SENSOR)) == ["2024-01"]


@pytest.mark.parametrize("odd", ["0001-01-01", "1900-01-01", "2999-01-01", "9999-12-31"])
def test_a_date_that_stands_for_none_is_told_once_and_its_correction_goes_through(
    landed: Place, odd: str, capfd: pytest.CaptureFixture[str]
) -> None:
    land(landed, "a.csv", rows("2024-01-31", odd))
    first = landed.tick(SENSOR)
    land(landed, "a.csv", rows("2024-01-31"))
    land(landed, "b.csv", rows("2024-05-05", start=5))
    assert asked(landed.tick(SENSOR, first.cursor)) == ["2024-01", "2024-05"]
    (told,) = [line for line in capfd.readouterr().err.splitlines() if "a.csv" in line]
    assert f"holds claims of {odd[:7]}: no partitions of parcels" in told


def look(place: Place, cursor: str | None, day: str) -> tuple[list[str], str | None]:
    """A tick as it would be at noon of a day: partitions that it asks for, and its cursor."""
    now = datetime.fromisoformat(f"{day}T12:00Z")
    found = landing_sensor.arrived(place.dataset, place.stores.lakehouse, cursor, now)
    requests = landing_sensor.requests_for(place.dataset, found)
    return asked(dg.SensorResult(run_requests=requests)), found.cursor


def test_claims_of_the_future_are_asked_for_when_their_time_has_come(landed: Place) -> None:
    land(landed, "a.csv", rows("2024-01-31", "2024-03-01", "2024-03-05T10:00", "2024-07-01"))
    cursor = None
    for day, partitions in (
        ("2024-02-10", ["2024-01"]),
        ("2024-02-29", []),
        ("2024-03-01", ["2024-03"]),
        ("2024-03-02", []),
        ("2024-03-05", []),  # it has not been ten o'clock when the day begins
        ("2024-03-06", ["2024-03"]),
        ("2024-06-30", []),
        ("2024-07-01", ["2024-07"]),
        ("2024-12-31", []),
    ):
        found, cursor = look(landed, cursor, day)
        assert found == partitions, day


def test_each_time_that_claims_of_a_file_come_due_is_a_run_of_its_own(landed: Place) -> None:
    land(landed, "a.csv", rows("2024-03-02", "2024-03-05"))
    keys, cursor = [], None
    for day in ("2024-03-01", "2024-03-02", "2024-03-05"):
        now = datetime.fromisoformat(f"{day}T12:00Z")
        for _ in range(2):  # repeated after a crash it asks for the same
            found = landing_sensor.arrived(landed.dataset, landed.stores.lakehouse, cursor, now)
            requests = landing_sensor.requests_for(landed.dataset, found)
            keys += [request.run_key for request in requests]
        cursor = found.cursor
    assert keys[0::2] == keys[1::2]
    assert len(set(keys)) == 3


def test_claims_of_the_future_of_a_changed_file_are_those_it_has_now(landed: Place) -> None:
    land(landed, "a.csv", rows("2024-01-31", "2024-03-01"))
    _, cursor = look(landed, None, "2024-02-10")
    land(landed, "a.csv", rows("2024-01-31", "2024-05-01"))
    found, cursor = look(landed, cursor, "2024-02-11")
    assert found == ["2024-01"]
    found, cursor = look(landed, cursor, "2024-03-02")
    assert found == []
    assert look(landed, cursor, "2024-05-01")[0] == ["2024-05"]


def test_other_files_in_the_folder_are_nothing_to_it(landed: Place) -> None:
    land(landed, "README.txt", "about")
    land(landed, ".a.csv.part", "half")
    assert "No new file among 0" in landed.tick(SENSOR).skip_message


def test_a_landing_zone_that_is_not_there_yet_is_said_in_words(landed: Place) -> None:
    os.rmdir(landed.landing)  # noqa: PTH106
    assert "no such file or folder yet" in landed.tick(SENSOR).skip_message


def observed(place: Place) -> dg.AssetObservation:
    """As the Observe button has it."""
    every_asset = place.defs.resolve_implicit_global_asset_job_def()
    result = every_asset.execute_in_process(
        instance=place.instance, asset_selection=[place.dataset.key("landing")]
    )
    return result.get_asset_observation_events()[0].asset_observation_data.asset_observation


def test_an_observation_has_another_version_when_a_file_lands(landed: Place) -> None:
    land(landed, "a.csv", rows("2024-01-05"))
    one, same = observed(landed), observed(landed)
    land(landed, "b.csv", rows("2024-01-06"))
    other = observed(landed)
    versions = [o.tags["dagster/data_version"] for o in (one, same, other)]
    assert versions[0] == versions[1] != versions[2]
    assert other.metadata["files"].value == 2


def test_the_sensor_observes_in_passing_what_it_has_listed(landed: Place) -> None:
    land(landed, "a.csv", rows("2024-01-05"))
    ticked = landed.tick(SENSOR)
    (event,) = ticked.asset_events
    assert event.tags["dagster/data_version"] == observed(landed).tags["dagster/data_version"]
    assert landed.tick(SENSOR, ticked.cursor).asset_events == []
