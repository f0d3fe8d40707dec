"""A file is set aside for what the contract says, and for as long as that is so."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from assets_kit import HEADER, LANDED, Place, asked, rows
from click.testing import CliRunner

from fraud_assets.sensors import landing as landing_sensor
from fraud_mlops.cli import main
from fraud_mlops.landing.aside import take_all_back

SENSOR = "landing_sensor"
HALF_BAD = HEADER + "c1,2024-01-05,0,10,g1\nc2,soon,0,10,g2\n"
MENDED = LANDED + "quality: {max_bad_share: 0.6}\n"
OPEN = LANDED.replace("numeric: []\ncategorical: []\n", "")
"""Features are what the files have beyond the columns that are named."""


@pytest.fixture(autouse=True)
def settled_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landing_sensor, "SETTLE_SECONDS", 0.0)


def land(place: Place, **files: str) -> None:
    for name, text in files.items():
        (place.landing / f"{name}.csv").write_text(text)


def with_colour(text: str) -> str:
    head, *lines = text.splitlines()
    return "\n".join([f"{head},colour", *(f"{line},red" for line in lines)]) + "\n"


def aside(place: Place) -> list[str]:
    return [record.path.rpartition("/")[2] for record in place.aside()]


def test_when_the_contract_is_mended_its_files_are_looked_at_again(
    make_place: Callable[..., Place],
) -> None:
    before, after = make_place(LANDED), make_place(MENDED)
    land(before, a=HALF_BAD, b=rows("2024-05-05", start=5))
    first = before.tick(SENSOR)
    assert asked(first) == ["2024-05"]
    assert aside(before) == ["a.csv"]
    again = after.tick(SENSOR, first.cursor)
    assert asked(again) == ["2024-01"]
    assert aside(after) == []
    assert asked(after.tick(SENSOR, again.cursor)) == []


def test_a_file_that_went_bad_in_between_is_ingested_where_it_was_and_where_it_is(
    landed: Place,
) -> None:
    """Its first claims are in the zone still, and have to go out of it."""
    cursor = None
    for text, partitions in (
        (rows("2024-01-31"), ["2024-01"]),
        ("claim,day\nc1,2024-01-05\n", []),
        ("what is this", []),
        (rows("2024-09-30"), ["2024-01", "2024-09"]),
        (rows("2024-09-29"), ["2024-09"]),
    ):
        land(landed, a=text)
        ticked = landed.tick(SENSOR, cursor)
        assert asked(ticked) == partitions, text
        cursor = ticked.cursor


def test_a_file_that_went_bad_is_remembered_when_the_contract_is_mended(
    make_place: Callable[..., Place],
) -> None:
    before, after = make_place(LANDED), make_place(MENDED)
    land(before, a=rows("2024-01-31"))
    first = before.tick(SENSOR)
    land(before, a=HALF_BAD.replace("2024-01", "2024-06"))
    bad = before.tick(SENSOR, first.cursor)
    assert aside(before) == ["a.csv"]
    assert asked(after.tick(SENSOR, bad.cursor)) == ["2024-01", "2024-06"]


def test_claims_before_the_first_partition_are_asked_for_when_the_contract_says_so(
    make_place: Callable[..., Place], capfd: pytest.CaptureFixture[str]
) -> None:
    before, after = make_place(LANDED), make_place(LANDED + "first_partition: 2019-05\n")
    land(before, a=rows("2019-05-05", "2024-01-31"), b=rows("2024-03-03", start=5))
    first = before.tick(SENSOR)
    assert asked(first) == ["2024-01", "2024-03"]
    assert "set `first_partition: 2019-05` in the contract" in capfd.readouterr().err
    again = after.tick(SENSOR, first.cursor)
    assert asked(again) == ["2019-05", "2024-01"]
    assert asked(after.tick(SENSOR, again.cursor)) == []


def test_a_contract_that_does_not_mend_the_file_leaves_it_aside_and_is_asked_once(
    make_place: Callable[..., Place],
) -> None:
    before, after = make_place(LANDED), make_place(LANDED + "missing: {amount: [none]}\n")
    land(before, a=HALF_BAD)
    first = before.tick(SENSOR)
    again = after.tick(SENSOR, first.cursor)
    assert aside(after) == ["a.csv"]
    assert again.cursor != first.cursor
    assert after.tick(SENSOR, again.cursor).cursor == again.cursor


def test_columns_that_the_contract_does_not_read_make_no_file_odd(landed: Place) -> None:
    land(landed, a=with_colour(rows("2024-01-05")), b=rows("2024-05-05", start=5))
    assert asked(landed.tick(SENSOR)) == ["2024-01", "2024-05"]
    assert aside(landed) == []


def test_the_odd_one_of_the_first_files_is_set_aside_and_not_the_others(
    make_place: Callable[..., Place],
) -> None:
    place = make_place(OPEN)
    land(place, a=with_colour(rows("2024-01-05")), b=rows("2024-05-05"), c=rows("2024-07-07"))
    assert asked(place.tick(SENSOR)) == ["2024-05", "2024-07"]
    assert aside(place) == ["a.csv"]


def test_files_that_differ_from_one_that_was_odd_are_let_in_when_it_is_mended(
    make_place: Callable[..., Place],
) -> None:
    place = make_place(OPEN)
    land(place, a=with_colour(rows("2024-01-05")))
    alone = place.tick(SENSOR)
    land(place, b=rows("2024-05-05", start=5))
    held = place.tick(SENSOR, alone.cursor)
    assert "list all features in the contract" in place.aside()[0].reason
    land(place, a=rows("2024-01-05"))
    assert asked(place.tick(SENSOR, held.cursor)) == ["2024-01", "2024-05"]
    assert aside(place) == []


def test_a_person_can_have_the_files_read_again(landed: Place) -> None:
    land(landed, a=HALF_BAD)
    first = landed.tick(SENSOR)
    command = ["aside", "--dataset", "parcels", "--output-uri", landed.stores.root]
    told = CliRunner().invoke(main, command).output
    assert "a.csv\n  since 20" in told
    assert "1 of 2 rows are bad" in told
    assert asked(landed.tick(SENSOR, first.cursor)) == []
    assert "1 are read again" in CliRunner().invoke(main, [*command, "--retry"]).output
    assert aside(landed) == []
    landed.tick(SENSOR, first.cursor)
    assert aside(landed) == ["a.csv"], "it was read, and is as bad as before"


def test_who_asks_while_a_tick_reads_other_files_is_heard_by_the_next(
    landed: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    land(landed, a=HALF_BAD)
    cursor = landed.tick(SENSOR).cursor
    land(landed, b=rows("2024-05-05", start=5))
    digest = hashlib.file_digest

    def asked_meanwhile(*given: Any) -> Any:
        take_all_back(landed.stores.lakehouse, landed.dataset.name)
        return digest(*given)

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(hashlib, "file_digest", asked_meanwhile)
        cursor = landed.tick(SENSOR, cursor).cursor
    assert aside(landed) == []
    landed.tick(SENSOR, cursor)
    assert aside(landed) == ["a.csv"], "it was read, and is as bad as before"


def test_nothing_aside_is_told_in_words(landed: Place) -> None:
    command = ["aside", "--dataset", "parcels", "--output-uri", landed.stores.root]
    assert "No landed file of parcels is set aside." in CliRunner().invoke(main, command).output


@pytest.mark.parametrize("record", ["_alerts", "_landing"])
def test_a_lakehouse_that_takes_no_record_is_said_in_words_and_all_is_done_again(
    landed: Place, record: str
) -> None:
    lake = landed.folder / "lake"
    lake.mkdir(exist_ok=True)
    (lake / record).touch()  # where a folder is to be
    land(landed, a=rows("2024-01-31"), broken="claim,day\nc1,2024-01-05\n")
    ticked = landed.tick(SENSOR)
    assert record in ticked.skip_message
    assert not ticked.run_requests
    (lake / record).unlink()
    assert asked(landed.tick(SENSOR, ticked.cursor)) == ["2024-01"]
    assert len(landed.alerts()) == 1
