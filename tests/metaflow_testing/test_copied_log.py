"""Logs are read in lines, some at a time, whatever stands in them."""

from __future__ import annotations

from pathlib import Path

from dagster_metaflow.backends.copied_log import read_lines

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
