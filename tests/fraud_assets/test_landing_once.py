"""What has been asked for is not asked for again: by a touch, another file, or a new version."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import numpy as np
import pytest
from assets_kit import LANDED, Place, asked, rows

from fraud_assets.sensors import landing as landing_sensor
from fraud_mlops.landing.cursor import Cursor
from fraud_mlops.landing.listing import landed_files
from fraud_mlops.landing.seen import SeenFiles
from fraud_mlops.settings import settings

SENSOR = "landing_sensor"
BAD = "claim,day\nc1,2024-01-05\n"


@pytest.fixture(autouse=True)
def settled_at_once(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(landing_sensor, "SETTLE_SECONDS", 0.0)
    yield
    settings.cache_clear()


def land(place: Place, **files: str) -> None:
    for name, text in files.items():
        (place.landing / f"{name}.csv").write_text(text)


def test_a_file_that_is_only_touched_is_not_asked_for_again(landed: Place) -> None:
    land(landed, a=rows("2024-01-31"), b=rows("2024-05-05", start=5))
    first = landed.tick(SENSOR)
    (landed.landing / "a.csv").chmod(0o600)
    os.utime(landed.landing / "b.csv", (1_700_000_000, 1_700_000_000))
    touched = landed.tick(SENSOR, first.cursor)
    assert asked(touched) == []
    assert landed.tick(SENSOR, touched.cursor).cursor == touched.cursor, "it is known again"
    land(landed, b=rows("2024-06-05", start=5))
    assert asked(landed.tick(SENSOR, touched.cursor)) == ["2024-05..2024-06"]


def test_a_bad_file_that_is_touched_stays_set_aside(landed: Place) -> None:
    land(landed, a=BAD, b=rows("2024-05-05", start=5))
    first = landed.tick(SENSOR)
    os.utime(landed.landing / "a.csv", (1_700_000_000, 1_700_000_000))
    assert asked(landed.tick(SENSOR, first.cursor)) == []
    assert [Path(record.path).name for record in landed.aside()] == ["a.csv"]


def test_claims_of_the_future_of_a_touched_file_are_still_to_come(landed: Place) -> None:
    land(landed, a=rows("2024-01-31", "2024-03-01"))
    _, cursor = look(landed, None, datetime(2024, 2, 10, tzinfo=UTC))
    (landed.landing / "a.csv").touch()
    found, cursor = look(landed, cursor, datetime(2024, 2, 11, tzinfo=UTC))
    assert found == []
    assert look(landed, cursor, datetime(2024, 3, 2, tzinfo=UTC))[0] == ["2024-03"]


def test_a_file_with_a_stray_date_is_left_alone_when_another_changes(
    landed: Place, capfd: pytest.CaptureFixture[str]
) -> None:
    land(landed, a=rows("2024-01-31"), b=rows("1999-01-05", "2024-05-05", start=5))
    first = landed.tick(SENSOR)
    capfd.readouterr()
    land(landed, a=rows("2024-02-01"))
    again = landed.tick(SENSOR, first.cursor)
    assert asked(again) == ["2024-01..2024-02"]
    assert "1999-01" not in capfd.readouterr().err


@pytest.mark.parametrize("then", ["2021-05", None])
def test_a_change_of_the_setting_is_seen_and_its_advice_is_to_change_it(
    make_place: Callable[..., Place],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    then: str | None,
) -> None:
    begin(monkeypatch, "2023-06")
    before = make_place(LANDED + "first_partition: 2021-01\n")
    land(before, a=rows("2021-05-05", "2024-01-31"), b=rows("2024-03-03", start=5))
    first = before.tick(SENSOR)
    assert asked(first) == ["2024-01", "2024-03"]
    assert "set FRAUD_FIRST_PARTITION=2021-05, which goes before" in capfd.readouterr().err
    begin(monkeypatch, then)
    after = make_place(LANDED + "first_partition: 2021-01\n")
    again = after.tick(SENSOR, first.cursor)
    assert asked(again) == ["2021-05", "2024-01"]
    assert asked(after.tick(SENSOR, again.cursor)) == []


def begin(monkeypatch: pytest.MonkeyPatch, partition: str | None) -> None:
    if partition is None:
        monkeypatch.delenv("FRAUD_FIRST_PARTITION")
    else:
        monkeypatch.setenv("FRAUD_FIRST_PARTITION", partition)
    settings.cache_clear()


def test_what_an_older_version_looked_at_asks_for_what_was_not_asked_for(
    make_place: Callable[..., Place], capfd: pytest.CaptureFixture[str]
) -> None:
    """That is what was in the future then, and what was of no partition; not all the rest."""
    now = datetime.now(UTC)
    soon, later = now + timedelta(days=40), now + timedelta(days=75)
    before, after = make_place(LANDED), make_place(LANDED + "first_partition: 2019-05\n")
    land(before, a=rows("2024-01-31"), b=rows("2024-05-05", f"{soon:%F}", f"{later:%F}", start=5))
    land(before, c=rows("2019-05-05", "2024-07-07", start=9))
    cursor = of_an_older_version(before, before.tick(SENSOR).cursor)
    capfd.readouterr()
    first = before.tick(SENSOR, cursor)
    assert asked(first) == []
    assert "set `first_partition: 2019-05` in the contract" in capfd.readouterr().err
    assert landed_once(before, first.cursor)
    assert asked(after.tick(SENSOR, cursor)) == ["2019-05"]
    asking = []
    for day in (soon, soon, soon, later, later):
        found, cursor = look(before, cursor, day + timedelta(days=1))
        asking += found
    assert asking == [f"{soon:%Y-%m}", f"{later:%Y-%m}"]


def of_an_older_version(place: Place, cursor: str | None) -> str:
    """The cursor and the record as they were until what is due stood in it."""
    name = Cursor.parse(cursor).record
    record = Path(place.stores.lakehouse.uri("_landing", "parcels", f"seen-{name}.npy"))
    now = np.load(record)
    older = np.empty(len(now), [(n, now.dtype[n]) for n in ("path", "version", "first", "last")])
    for column in older.dtype.names or ():
        older[column] = now[column]
    np.save(record.with_name("seen-old.npy"), older)
    return "old"


def landed_once(place: Place, cursor: str) -> bool:
    """Nothing is left to be looked at once more."""
    seen = SeenFiles.read(place.stores.lakehouse, "parcels", Cursor.parse(cursor).record)
    files = landed_files(place.dataset.contract.source)  # type: ignore[arg-type]
    return not seen.due(files, 0)


def look(place: Place, cursor: str | None, now: datetime) -> tuple[list[str], str | None]:
    """A tick as it would be then: partitions that it asks for, and its cursor."""
    found = landing_sensor.arrived(place.dataset, place.stores.lakehouse, cursor, now)
    requests = landing_sensor.requests_for(place.dataset, found)
    return asked(dg.SensorResult(run_requests=requests)), found.cursor
