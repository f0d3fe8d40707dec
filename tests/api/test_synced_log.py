"""A machine that loses its power has the prediction log up to the last second on its disk."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from api_kit import DATASET
from test_write_ahead import a_record

from fraud_mlops.lakehouse.partitions import Lakehouse
from fraud_mlops.serving.logged import read_predictions
from fraud_mlops.serving.prediction_log import PredictionLog
from fraud_mlops.serving.waiting_files import waiting_folder


class SilentStore(Lakehouse):
    """Does not answer until it is let."""

    def __init__(self, root: str) -> None:
        super().__init__(root)
        self.asked, self.answers = threading.Event(), threading.Event()

    def uri(self, *parts: str) -> str:
        self.asked.set()
        self.answers.wait(60)
        return super().uri(*parts)


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Paths of what was brought to disk, in order."""
    paths: list[str] = []
    sync = os.fsync

    def noted(handle: int) -> None:
        paths.append(str(Path(f"/proc/self/fd/{handle}").readlink()))
        sync(handle)

    monkeypatch.setattr(os, "fsync", noted)
    return paths


def until(ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not ready():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_flush_that_waits_for_its_store_keeps_no_record_from_the_disk(
    tmp_path: Path, synced: list[str]
) -> None:
    lake = SilentStore(str(tmp_path / "lake"))
    log = PredictionLog(lake, DATASET, tmp_path / "log", flush_seconds=0.05, sync_seconds=0.02)
    log.write([a_record("flushed")])
    assert lake.asked.wait(20)
    log.write([a_record("meanwhile")])
    synced.clear()
    [_, path] = sorted(
        waiting_folder(tmp_path / "log", lake, DATASET).glob("*.wal"),
        key=lambda path: path.stat().st_ctime_ns,
    )
    until(lambda: synced.count(str(path)) >= 3)
    assert not lake.answers.is_set()
    lake.answers.set()
    log.close()
    assert read_predictions(lake, DATASET).num_rows == 2


def test_a_file_that_is_new_is_in_a_folder_that_is_synced_and_so_are_those_above(
    tmp_path: Path, synced: list[str]
) -> None:
    lake = Lakehouse(str(tmp_path / "lake"))
    log = PredictionLog(lake, DATASET, tmp_path / "log", sync_seconds=0.02)
    folder = waiting_folder(tmp_path / "log", lake, DATASET)
    until(lambda: {str(folder), str(folder.parent), str(tmp_path)} <= set(synced))
    log.close()


def test_a_log_that_is_closed_waits_for_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is closed meanwhile may by then be another one, by its number."""
    sync, busy = os.fsync, threading.Event()
    still_open: list[bool] = []

    def slow(handle: int) -> None:
        if threading.current_thread().name == "prediction-log-sync" and not still_open:
            before = os.fstat(handle).st_ino
            busy.set()
            time.sleep(0.5)
            still_open.append(is_open(handle, before))
        sync(handle)

    monkeypatch.setattr(os, "fsync", slow)
    log = PredictionLog(Lakehouse(str(tmp_path / "lake")), DATASET, tmp_path / "log")
    assert busy.wait(20)
    log.close()
    assert still_open == [True]


def is_open(handle: int, inode: int) -> bool:
    try:
        return os.fstat(handle).st_ino == inode
    except OSError:
        return False


def test_a_disk_that_cannot_be_synced_is_counted_and_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    failures: list[None] = []
    lake = Lakehouse(str(tmp_path / "lake"))
    sync, broken = os.fsync, threading.Event()

    def damaged(handle: int) -> None:
        if broken.is_set():
            raise OSError(5, "Input/output error")
        sync(handle)

    monkeypatch.setattr(os, "fsync", damaged)
    log = PredictionLog(
        lake, DATASET, tmp_path / "log", sync_seconds=0.02, failed=lambda: failures.append(None)
    )
    log.write([a_record("a")])
    broken.set()
    until(lambda: len(failures) >= 3)
    assert caplog.text.count("cannot be synced: [Errno 5]") == 1
    broken.clear()
    log.close()
    assert read_predictions(lake, DATASET).num_rows == 1
