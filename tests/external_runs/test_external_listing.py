"""What the sensor lists, and what its cursor remembers."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import fsspec
from external_kit import FLOW, Daemon, materializations, publish
from hypothesis import given, settings
from hypothesis import strategies as st

from dagster_metaflow import build_external_runs_sensor
from dagster_metaflow.cursor import Seen
from dagster_metaflow.listing import ReportFile, list_reports
from dagster_metaflow.reports import Materialization, write_report


def test_other_files_of_a_ledger_are_no_reports(lake: Path) -> None:
    place = publish(lake, "1")
    for name in (".first.json.0a.tmp", "card.html", ".hidden.json"):
        (place.parent / name).write_text("{}")
    (place.parent / "deep").mkdir()
    (place.parent / "deep" / "x.json").write_text("{}")
    (lake / "_reports" / "index.json").write_text("{}")
    assert [file.path for file in list_reports(str(lake))] == [str(place)]


def test_a_ledger_in_an_object_store(instance: dg.DagsterInstance) -> None:
    root = "memory://external/lake"
    made = [Materialization(data_version="v", metadata={"rows": 1})]
    for launch in ("1", "2"):
        write_report(root, FLOW, launch, ["first"], made, run=f"{FLOW}/{launch}/start/1")
    fsspec.filesystem("memory").pipe_file(f"/external/lake/_reports/{FLOW}/2/.launch.json", b"{}")
    daemon = Daemon(build_external_runs_sensor(ledger_root=root, flows=[FLOW]), instance)
    daemon.tick()
    daemon.tick()
    assert materializations(instance) == ["1"]


def files(*times: float) -> list[ReportFile]:
    return sorted(ReportFile(t, hash((n, t)) & (2**64 - 1), str(n)) for n, t in enumerate(times))


def test_a_cursor_does_not_grow_with_the_ledger() -> None:
    small = Seen.of(files(*range(100))).write()
    large = Seen.of(files(*range(20_000))).write()
    assert len(large) < 1.05 * len(small) < 1600


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.floats(0, 1e9), max_size=200),
    st.lists(st.floats(0, 1e9), max_size=20),
)
def test_whatever_is_new_is_seen_and_a_cursor_survives_being_written(
    old: list[float], new: list[float]
) -> None:
    before = files(*old)
    after = sorted({*before, *[ReportFile(t, n * 7 + 1, f"n{n}") for n, t in enumerate(new)]})
    seen = Seen.read(Seen.of(before).write())
    assert seen.unseen(before) == []
    assert set(after) - set(before) <= set(seen.unseen(after))
    assert Seen.of(after).unseen(after) == []


@given(st.lists(st.floats(0, 1e9), min_size=1, max_size=200), st.data())
def test_what_is_left_is_seen_next_time(times: list[float], data: st.DataObject) -> None:
    all_files = files(*times)
    left = data.draw(st.lists(st.sampled_from(all_files), unique=True))
    assert set(left) <= set(Seen.of(all_files, left).unseen(all_files))
