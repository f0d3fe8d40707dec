"""A damaged report is told, and stops no other."""

from __future__ import annotations

import json
import os
from pathlib import Path

import dagster as dg
import pytest
from external_kit import Daemon, materializations, publish
from fsspec.implementations.local import LocalFileSystem

from dagster_metaflow.events import LAUNCH_TAG


def test_a_damaged_report_is_told_and_blocks_no_other(
    daemon: Daemon, lake: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = publish(lake, "1", minute=1)
    damaged.write_text('{"schema_version": 1')
    publish(lake, "2", minute=2)
    daemon.tick()
    assert materializations(daemon.instance) == ["2"]
    assert "1 reports could not be recorded; see the log" in daemon.said[0]
    told = capsys.readouterr().err
    assert f"a damaged report is left out until it changes: {damaged}: is no asset report" in told


def test_a_damaged_report_is_not_told_at_every_tick(daemon: Daemon, lake: Path) -> None:
    publish(lake, "1").write_text("{")
    daemon.tick()
    daemon.tick()
    assert daemon.said[1].startswith("nothing new (")


def test_a_damaged_report_is_looked_at_again_when_it_changes(daemon: Daemon, lake: Path) -> None:
    place = publish(lake, "1")
    whole = place.read_bytes()
    place.write_text("{")
    daemon.tick()
    place.write_bytes(whole)
    assert len(daemon.tick()) == 1


CHECK = {"check_name": "fine", "passed": True, "severity": "ERROR", "metadata": {}}
MADE = {"data_version": "v", "metadata": {}}


@pytest.mark.parametrize(
    "message",
    [
        *(
            {"method": "report_asset_check", "params": CHECK | wrong}
            for wrong in (
                {"passed": "yes"},
                {"passed": None},
                {"check_name": 7},
                {"check_name": "a b"},
            )
        ),
        *(
            {"method": "report_asset_materialization", "params": MADE | wrong}
            for wrong in (
                {"data_version": None},
                {"metadata": {"partition": {"raw_value": "", "type": "text"}}},
                {"metadata": {"partition": {"raw_value": "a\0", "type": "text"}}},
            )
        ),
        {},
        {"method": "report_asset_materialization", "params": {}},
        {"method": "report_asset_materialization", "params": None},
        {"method": "report_asset_materialization", "params": {"metadata": [], "data_version": "v"}},
        {"method": "report_asset_check", "params": {"check_name": "fine"}},
        {
            "method": "report_asset_check",
            "params": {"check_name": "x", "passed": True, "severity": "?", "metadata": {}},
        },
    ],
)
def test_messages_that_are_not_as_pipes_has_them_are_damage(
    daemon: Daemon, lake: Path, message: object
) -> None:
    place = publish(lake, "1", minute=1)
    content = json.loads(place.read_bytes()) | {"messages": [message]}
    place.write_text(json.dumps(content))
    publish(lake, "2", minute=2)
    daemon.tick()
    assert materializations(daemon.instance) == ["2"]
    assert "1 reports could not be recorded" in daemon.said[0]


@pytest.mark.parametrize(
    "wrong",
    [
        {"written": "0001-01-01T00:00:00Z"},
        {"written": "9999-12-31T23:59:59-12:00"},
        {"asset_key": []},
        {"asset_key": [""]},
        {"asset_key": ["a/b"]},
        {"launch_id": "x y"},
    ],
)
def test_what_no_flow_can_have_written_is_damage(
    daemon: Daemon, lake: Path, wrong: dict[str, object]
) -> None:
    place = publish(lake, "1", minute=1)
    place.write_text(json.dumps(json.loads(place.read_bytes()) | wrong))
    publish(lake, "2", minute=2)
    daemon.tick()
    assert materializations(daemon.instance) == ["2"]
    assert len(daemon.instance.get_asset_keys()) == 1
    assert "1 reports could not be recorded" in daemon.said[0]


def test_a_launch_id_too_long_for_a_tag_is_recorded_like_any_other(
    daemon: Daemon, lake: Path
) -> None:
    """As EventBridge names executions of Step Functions: the two share what a tag holds."""
    rule = "sfn-0c57d8c9-cd6c-4b4c-1f58-cd5ba1fcb2a9_b7c1bc5b-ef9f-4a58-b0c6-1d1c7d1b5a1"
    launches = ["1", f"{rule}1", f"{rule}2"]
    for minute, launch in enumerate(launches):
        publish(lake, launch, minute=minute)
    assert len(daemon.tick()) == 3
    assert daemon.tick() == []
    assert materializations(daemon.instance) == launches
    records = daemon.instance.fetch_materializations(dg.AssetKey("first"), limit=3).records
    tags = {
        (r.asset_materialization.tags or {})[LAUNCH_TAG] for r in records if r.asset_materialization
    }
    assert len(tags) == 3
    assert max(map(len, tags)) == 63


def test_a_link_to_a_folder_above_stops_nothing(daemon: Daemon, lake: Path) -> None:
    place = publish(lake, "1")
    (place.parent / "up").symlink_to("..")
    (place.parent.parent / "self").symlink_to("self")
    daemon.tick()
    assert materializations(daemon.instance) == ["1"]


def test_a_folder_that_may_not_be_read_is_told_and_stops_no_other(
    daemon: Daemon,
    lake: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Of the system's answer only: root, as whom tests may run, may read all."""
    locked = publish(lake, "locked").parent
    publish(lake, "open")
    scandir = os.scandir

    def refuse(folder: str) -> object:
        if folder == str(locked):
            raise PermissionError(13, "Permission denied", folder)
        return scandir(folder)

    with monkeypatch.context() as patched:
        patched.setattr(os, "scandir", refuse)
        daemon.tick()
    assert materializations(daemon.instance) == ["open"]
    told = capsys.readouterr().err
    assert f"{locked} is left out, as it cannot be read: Permission denied" in told
    daemon.tick()
    assert materializations(daemon.instance) == ["open", "locked"]


def test_messages_of_a_later_version_of_pipes_are_passed_over(daemon: Daemon, lake: Path) -> None:
    place = publish(lake, "1")
    content = json.loads(place.read_bytes())
    content["messages"].append({"method": "report_asset_lineage", "params": {}})
    place.write_text(json.dumps(content))
    assert len(daemon.tick()) == 1


def test_a_report_that_cannot_be_read_now_is_tried_again(
    daemon: Daemon, lake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = publish(lake, "1", minute=1)
    publish(lake, "2", minute=2)

    def refuse(self: LocalFileSystem, path: str, **_: object) -> bytes:
        if path == str(place):
            raise PermissionError(13, "Permission denied", path)
        return Path(path).read_bytes()

    with monkeypatch.context() as patched:
        patched.setattr(LocalFileSystem, "cat_file", refuse)
        daemon.tick()
    assert materializations(daemon.instance) == ["2"]
    assert "1 are left for the next tick" in daemon.said[0]
    daemon.tick()
    assert materializations(daemon.instance) == ["2", "1"]
