"""A damaged report is told, and stops no other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from external_kit import Daemon, materializations, publish
from fsspec.implementations.local import LocalFileSystem


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


@pytest.mark.parametrize(
    "message",
    [
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
