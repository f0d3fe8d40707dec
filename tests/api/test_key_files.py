"""Files of API keys: made, changed while a server reads them, and gone."""

from __future__ import annotations

import os
import re
import stat
import threading
import time
from pathlib import Path

import click
import pytest
from api_kit import Published, Server, keys
from click.testing import CliRunner
from filelock import FileLock
from limited import no_file_opens

from api.keys import KeyRing, add, main, read_keys

ROOT = Path(__file__).parents[2]


def test_keys_are_kept_as_hashes_only(key_file: Path, score_key: str, closed: Server) -> None:
    assert score_key not in key_file.read_text()
    assert key_file.stat().st_mode & 0o077 == 0
    assert score_key not in closed.log.read_text()


def test_a_key_is_replaced_while_the_server_runs(
    published: Published, closed: Server, key_file: Path, score_key: str
) -> None:
    claim = published.claim()
    new = keys(key_file, "add", "--id", "branch", "--scopes", "score")
    closed.until(lambda: closed.score(claim, key=new).status_code == 200, 5)
    assert closed.score(claim, key=score_key).status_code == 200
    keys(key_file, "remove", "--id", "branch")
    closed.until(lambda: closed.score(claim, key=new).status_code == 401, 5)
    kept = key_file.read_bytes()
    key_file.write_text("{ half an edit")
    time.sleep(1.2)
    assert closed.score(claim, key=score_key).status_code == 200
    key_file.write_bytes(kept)


def test_the_key_file_of_the_docs_is_not_committed_by_mistake() -> None:
    [named] = set(re.findall(r"--file (\S+)", (ROOT / "docs" / "api.md").read_text()))
    assert {f"/{named}", f"/{named}.lock"} <= {*(ROOT / ".gitignore").read_text().split()}


def test_the_scope_of_a_key_that_is_given_none_is_told() -> None:
    told = CliRunner().invoke(main, ["add", "--help"]).output
    assert "[default: score]" in " ".join(told.split())


def test_a_key_file_that_could_not_be_read_once_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    keys(path, "add", "--id", "kept")
    revoked = keys(path, "add", "--id", "revoked")
    ring = KeyRing(path)
    assert ring.find(revoked)
    keys(path, "remove", "--id", "revoked")
    time.sleep(1.1)
    with no_file_opens():
        assert ring.find(revoked)
    time.sleep(1.1)
    assert ring.find(revoked) is None


def test_without_their_file_no_keys_are_good(tmp_path: Path) -> None:
    """Not for one more request, however long after nobody has asked."""
    path = tmp_path / "keys.json"
    key = keys(path, "add", "--id", "desk")
    ring = KeyRing(path)
    assert ring.find(key)
    path.rename(tmp_path / "away")
    ring._looked = 0.0
    assert ring.find(key) is None
    (tmp_path / "away").rename(path)
    ring._looked = 0.0
    assert ring.find(key)


def test_a_key_file_that_is_away_while_another_takes_its_place_revokes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, away = tmp_path / "keys.json", tmp_path / "away"
    key = keys(path, "add", "--id", "desk")
    ring = KeyRing(path)
    path.rename(away)
    monkeypatch.setattr(time, "sleep", lambda _: away.rename(path))
    assert ring.find(key)


def test_keys_that_are_made_at_once_are_all_kept(tmp_path: Path) -> None:
    path = tmp_path / "new" / "keys.json"

    def make(name: str) -> None:
        add.main(["--file", str(path), "--id", name], standalone_mode=False)

    threads = [threading.Thread(target=make, args=(f"k{i}",)) for i in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {key.id for key in read_keys(path).keys} == {f"k{i}" for i in range(16)}


def test_who_finds_the_file_being_changed_waits_and_then_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "keys.json"
    monkeypatch.setattr("api.keys._LOCK_SECONDS", 0.2)
    with (
        FileLock(f"{path}.lock"),
        pytest.raises(click.ClickException, match="somebody else has been changing it"),
    ):
        add.main(["--file", str(path), "--id", "late"], standalone_mode=False)
    assert not path.exists()
    add.main(["--file", str(path), "--id", "again"], standalone_mode=False)
    assert [key.id for key in read_keys(path).keys] == ["again"]


def test_a_file_that_is_changed_keeps_its_owner_and_its_rights(tmp_path: Path) -> None:
    """A server that runs as another user would go on with the keys that it had read."""
    path = tmp_path / "keys.json"
    keys(path, "add", "--id", "desk")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o640)
    if os.getuid() == 0:
        os.chown(path, 10001, 10002)
    before = path.stat()
    keys(path, "remove", "--id", "desk")
    after = path.stat()
    assert stat.S_IMODE(after.st_mode) == 0o640
    assert (after.st_uid, after.st_gid) == (before.st_uid, before.st_gid)


def test_through_a_link_the_file_behind_it_is_changed(tmp_path: Path) -> None:
    path, link = tmp_path / "keys.json", tmp_path / "link.json"
    keys(path, "add", "--id", "desk")
    link.symlink_to(path)
    keys(link, "add", "--id", "branch")
    assert link.is_symlink()
    assert [key.id for key in read_keys(path).keys] == ["desk", "branch"]


@pytest.mark.parametrize("command", ["add", "remove"])
def test_a_damaged_file_is_told_and_left_as_it_is(tmp_path: Path, command: str) -> None:
    path = tmp_path / "keys.json"
    path.write_text("{ half an edit")
    ran = CliRunner().invoke(main, [command, "--file", str(path), "--id", "desk"])
    assert ran.exit_code == 1
    assert f"Error: FRAUD_API_KEYS_FILE={path}" in ran.output
    assert path.read_text() == "{ half an edit"


def test_a_place_where_no_file_can_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ran = CliRunner().invoke(main, ["add", "--file", str(tmp_path / "file/keys"), "--id", "desk"])
    assert ran.exit_code == 1
    assert "cannot be changed (Not a directory)" in ran.output or "File exists" in ran.output
