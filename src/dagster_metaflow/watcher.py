"""Which process follows a run, and whether it still does."""

from __future__ import annotations

import os
import socket
from functools import cache

import psutil
from pydantic import BaseModel, ConfigDict


class Watcher(BaseModel):
    """A process, told from a later one that was given the same number by when it was made."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str
    pid: int
    started: float

    @classmethod
    def this_process(cls) -> Watcher:
        return _this_process(os.getpid())

    @property
    def is_here(self) -> bool:
        return self.host == socket.gethostname()

    @property
    def is_alive(self) -> bool:
        """Only of a process of this machine can that be said."""
        return find(self.pid, self.started) is not None


@cache
def _this_process(pid: int) -> Watcher:
    return Watcher(host=socket.gethostname(), pid=pid, started=psutil.Process(pid).create_time())


def find(pid: int, started: float) -> psutil.Process | None:
    """The running process of that number and age; None when it is gone, or a zombie."""
    try:
        process = psutil.Process(pid)
        same = abs(process.create_time() - started) < 1.0
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.Error:
        return None
