"""The backends of this library do what the contract says."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
import pytest
from toy_kit import FLOW, Toy

from dagster_metaflow.backends.protocol import Backend, Handle, LaunchRequest
from dagster_metaflow.testing import ScriptedBackend, ScriptedStep
from dagster_metaflow.testing.contract import BackendContract


class LocalStage:
    """The toy flow, as processes of this machine."""

    most_seconds = 90.0

    def __init__(self, folder: Path) -> None:
        self.toy = Toy(folder)
        # Its own: what is ended by it elsewhere on this machine must not be this test's.
        self.launch_id = f"contract-{time.time_ns()}"

    def backend(self) -> Backend:
        return self.toy.resource().local

    def request(self) -> LaunchRequest:
        return LaunchRequest(
            launch_id=self.launch_id,
            flow_file=FLOW.path,
            flow_name=FLOW.name,
            parameters={"output-uri": str(self.toy.lake), "launch-id": self.launch_id, "size": 1},
            tags=("contract",),
            folder=self.toy.folder / "launch",
        )

    def hold(self) -> None:
        self.toy.hold("work")

    def release(self) -> None:
        self.toy.release("work")

    def fail_once(self) -> None:
        self.toy.fail("work")

    def lose(self, handle: Handle) -> None:  # noqa: ARG002 - all of the toy's are this run's
        for process in self.toy.processes():
            process.kill()
        psutil.wait_procs(self.toy.processes(), timeout=5)

    def executed(self) -> Sequence[str]:
        count = self.toy.folder / "count"
        return count.read_text().split() if count.exists() else []


@pytest.mark.flow
class TestLocalBackend(BackendContract):
    @pytest.fixture
    def stage(self, tmp_path: Path) -> Iterator[LocalStage]:
        made = LocalStage(tmp_path)
        yield made
        made.toy.stop_all()


class ScriptedStage:
    """Three steps of a script."""

    most_seconds = 5.0

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._fails = 0
        self._held: set[str] = set()
        self._executed: list[str] = []

    def backend(self) -> Backend:
        steps = [ScriptedStep("start"), ScriptedStep("work", fails=self._fails)]
        made = ScriptedBackend([*steps, ScriptedStep("end", prints=["done"])])
        made.held, made.executed = self._held, self._executed
        return made

    def request(self) -> LaunchRequest:
        return LaunchRequest("contract", FLOW.path, "ToyFlow", {}, (), self._folder / "launch")

    def hold(self) -> None:
        self._held.add("work")

    def release(self) -> None:
        self._held.clear()

    def fail_once(self) -> None:
        self._fails = 1

    def lose(self, handle: Handle) -> None:
        ScriptedBackend([]).lose(handle)

    def executed(self) -> Sequence[str]:
        return [task.rpartition("/")[2] for task in self._executed]


class TestScriptedBackend(BackendContract):
    @pytest.fixture
    def stage(self, tmp_path: Path) -> ScriptedStage:
        return ScriptedStage(tmp_path)
