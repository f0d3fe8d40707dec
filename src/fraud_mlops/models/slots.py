"""Cores of one machine shared by the training tasks that run on it, each a process of its own.

A semaphore made of file locks. The kernel gives a lock back when its process ends, however it
ends, so a killed task leaves nothing to clean up. Imports nothing heavy: a task takes its
cores before it imports torch.
"""

from __future__ import annotations

import getpass
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

_POLL_SECONDS = 0.1
_SAY_AGAIN_SECONDS = 30.0


@contextmanager
def cpu_slot(
    threads: int,
    total: int,
    *,
    folder: Path | None = None,
    progress: Callable[[str], None] | None = None,
) -> Iterator[int]:
    """Hold `threads` of the machine's `total` cores; wait while other tasks hold too many.

    Yields the cores held: `threads`, or `total` when more were asked for than there are.
    Tasks that share `folder` (a per-user temporary folder when left out) and pass the same
    `total` never hold more than `total` together. Served in turn: one task at a time gathers
    its cores while the others stand before the gate with none, so none starves or deadlocks.
    A time limit that the process has set itself by an alarm, as Metaflow's @timeout does, stands
    still meanwhile: it is for the work.
    Not reentrant: a task that asks again while it holds cores may wait for itself.
    """
    if threads < 1 or total < 1:
        raise ValueError(f"threads and total must be at least 1, not {threads} and {total}")
    wanted = min(threads, total)
    folder = folder or _user_folder()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    waiting = _Waiting(wanted, total, progress)
    with ExitStack() as held:
        with _clock_stopped(), ExitStack() as gate:
            while not _take(folder / "gate.lock", gate):
                waiting.pause()
            free = [folder / f"core-{i}.lock" for i in range(total)]
            taken = 0
            while taken < wanted:
                for path in list(free):
                    if taken < wanted and _take(path, held):
                        free.remove(path)
                        taken += 1
                if taken < wanted:
                    waiting.pause()
        yield wanted


@contextmanager
def _clock_stopped() -> Iterator[None]:
    if not hasattr(signal, "alarm"):  # Windows
        yield
        return
    left = signal.alarm(0)
    try:
        yield
    finally:
        signal.alarm(left)


def _take(path: Path, stack: ExitStack) -> bool:
    """Take the lock if it is free, until `stack` closes."""
    # Not thread-local: a generator may be closed by another thread than began it.
    lock = FileLock(path, thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    stack.callback(lock.release)
    return True


def _user_folder() -> Path:
    """A folder of this user's, so that no other account can hold or break the locks."""
    user = str(os.getuid()) if hasattr(os, "getuid") else getpass.getuser()
    return Path(tempfile.gettempdir()) / f"fraud-mlops-cores-{user}"


class _Waiting:
    """Sleep between tries; say so at first, then every half minute."""

    def __init__(self, wanted: int, total: int, progress: Callable[[str], None] | None) -> None:
        self._say = progress
        self._text = f"waiting for {wanted} of {total} cores, held by other training tasks"
        self._began = time.monotonic()
        self._next = self._began

    def pause(self) -> None:
        now = time.monotonic()
        if self._say and now >= self._next:
            self._say(f"{self._text} ({now - self._began:.0f} s)")
            self._next = now + _SAY_AGAIN_SECONDS
        time.sleep(_POLL_SECONDS)
