"""Processes of a run: found by the mark they bear, known to live by the lock they hold."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import psutil

MARK = "DAGSTER_METAFLOW_LAUNCH"
"""Variable in the environment of every process of a run: how strays are found again."""

_ROUNDS = 3


def is_locked(path: Path) -> bool:
    """Whether a living process holds the lock of a file; a number could have been given again."""
    try:
        with path.open() as stream:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def end_strays(launch_id: str) -> list[int]:
    """Kills every process of a launch that is still there, whoever its parent is; their ids."""
    ended: list[int] = []
    for _ in range(_ROUNDS):  # one may have made another while it was being looked for
        strays = list(marked(launch_id))
        if not strays:
            break
        for process in strays:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        psutil.wait_procs(strays, timeout=1.0)
        ended += [process.pid for process in strays]
    return ended


def marked(launch_id: str) -> Iterator[psutil.Process]:
    """Living processes of a launch, but for this one."""
    for process in psutil.process_iter():
        try:
            found = process.environ().get(MARK) == launch_id and process.pid != os.getpid()
            if found and process.status() != psutil.STATUS_ZOMBIE:
                yield process
        except (psutil.Error, OSError):  # another user's, or gone
            continue
