"""Logs are read in lines, some at a time, whatever stands in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from dagster_metaflow.backends.copied_log import Noted, alone, append, noted_in, read_lines
from dagster_metaflow.backends.protocol import OutOfSightError

_LONG = 1 << 20


def test_a_line_that_a_look_ends_in_is_read_whole_by_the_next(tmp_path: Path) -> None:
    first, second = "a" * (_LONG - 10), "Task failed. No end to this line"
    (tmp_path / "log").write_text(f"{first}\n{second}")
    lines, offset = read_lines(tmp_path, 0, over=True)
    assert lines == [first]
    assert read_lines(tmp_path, offset, over=False) == ([], offset)  # it may still be written
    assert read_lines(tmp_path, offset, over=True)[0] == [second]


def test_a_line_that_is_longer_than_a_look_comes_in_pieces(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("b" * (_LONG + 5) + "\n")
    lines, offset = read_lines(tmp_path, 0)
    rest, _ = read_lines(tmp_path, offset)
    assert "".join(lines + rest) == "b" * (_LONG + 5)


def test_a_disk_here_that_is_full_is_no_fault_of_the_run(tmp_path: Path) -> None:
    (tmp_path / "following.tmp").symlink_to("/dev/full")
    with pytest.raises(OutOfSightError, match=r"No space left on device.*The run goes on\."):
        append(tmp_path, Noted(), b"a line\n")


def test_nor_is_a_folder_that_cannot_be_made_or_read(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutOfSightError, match="state_folder"), alone(tmp_path / "file" / "1"):
        pytest.fail("nothing can be written there")
    (tmp_path / "following.json").mkdir()
    with pytest.raises(OutOfSightError):
        noted_in(tmp_path, Noted)


def test_what_fails_while_one_is_alone_is_told_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(FileExistsError), alone(tmp_path / "1"):
        (tmp_path / "1").mkdir()
