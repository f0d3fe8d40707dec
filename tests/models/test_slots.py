"""Training tasks of one machine never hold more cores together than it has."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fraud_mlops.models.slots import cpu_slot

_TASK = """
import sys, time
from pathlib import Path
from fraud_mlops.models.slots import cpu_slot
folder, threads, total, seconds, log = sys.argv[1:]
with cpu_slot(int(threads), int(total), folder=Path(folder)) as held:
    with open(log, "a") as f:
        f.write(f"{time.time()} {held}\\n"); f.flush()
        time.sleep(float(seconds))
        f.write(f"{time.time()} {-held}\\n")
"""


def task(folder: Path, threads: int, total: int, seconds: float) -> subprocess.Popen[bytes]:
    arguments = [str(folder), str(threads), str(total), str(seconds), str(folder / "log")]
    return subprocess.Popen([sys.executable, "-c", _TASK, *arguments])


def wait_for_log(folder: Path, lines: int) -> None:
    log = folder / "log"
    for _ in range(200):
        if log.exists() and len(log.read_text().splitlines()) >= lines:
            return
        time.sleep(0.05)
    raise AssertionError("no task got its cores in 10 seconds")


def test_many_tasks_share_the_cores_and_all_get_their_turn(tmp_path: Path) -> None:
    tasks = [task(tmp_path, threads, 2, 0.2) for threads in (1, 2, 1, 1, 2)]
    assert [t.wait(timeout=60) for t in tasks] == [0] * 5
    events = sorted(
        (float(moment), int(held))
        for moment, held in (line.split() for line in (tmp_path / "log").read_text().splitlines())
    )
    in_use = peak = 0
    for _, held in events:
        in_use += held
        peak = max(peak, in_use)
    assert len(events) == 10
    assert peak == 2
    assert in_use == 0


def test_a_killed_task_gives_its_cores_back(tmp_path: Path) -> None:
    holder = task(tmp_path, 2, 2, 60)
    wait_for_log(tmp_path, 1)
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    started = time.monotonic()
    with cpu_slot(2, 2, folder=tmp_path):
        assert time.monotonic() - started < 5


def test_a_task_that_waits_says_so(tmp_path: Path) -> None:
    said: list[str] = []
    holder = task(tmp_path, 2, 2, 0.5)
    wait_for_log(tmp_path, 1)
    with cpu_slot(1, 2, folder=tmp_path, progress=said.append):
        pass
    assert holder.wait() == 0
    assert len(said) == 1
    assert said[0].startswith("waiting for 1 of 2 cores")


def test_a_time_limit_is_for_the_work_and_not_for_the_wait(tmp_path: Path) -> None:
    """Metaflow's @timeout sets an alarm when a task begins."""
    rung: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, _: rung.append(number))
    try:
        holder = task(tmp_path, 1, 1, 2.5)
        wait_for_log(tmp_path, 1)
        signal.alarm(1)
        with cpu_slot(1, 1, folder=tmp_path):
            assert holder.wait() == 0
            assert rung == []
            time.sleep(1.5)
        assert rung == [signal.SIGALRM]
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def test_a_task_alone_waits_for_nobody(tmp_path: Path) -> None:
    said: list[str] = []
    started = time.monotonic()
    with cpu_slot(4, 4, folder=tmp_path / "new" / "folder", progress=said.append) as held:
        assert held == 4
    assert time.monotonic() - started < 1
    assert said == []


def test_no_task_gets_more_cores_than_there_are(tmp_path: Path) -> None:
    with cpu_slot(8, 2, folder=tmp_path) as held:
        assert held == 2


def test_cores_are_given_back_when_the_task_fails(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="boom"), cpu_slot(1, 1, folder=tmp_path):
        raise RuntimeError("boom")
    with cpu_slot(1, 1, folder=tmp_path) as held:
        assert held == 1


def test_asking_for_no_core_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least 1"), cpu_slot(0, 2, folder=tmp_path):
        pass


def test_taking_cores_does_not_import_torch() -> None:
    code = "import sys, fraud_mlops.models.slots; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
