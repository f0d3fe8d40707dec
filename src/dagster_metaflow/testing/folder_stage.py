"""A stage for the contract whose flow is steered by files in one folder.

The flow's second step, `work`, waits while `hold_work` is there, removes `fail_work` and fails when
it finds one, and every step appends its name to `count`.
"""
# ruff: noqa: S101 - tests assert

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from dagster_metaflow.backends.protocol import Backend, Handle, LaunchRequest, RunStatus

_PAUSE_SECONDS = 0.02


class FolderStage(ABC):
    """A `Stage`, and what tests of one backend do with its runs besides.

    folder: that the flow sees. most_seconds: in which a run of the flow ends. Keyword arguments of
    methods are settings of the backend.
    """

    most_seconds = 60.0

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.launch_id = f"contract-{time.time_ns()}"

    @abstractmethod
    def backend(self, **settings: Any) -> Backend:
        """Made anew at each call, as another process would make it."""

    @abstractmethod
    def request(self) -> LaunchRequest:
        """Of a launch; the same one at each call."""

    @abstractmethod
    def lose(self, handle: Handle) -> None:
        """The machine of a run goes away, and with it every process of the run."""

    def hold(self) -> None:
        (self.folder / "hold_work").touch()

    def release(self) -> None:
        (self.folder / "hold_work").unlink(missing_ok=True)

    def fail_once(self) -> None:
        (self.folder / "fail_work").touch()

    def executed(self) -> Sequence[str]:
        count = self.folder / "count"
        return count.read_text().split() if count.exists() else []

    def launched(self, **settings: Any) -> Handle:
        backend, request = self.backend(**settings), self.request()
        return backend.launch(request, backend.prepare(request))

    def resumed(self, run_id: str | None, **settings: Any) -> Handle:
        backend, request = self.backend(**settings), self.request()
        return backend.resume(request, backend.prepare(request), str(run_id))

    def ended(self, handle: Handle, **settings: Any) -> RunStatus:
        return self.until(handle, lambda status: status.state.ended, **settings)

    def until(
        self, handle: Handle, condition: Callable[[RunStatus], bool], **settings: Any
    ) -> RunStatus:
        deadline = time.monotonic() + self.most_seconds
        while not condition(status := self.backend(**settings).poll(handle)):
            assert time.monotonic() < deadline, status
            time.sleep(_PAUSE_SECONDS)
        return status

    def wait_for(self, step: str) -> None:
        """Until the step has begun."""
        deadline = time.monotonic() + self.most_seconds
        while step not in self.executed():
            assert time.monotonic() < deadline, f"{step} has not begun"
            time.sleep(_PAUSE_SECONDS)

    def log(self, handle: Handle) -> list[str]:
        return list(self.backend().read_log(handle, 0)[0])
