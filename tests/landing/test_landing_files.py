"""Files land, are looked at once, and bad ones are set aside without holding up the others."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from pathlib import Path

import fsspec
import numpy as np
import pytest

from fraud_mlops.claims import ingest
from fraud_mlops.claims.files import find_files
from fraud_mlops.claims.looking import file_uri, look_into
from fraud_mlops.contract import Contract
from fraud_mlops.errors import LakehouseError, SourceError
from fraud_mlops.lakehouse.partitions import Lakehouse
from fraud_mlops.landing.aside import files_aside, judged_by, set_aside, take_back
from fraud_mlops.landing.listing import Landed, landed_files, listing_version
from fraud_mlops.landing.seen import EVER, Looked, SeenFiles
from fraud_mlops.limits import Quality
from fraud_mlops.sources import FileSource

_OLDER = [("path", "<u8"), ("version", "<u8"), ("first", "<i4"), ("last", "<i4")]
HEADER = "claim,day,fraud,amount,garage\n"


def contract(folder: Path | str, pattern: str = "*.csv") -> Contract:
    return Contract.model_validate(
        {
            "name": "parcels",
            "source": {"uri": f"{folder}/{pattern}"},
            "claim_id": "claim",
            "event_time": {"column": "day"},
            "label": {"column": "fraud", "delay": "30d"},
            "amount": "amount",
            "entities": {"garage": "garage"},
        }
    )


def claims(*days: str, fraud: str = "0", start: int = 0) -> str:
    rows = (f"c{i},{day},{fraud},10,g{i % 2}\n" for i, day in enumerate(days, start))
    return HEADER + "".join(rows)


def names(files: list[Landed]) -> list[str]:
    return sorted(file.path.rpartition("/")[2] for file in files)


@pytest.fixture
def landing(tmp_path: Path) -> Path:
    made = tmp_path / "landing"
    made.mkdir()
    return made


@pytest.fixture
def lake(tmp_path: Path) -> Lakehouse:
    return Lakehouse(str(tmp_path / "lake"))


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("", ["a.csv", "b.csv", "c.csv", "notes.txt"]),
        ("/*.csv", ["a.csv", "b.csv"]),
        ("/**/*.csv", ["a.csv", "b.csv", "c.csv"]),
        ("/2024/*", ["c.csv"]),
        ("/a.csv", ["a.csv"]),
        ("/[ab].csv", ["a.csv", "b.csv"]),
    ],
)
def test_a_folder_a_pattern_and_a_file_are_listed_as_ingest_reads_them(
    landing: Path, uri: str, expected: list[str]
) -> None:
    for name in ("a.csv", "b.csv", "2024/c.csv", "notes.txt", "_SUCCESS", ".b.csv.tmp"):
        (landing / name).parent.mkdir(exist_ok=True)
        (landing / name).write_text("x")
    assert names(landed_files(FileSource(uri=f"{landing}{uri}"))) == expected


@pytest.mark.parametrize("uri", ["", "/*.csv", "/**/*.csv", "/*/*.csv"])
def test_links_that_lead_nowhere_or_to_folders_stop_nobody(
    landing: Path, uri: str, tmp_path: Path
) -> None:
    """Ingest follows no link to a folder, so that none may ask for an ingest."""
    (landing / "deep").mkdir()
    (landing / "deep" / "b.csv").write_text("x")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "c.csv").write_text("x")
    links = {"a.csv": elsewhere / "c.csv", "loop.csv": "loop.csv", "loop": "loop", "up": ".",
             "deep/up": "..", "folder.csv": elsewhere, "gone.csv": "gone"}  # fmt: skip
    for name, target in links.items():
        (landing / name).symlink_to(target)
    source = FileSource(uri=f"{landing}{uri}")
    readable = [file.path for file in find_files(source) if Path(file.path).is_file()]
    assert [file.path for file in landed_files(source)] == readable


def test_a_store_elsewhere_is_listed_once() -> None:
    store = fsspec.filesystem("memory")
    for name in ("a.csv", "b.csv", "_SUCCESS", "deep/c.csv"):
        store.pipe_file(f"/landed/{name}", b"x")
    found = landed_files(FileSource(uri="memory://landed"))
    assert names(found) == ["a.csv", "b.csv", "c.csv"]
    assert all(file.changed > 0 and file.size == 1 for file in found)
    assert names(landed_files(FileSource(uri="memory://landed/*.csv"))) == ["a.csv", "b.csv"]


def test_a_landing_zone_that_is_not_there_yet_is_told_in_words(landing: Path) -> None:
    with pytest.raises(SourceError, match="no such file or folder yet"):
        landed_files(FileSource(uri=f"{landing}/not/here"))


def test_the_listing_has_another_version_when_a_file_is_new_changed_or_gone(landing: Path) -> None:
    source = FileSource(uri=str(landing))
    versions = [listing_version(landed_files(source))]
    for text in ("one", "another", None):
        (landing / "a.csv").write_text(text) if text else (landing / "a.csv").unlink()
        versions.append(listing_version(landed_files(source)))
    assert versions[0] == versions[3]
    assert len(set(versions)) == 3


def test_a_file_is_fresh_until_it_was_looked_at_and_again_when_it_changes(
    landing: Path, lake: Lakehouse
) -> None:
    for name in ("a.csv", "b.csv"):
        (landing / name).write_text("x")
    files = landed_files(FileSource(uri=str(landing)))
    seen = SeenFiles().after([Looked(files[0], 19000, 19031)], files)
    assert names(seen.fresh(files)) == ["b.csv"]
    name = seen.write(lake, "parcels")
    (landing / "a.csv").write_text("xy")
    files = landed_files(FileSource(uri=str(landing)))
    again = SeenFiles.read(lake, "parcels", name)
    assert names(again.fresh(files)) == ["a.csv", "b.csv"]
    assert again.days(files[0]) == (19000, 19031)
    assert again.days(files[1]) is None


def test_the_record_forgets_files_that_are_gone_and_its_own_past(lake: Lakehouse) -> None:
    files = [Landed(f"/landed/{i}.csv", i, 1.0) for i in range(1000)]
    first = SeenFiles().after([Looked(file, i, i) for i, file in enumerate(files)], files)
    names = [first.write(lake, "parcels")]
    for count in (500, 2):
        later = SeenFiles.read(lake, "parcels", names[-1]).after([], files[:count])
        assert len(later) == count
        names.append(later.write(lake, "parcels", keep=names[-1]))
    kept = {path.name for path in Path(lake.uri("_landing", "parcels")).iterdir()}
    assert kept == {f"seen-{name}.npy" for name in names[1:]}
    with pytest.raises(LakehouseError, match="Reset the sensor's cursor"):
        SeenFiles.read(lake, "parcels", names[0])


def test_a_record_of_an_older_version_is_read_on(landing: Path, lake: Lakehouse) -> None:
    for name in ("bad.csv", "good.csv"):
        (landing / name).write_text("x")
    bad, good = landed_files(FileSource(uri=str(landing)))
    seen = SeenFiles().after([Looked(bad), Looked(good, 19000, 19031)], [bad, good])
    older = np.array(seen._records[["path", "version", "first", "last"]].tolist(), _OLDER)
    place = Path(lake.uri("_landing", "parcels", "seen-old.npy"))
    place.parent.mkdir(parents=True)
    np.save(place, older)
    again = SeenFiles.read(lake, "parcels", "old")
    assert again.fresh([bad, good]) == []
    assert again.first_good([bad, good]) == good
    assert (again.days(good), again.days(bad)) == ((19000, 19031), None)
    assert again.due([bad, good], 0) == {bad: EVER, good: EVER}, "nobody has asked what is due"
    np.save(place, np.zeros(3))
    with pytest.raises(LakehouseError, match="gone or damaged"):
        SeenFiles.read(lake, "parcels", "old")


def test_claims_of_the_future_are_told_with_the_first_of_them(landing: Path) -> None:
    (landing / "a.csv").write_text(claims("2024-01-02", "9999-12-31", "2024-03-05", "2024-02-01"))
    now = datetime(2024, 1, 15, tzinfo=UTC)
    found = look_into(contract(landing), str(landing / "a.csv"), now=now)
    assert found.next_event == datetime(2024, 2, 1, tzinfo=UTC)
    assert look_into(contract(landing), str(landing / "a.csv")).next_event is not None
    (landing / "a.csv").write_text(claims("2024-01-02"))
    assert look_into(contract(landing), str(landing / "a.csv")).next_event is None


def test_a_file_tells_its_partitions_without_being_read_whole(landing: Path) -> None:
    (landing / "a.csv").write_text(claims("2024-03-31T23:59", "2024-01-02", "2024-03-01"))
    described = contract(landing)
    found = look_into(described, str(landing / "a.csv"))
    assert found.partitions == ("2024-01", "2024-03")
    assert found.rows == 3
    weekly = described.model_copy(update={"partition": "week"})
    assert look_into(weekly, str(landing / "a.csv")).partitions[0] == "2024-01-01"


BAD = {
    "no_label.csv": ("claim,day,amount,garage\nc1,2024-01-02,1,g\n", "no column 'fraud'"),
    "more.csv": ("claim,day,fraud,amount,garage,colour\nc1,2024-01-02,0,1,g,red\n", "'colour'"),
    "no_time.csv": (claims("yesterday", "2024-01-02"), "bad_event_time"),
    "no_word.csv": (claims("2024-01-02", fraud="perhaps"), "unknown_label"),
    "empty.csv": ("", "empty"),
    "zipped.csv.gz": ("not a gzip file", "zipped"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_ingest_would_stumble_over_is_said_beforehand(landing: Path, name: str) -> None:
    text, reason = BAD[name]
    (landing / "a.csv").write_text(claims("2024-01-02"))
    (landing / name).write_text(text)
    with pytest.raises(SourceError, match=reason):
        look_into(contract(landing), str(landing / name), like=str(landing / "a.csv"))


def test_ingest_goes_past_a_file_that_is_set_aside_until_it_is_replaced(
    landing: Path, lake: Lakehouse
) -> None:
    days = [f"2024-01-{day:02}" for day in range(1, 29)]
    (landing / "a.csv").write_text(claims(*days))
    (landing / "b.csv").write_text("what is this")
    described = contract(landing)
    now = datetime(2024, 12, 1, tzinfo=UTC)
    given = {"launch_id": "1", "as_of": now, "sample_size": None}
    with pytest.raises(SourceError, match=r"b\.csv"):
        ingest(described, lake, **given)
    bad = landed_files(described.source)[1]
    set_aside(lake, described, file_uri(described.source, bad), bad, "b.csv: is no table")
    report = ingest(described, lake, **given)
    assert report.kept == 28
    assert any("b.csv: is no table" in warning for warning in report.warnings)
    assert (landing / "b.csv").read_text() == "what is this"

    time.sleep(0.01)
    (landing / "b.csv").write_text(claims(*days, start=100))
    assert files_aside(lake, "parcels") == []
    assert ingest(described, lake, **given).kept == 56
    take_back(lake, "parcels", bad.path)
    assert not list(Path(lake.uri("_landing", "parcels", "aside")).iterdir())


def test_ingest_reads_a_file_again_when_the_contract_was_mended_and_not_when_another_thing_was(
    landing: Path, lake: Lakehouse
) -> None:
    (landing / "a.csv").write_text(claims("2024-01-05", "2024-01-06"))
    (landing / "b.csv").write_text(claims("2024-01-07", "soon", start=10))
    strict = contract(landing)
    files = landed_files(strict.source)
    set_aside(lake, strict, file_uri(strict.source, files[1]), files[1], "b.csv: half of it is bad")
    given = {"launch_id": "1", "as_of": datetime(2024, 12, 1, tzinfo=UTC), "sample_size": None}
    lenient = Quality(max_bad_share=0.6)
    for described, kept in (
        (strict, 2),
        (strict.model_copy(update={"version": 2}), 2),
        (strict.model_copy(update={"quality": lenient}), 3),
    ):
        assert ingest(described, lake, **given).kept == kept


def test_what_only_models_are_made_by_makes_no_file_worth_another_look(landing: Path) -> None:
    strict = contract(landing)
    for changed in ({"description": "other words"}, {"windows": (3,)}):
        assert judged_by(strict.model_copy(update=changed)) == judged_by(strict)
    lenient = strict.model_copy(update={"quality": Quality(max_bad_share=0.6)})
    assert judged_by(lenient) != judged_by(strict)


def test_a_file_whose_name_is_not_utf_8_is_ingested_and_its_bad_rows_name_it(
    landing: Path, lake: Lakehouse
) -> None:
    good, bad = (landing / os.fsdecode(name) for name in (b"sch\xe4den.csv", b"sch\xf6n.csv"))
    good.write_text(claims("2024-01-05", "2024-01-06", "soon"))
    bad.write_text("what is this")
    described = contract(landing).model_copy(
        update={"claim_id": None, "quality": Quality(max_bad_share=0.5)}
    )
    (file,) = [f for f in landed_files(described.source) if f.path == str(bad)]
    set_aside(lake, described, str(bad), file, f"{bad}: is no table")
    assert [record.file for record in files_aside(lake, "parcels")] == [file]
    now = datetime(2024, 12, 1, tzinfo=UTC)
    report = ingest(described, lake, launch_id="1", as_of=now, sample_size=None)
    assert (report.kept, report.quarantined) == (2, 1)
    report.model_dump_json()
    take_back(lake, "parcels", file.path)
    assert files_aside(lake, "parcels") == []


def test_what_a_contract_does_not_read_may_differ_from_file_to_file(
    landing: Path, lake: Lakehouse
) -> None:
    (landing / "a.csv").write_text("more," + claims("2024-01-05").replace("c0", "x,c0"))
    (landing / "b.csv").write_text(claims("2024-01-06", start=5))
    given = {"launch_id": "1", "as_of": datetime(2024, 12, 1, tzinfo=UTC), "sample_size": None}
    with pytest.raises(SourceError, match="'more' is missing"):
        ingest(contract(landing), lake, **given)
    closed = contract(landing).model_copy(update={"numeric": (), "categorical": ()})
    assert ingest(closed, lake, **given).kept == 2


def test_a_renamed_file_counts_as_changed_at_the_time_of_its_renaming(landing: Path) -> None:
    """Uploads are renamed when they are whole, and keep the time of their content."""
    (landing / "a.part").write_text("x")
    os.utime(landing / "a.part", (1_000_000_000, 1_000_000_000))
    (landing / "a.part").rename(landing / "a.csv")
    assert time.time() - landed_files(FileSource(uri=f"{landing}/*.csv"))[0].changed < 60
