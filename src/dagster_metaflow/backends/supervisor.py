"""Stands over one local Metaflow run, in a session of its own: a program, not a module to import.

    python supervisor.py FOLDER COMMAND [ARGUMENT ...]

It goes on by itself, so that a run outlives Dagster's process. As long as it lives it holds a lock
on FOLDER/supervisor, in which its number stands: the kernel gives the lock back however it ends.
Output of the run goes to FOLDER/log. When the run has ended, for whatever reason, what it left
running is killed, and FOLDER/exit.json says how it ended. SIGTERM ends the run: tasks are
interrupted first, and killed when they take longer than a few seconds. Should this process itself
be killed, the kernel interrupts the run.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

INTERRUPT_SECONDS = 4.0
TERMINATE_SECONDS = 1.5
GIVE_UP_SECONDS = 30.0
NOT_STARTED = 127
_AWAITED = (signal.SIGCHLD, signal.SIGTERM)
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


class Run:
    """The process of the run. code: its exit status, negative for a signal; None until it ends."""

    def __init__(self, command: list[str], log: Any) -> None:
        self.code: int | None = None
        self._process = subprocess.Popen(  # noqa: S603 - the command is ours
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=_in_the_run
        )

    def reap(self) -> None:
        """Takes note of every child that has ended, adopted ones too: else they stay as zombies."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self._process.pid:
                self.code = self._process.returncode = os.waitstatus_to_exitcode(status)

    def wait(self, seconds: float) -> None:
        """Until it has ended, or for so long."""
        deadline = time.monotonic() + seconds
        while self.code is None and (left := deadline - time.monotonic()) > 0:
            _next_signal(left)
            self.reap()

    def interrupt(self) -> None:
        """As Ctrl-C in a terminal: scheduler and tasks hear it at once and may tidy up."""
        os.killpg(0, signal.SIGINT)
        self.wait(INTERRUPT_SECONDS)
        if self.code is None:
            self._process.kill()
            self.wait(GIVE_UP_SECONDS)


def supervise(folder: Path, command: list[str]) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, _AWAITED)
    signal.signal(signal.SIGCHLD, lambda *_: None)  # what is ignored cannot be waited for
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # meant for the run, which shares the group
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)  # tasks whose scheduler was killed become our children
    cancelled = False
    with (folder / "log").open("ab", buffering=0) as log:
        try:
            run = Run(command, log)
        except OSError as error:
            log.write(f"{error}\n".encode())
            _write(folder / "exit.json", {"code": NOT_STARTED, "cancelled": False})
            return
    while run.code is None and not cancelled:
        cancelled = _next_signal(None) == signal.SIGTERM
        run.reap()
    if run.code is None:
        run.interrupt()
    _end_all(run)
    _write(folder / "exit.json", {"code": run.code, "cancelled": cancelled})


def _in_the_run() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _AWAITED)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _prctl(_PR_SET_PDEATHSIG, int(signal.SIGINT))


def _prctl(option: int, value: int) -> None:
    """Linux only; elsewhere runs do without."""
    if _LIBC is not None:
        _LIBC.prctl(option, value, 0, 0, 0)


# Loaded before the fork: a child between fork and exec should load nothing.
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def _next_signal(seconds: float | None) -> int | None:
    if seconds is None:
        return signal.sigwait(_AWAITED)
    if hasattr(signal, "sigtimedwait"):
        came = signal.sigtimedwait(_AWAITED, seconds)
        return None if came is None else came.si_signo
    time.sleep(min(seconds, 0.05))
    return None


def _end_all(run: Run) -> None:
    """Terminates what the run left, then kills it; comes back when nothing is left."""
    began, asked = time.monotonic(), set[int]()
    run.reap()
    while left := set(_descendants()):
        took = time.monotonic() - began
        if took > GIVE_UP_SECONDS:
            return  # in the kernel's hands: a disk or a device that does not answer
        late = took > TERMINATE_SECONDS
        for pid in left if late else left - asked:
            _signal(pid, signal.SIGKILL if late else signal.SIGTERM)
        asked |= left
        time.sleep(0.02)
        run.reap()


def _descendants() -> Iterator[int]:
    """Every process below this one that is not a zombie; none where there is no /proc."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] != "Z":
            parents[int(entry.parent.name)] = int(fields[1])
    below = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in below} - below:
        below |= more
    yield from below - {os.getpid()}


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _write(path: Path, content: dict[str, Any]) -> None:
    temporary = path.with_suffix(".tmp")
    with temporary.open("w") as stream:
        json.dump(content, stream)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)


def main() -> None:
    folder = Path(sys.argv[1])
    lock = (folder / "supervisor").open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)  # shared with the child, which alone keeps it
    if os.fork():
        os._exit(0)
    os.setsid()
    lock.write(str(os.getpid()))
    lock.flush()
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)  # whoever started us waits until these are closed
    supervise(folder, sys.argv[2:])


if __name__ == "__main__":
    main()
