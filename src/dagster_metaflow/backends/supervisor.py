"""Stands over one local Metaflow run, in a session of its own: a program, not a module to import.

    python supervisor.py FOLDER COMMAND [ARGUMENT ...]

It prints the number of the process that stands over the run, and that process goes on by itself, so
that a run outlives Dagster's process. Output of the run goes to FOLDER/log. When the run has ended,
for whatever reason, what it left running is killed, and FOLDER/exit.json says how it ended. SIGTERM
ends the run: tasks are interrupted first, and killed when they take longer than a few seconds.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

GRACE_SECONDS = 5.0
_PR_SET_CHILD_SUBREAPER = 36


def supervise(folder: Path, command: list[str]) -> None:
    state: dict[str, Any] = {"cancelled": False}

    def cancel(*_: object) -> None:
        state["cancelled"] = True

    signal.signal(signal.SIGTERM, cancel)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # meant for the run, which shares the group
    _adopt_orphans()
    with (folder / "log").open("ab", buffering=0) as log:
        run = subprocess.Popen(  # noqa: S603 - the command is ours
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=_default_signals
        )
        while run.poll() is None and not state["cancelled"]:
            _wait(run, 0.1)
        if state["cancelled"]:
            _interrupt(run)
    _end_all()
    _write(folder / "exit.json", {"code": run.returncode, "cancelled": state["cancelled"]})


def _default_signals() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _wait(run: subprocess.Popen[bytes], seconds: float) -> None:
    try:
        run.wait(seconds)
    except subprocess.TimeoutExpired:
        return


def _interrupt(run: subprocess.Popen[bytes]) -> None:
    """As Ctrl-C in a terminal: scheduler and tasks hear it at once and may tidy up."""
    os.killpg(0, signal.SIGINT)
    _wait(run, GRACE_SECONDS)
    if run.poll() is None:
        run.kill()
        run.wait()


def _adopt_orphans() -> None:
    """Linux: tasks whose scheduler was killed become our children, and are found again."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _end_all() -> None:
    """Interrupts what is left, then kills it; comes back when nothing is left."""
    began = time.monotonic()
    while left := list(_descendants()):
        late = time.monotonic() - began > GRACE_SECONDS / 2
        for pid in left:
            _signal(pid, signal.SIGKILL if late else signal.SIGTERM)
        _reap()
        time.sleep(0.05)


def _descendants() -> Iterator[int]:
    """Every process below this one; where there is no /proc, the rest of the process group."""
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


def _reap() -> None:
    """Adopted children that have ended stay as zombies until somebody asks for them."""
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return


def _write(path: Path, content: dict[str, Any]) -> None:
    temporary = path.with_suffix(".tmp")
    with temporary.open("w") as stream:
        json.dump(content, stream)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)


def main() -> None:
    if pid := os.fork():
        print(pid, flush=True)
        os._exit(0)
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    supervise(Path(sys.argv[1]), sys.argv[2:])


if __name__ == "__main__":
    main()
