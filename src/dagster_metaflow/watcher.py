"""Which process follows a run, and whether it still does."""

from __future__ import annotations

import os
import socket
from functools import cache
from pathlib import Path

import psutil
from pydantic import BaseModel, ConfigDict

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_START_TICKS = 19  # of the fields in /proc/PID/stat that follow the name


class Watcher(BaseModel):
    """A process, told by when it was made from a later one that was given the same number."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str
    pid: int
    born: str

    @classmethod
    def this_process(cls) -> Watcher:
        return _this_process(os.getpid())

    @property
    def is_here(self) -> bool:
        return self.host == socket.gethostname()

    @property
    def is_alive(self) -> bool:
        """Only of a process of this machine can that be said."""
        return _born(self.pid) == self.born


@cache
def _this_process(pid: int) -> Watcher:
    return Watcher(host=socket.gethostname(), pid=pid, born=_born(pid) or "")


def _born(pid: int) -> str | None:
    """None when it is gone, or a zombie. Linux: boot and clock ticks since, which no clock that
    is set right, and no start of the machine, can make look like another's."""
    if _BOOT_ID.exists():
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        return None if fields[0] in "ZX" else f"{_boot()}:{fields[_START_TICKS]}"
    try:
        process = psutil.Process(pid)
        gone = process.status() == psutil.STATUS_ZOMBIE
        return None if gone else f"{process.create_time():.2f}"
    except psutil.Error:
        return None


@cache
def _boot() -> str:
    return _BOOT_ID.read_text().strip()
