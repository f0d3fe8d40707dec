"""Pythons that tests keep for a week go away, under whoever makes another."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import interpreters
import pytest
from filelock import FileLock

WEEKS = 60 * 86_400


@pytest.fixture(autouse=True)
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(interpreters, "_KEPT", tmp_path)
    return tmp_path


def a_python(folder: Path, age: float, files: int = 0) -> Path:
    folder.mkdir()
    for number in range(files):
        (folder / str(number)).touch()
    (folder / ".done").touch()
    os.utime(folder / ".done", (time.time() - age,) * 2)
    return folder


def test_only_old_ones_go(kept: Path) -> None:
    old, new = a_python(kept / "old", WEEKS), a_python(kept / "new", 60)
    interpreters._forget_old_ones()
    assert (old.exists(), new.exists()) == (False, True)


def test_one_that_somebody_else_asks_for_stays(kept: Path) -> None:
    old = a_python(kept / "old", WEEKS)
    with FileLock(f"{old}.lock"):
        interpreters._forget_old_ones()
    assert old.exists()


def test_two_that_remove_at_once_do_not_hinder_each_other(kept: Path) -> None:
    old = [a_python(kept / f"old-{number}", WEEKS, files=200) for number in range(20)]
    hindered: list[BaseException] = []

    def forget() -> None:
        try:
            interpreters._forget_old_ones()
        except OSError as error:
            hindered.append(error)

    both = [threading.Thread(target=forget) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert hindered == []
    assert not any(one.exists() for one in old)
