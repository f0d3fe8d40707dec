"""What has arrived in a landing zone, as one look finds it, and the cursor that leads to the next.

`now` is a day in July 2024; the partitions there are then are its months from 2023 on.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fraud_mlops.contract import Contract
from fraud_mlops.errors import NotThereError
from fraud_mlops.lakehouse.partitions import Lakehouse
from fraud_mlops.lakehouse.ranges import PartitionRange
from fraud_mlops.landing.arrivals import Arrivals, Seconds, look
from fraud_mlops.landing.aside import asked_again, files_aside, judged_by
from fraud_mlops.landing.cursor import Cursor
from fraud_mlops.landing.listing import landed_files
from fraud_mlops.landing.partitions import Partitions
from fraud_mlops.landing.seen import SeenFiles

HEADER = "claim,day,fraud,amount,garage\n"
NO_LABEL = "claim,day\nc1,2024-01-05\n"
NOW = datetime(2024, 7, 15, 12, tzinfo=UTC)
MONTHS = PartitionRange.of("2023-01", "2024-07", "month").values()
AT_ONCE = Seconds(settle=0.0, listing=35.0, reading=20.0, together=50.0)


class Zone:
    """A landing zone, and a lakehouse for what is known of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "landing"
        self.folder.mkdir()
        self.lake = Lakehouse(str(folder / "lake"))
        self.contract = Contract.model_validate(
            {
                "name": "parcels",
                "source": {"uri": f"{self.folder}/*.csv"},
                "claim_id": "claim",
                "event_time": {"column": "day"},
                "label": {"column": "fraud", "delay": "30d"},
                "amount": "amount",
                "entities": {"garage": "garage"},
                "numeric": (),
                "categorical": (),
            }
        )

    def land(self, name: str, *days: str, text: str = "") -> Path:
        path = self.folder / name
        rows = "".join(f"{name}{i},{day},0,10,g\n" for i, day in enumerate(days))
        path.write_text(text or HEADER + rows)
        return path

    def look(
        self, cursor: str | None = None, seconds: Seconds = AT_ONCE, now: datetime = NOW
    ) -> Arrivals:
        partitions = Partitions(MONTHS, "month", live=True)
        return look(
            self.contract, self.lake, cursor, partitions=partitions, seconds=seconds, now=now
        )


@pytest.fixture
def zone(tmp_path: Path) -> Zone:
    return Zone(tmp_path)


def test_a_new_file_asks_for_the_partitions_of_its_claims_once(zone: Zone) -> None:
    path = zone.land("a.csv", "2024-01-31", "2024-03-01")
    found = zone.look()
    assert list(found.touched) == ["2024-01", "2024-03"]
    ((why,), (same,)) = found.touched.values()
    assert why == same
    assert str(path) in why
    assert found.cursor is not None
    again = zone.look(found.cursor)
    assert (again.touched, again.looked, again.cursor) == ({}, 0, found.cursor)
    assert again.nothing == "No new file among 1."


def test_a_look_that_is_repeated_finds_the_same(zone: Zone) -> None:
    zone.land("a.csv", "2024-01-31", "1999-01-05")
    zone.land("b.csv", "2024-05-05")
    first = zone.look()
    assert zone.look() == first
    zone.land("b.csv", "2024-06-05")
    assert zone.look(first.cursor) == zone.look(first.cursor)


def test_a_file_that_cannot_be_read_is_set_aside_with_the_reason(zone: Zone) -> None:
    bad = zone.land("bad.csv", text=NO_LABEL)
    zone.land("good.csv", "2024-05-05")
    found = zone.look()
    assert list(found.touched) == ["2024-05"]
    assert list(found.aside) == [str(bad)]
    assert "no column 'fraud'" in found.aside[str(bad)]
    assert [record.path for record in files_aside(zone.lake, "parcels")] == [str(bad)]
    assert zone.look(found.cursor).aside == {}, "it is told once"


def test_a_text_of_other_things_beside_claims_is_passed_over(zone: Zone) -> None:
    """As an ingest passes over it; one that may hold claims is set aside with the reason."""
    source = {"source": {"uri": str(zone.folder)}}
    zone.contract = Contract.model_validate(zone.contract.model_dump() | source)
    zone.land("README.txt", text="What these columns mean.\n")
    zone.land("a.csv", "2024-01-31")
    other = zone.land("more.txt", text=HEADER.replace(",", ";") + "c1;2024-02-01;0;10;g\n")
    found = zone.look()
    assert list(found.touched) == ["2024-01"]
    assert list(found.aside) == [str(other)]
    assert (zone.look(found.cursor).looked, found.problems) == (0, ())


def test_claims_of_no_partition_are_a_problem_and_the_others_are_asked_for(zone: Zone) -> None:
    zone.land("a.csv", "1999-01-05", "2024-01-05")
    found = zone.look()
    assert list(found.touched) == ["2024-01"]
    (problem,) = found.problems
    assert "holds claims of 1999-01: no partitions of parcels" in problem
    assert "Partitions begin at 2023-01" in problem


def test_claims_of_the_future_are_asked_for_when_they_have_happened(zone: Zone) -> None:
    zone.land("a.csv", "2024-05-05", "2024-07-20")
    first = zone.look()
    assert list(first.touched) == ["2024-05", "2024-07"], "the month under way is there"
    assert zone.look(first.cursor, now=datetime(2024, 7, 19, tzinfo=UTC)).touched == {}
    due = zone.look(first.cursor, now=datetime(2024, 7, 20, tzinfo=UTC))
    assert list(due.touched) == ["2024-07"]
    assert due.touched["2024-07"] != first.touched["2024-07"], (
        "for another reason: a run of its own"
    )


def test_a_file_that_may_still_be_being_written_waits(zone: Zone) -> None:
    zone.land("a.csv", "2024-01-31")
    found = zone.look(seconds=Seconds(settle=60.0, listing=35.0, reading=20.0, together=50.0))
    assert (found.touched, found.unsettled, found.cursor) == ({}, 1, None)
    assert found.nothing == "No new file among 1; 1 may still be being written."


def test_a_look_that_is_out_of_time_leaves_the_rest_to_the_next(zone: Zone) -> None:
    for number, month in enumerate(("2024-01", "2024-02", "2024-03")):
        zone.land(f"{number}.csv", f"{month}-05")
    asked, cursor = [], None
    for _ in range(4):
        found = zone.look(cursor, Seconds(settle=0.0, listing=35.0, reading=0.0, together=50.0))
        asked.append(list(found.touched))
        cursor = found.cursor
    assert asked == [["2024-01"], ["2024-02"], ["2024-03"], []]


def test_files_without_claims_to_ingest_are_counted(zone: Zone) -> None:
    zone.land("bad.csv", text=NO_LABEL)
    assert zone.look().nothing == "1 files looked at; none has claims to ingest."


def test_a_landing_zone_that_is_not_there_yet_is_an_error_of_its_own(zone: Zone) -> None:
    zone.contract = zone.contract.model_copy(
        update={"source": zone.contract.source.model_copy(update={"uri": "/not/here"})}
    )
    with pytest.raises(NotThereError):
        zone.look()


def test_claims_that_are_generated_do_not_land(zone: Zone) -> None:
    generated = {"kind": "synthetic", "claims": 10, "start": "2024-01-01", "end": "2024-06-01"}
    zone.contract = Contract.model_validate(zone.contract.model_dump() | {"source": generated})
    with pytest.raises(TypeError, match="parcels is generated"):
        zone.look()


def digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def test_a_cursor_says_in_a_fixed_form_what_was_seen_and_judged_by(zone: Zone) -> None:
    """Cursors live on in Dagster's instance while the code is replaced."""
    zone.land("a.csv", "1999-01-31", "2024-01-31")
    zone.land("bad.csv", text=NO_LABEL)
    source = zone.contract.source
    good = landed_files(source)[0]  # type: ignore[arg-type]
    judge = judged_by(zone.contract)
    bad = digest(judge, repr(good), asked_again(zone.lake, "parcels"))
    found = zone.look()
    record, *judges = str(found.cursor).split("@")
    assert judges == [bad, digest(judge, "2023-01")]
    assert len(SeenFiles.read(zone.lake, "parcels", record)) == 2


@pytest.mark.parametrize(
    ("judged", "looked"),
    [
        ("{record}@{bad}@{partly}", []),
        ("{record}@another@{partly}", ["bad"]),
        ("{record}@{bad}@another", ["partly"]),
        ("{record}@{bad}", ["partly"]),
        ("{record}", ["bad", "partly"]),
        ("", ["bad", "good", "partly"]),
    ],
)
def test_what_a_cursor_does_not_know_as_judged_by_the_same_is_looked_at_again(
    zone: Zone, judged: str, looked: list[str]
) -> None:
    zone.land("bad.csv", text=NO_LABEL)
    zone.land("good.csv", "2024-01-31")
    zone.land("partly.csv", "1999-01-31", "2024-05-31")
    first = zone.look()
    record, bad, partly = str(first.cursor).split("@")
    again = zone.look(judged.format(record=record, bad=bad, partly=partly))
    assert again.looked == len(looked)
    assert again.cursor == first.cursor
    told = [
        *(Path(path).stem for path in again.aside),
        *(Path(line.partition(":")[0]).stem for line in again.problems),
    ]
    assert sorted(told) == [name for name in looked if name != "good"]


@pytest.mark.parametrize(
    ("text", "cursor"),
    [
        (None, Cursor()),
        ("", Cursor()),
        ("old", Cursor("old")),
        ("seen@bad", Cursor("seen", "bad")),
        ("seen@bad@partly", Cursor("seen", "bad", "partly")),
    ],
)
def test_a_cursor_of_any_version_is_read(text: str | None, cursor: Cursor) -> None:
    assert Cursor.parse(text) == cursor
    assert Cursor.parse(str(cursor)) == cursor
