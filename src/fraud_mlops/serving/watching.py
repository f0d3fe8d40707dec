"""A thread that does something every so often."""

from __future__ import annotations

import threading
from collections.abc import Callable

CLOSE_SECONDS = 5.0


class Watcher:
    """Looks at once and then every so often, until it is told to stop."""

    def __init__(self, look: Callable[[], object], seconds: float, name: str) -> None:
        self._look, self._seconds = look, seconds
        self._stop, self._looked = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self, wait: float = 0.0) -> None:
        """Comes back after the first look, or after so many seconds: a store may be silent."""
        self._thread.start()
        self._looked.wait(wait)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(CLOSE_SECONDS)

    def _run(self) -> None:
        while True:
            self._look()
            self._looked.set()
            if self._stop.wait(self._seconds):
                return
