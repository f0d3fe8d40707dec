"""A file that is being written, brought to disk every so often: what a machine without power loses
is what came since."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO

from fraud_mlops.lakehouse.local_files import sync_folder
from fraud_mlops.serving.watching import Watcher

log = logging.getLogger("fraud.serving")


class Syncing:
    """By a thread of its own, so that nothing else keeps it waiting, from the first file on.

    failed: told of each time that the disk has not taken it.
    """

    def __init__(self, seconds: float, failed: Callable[[], object]) -> None:
        self._failed = failed
        self._file: IO[bytes] | None = None
        self._new_in: set[Path] = set()
        self._lock, self._busy = threading.Lock(), threading.Lock()
        self._well = True
        self._watcher = Watcher(self._sync, seconds, "prediction-log-sync")

    def begin(self, file: IO[bytes], new_in: Iterable[Path]) -> None:
        """The file from now on. new_in: folders that have something new in them."""
        with self._lock:
            begun, self._file = self._file is not None, file
            self._new_in.update(new_in)
        if not begun:
            self._watcher.start()

    def end(self, file: IO[bytes]) -> None:
        """Syncs and closes it, which ends its lock; not so while another thread still syncs it.
        Closes it, too, when the disk does not take it: what is in it can be flushed."""
        with self._busy:
            self._synced(file, set())
            file.close()

    def stop(self) -> None:
        self._watcher.stop()

    def _sync(self) -> None:
        with self._busy:
            with self._lock:
                file, folders, self._new_in = self._file, self._new_in, set()
            if file is None or file.closed:
                return
            if not self._synced(file, folders):
                with self._lock:
                    self._new_in |= folders

    def _synced(self, file: IO[bytes], folders: set[Path]) -> bool:
        try:
            os.fsync(file.fileno())
            for folder in folders:
                sync_folder(folder)
        except OSError as error:
            self._failed()
            if self._well:
                log.warning("prediction log: %s cannot be synced: %s", file.name, error)
            self._well = False
            return False
        self._well = True
        return True
