"""What every backend does, as tests: subclass `BackendContract` and say where it plays.

    class TestMyBackend(BackendContract):
        @pytest.fixture
        def stage(self, tmp_path): return MyStage(tmp_path)

A stage is a backend with a flow of three or more steps, and strings to pull. For pytest's words
on what failed, say `pytest.register_assert_rewrite("dagster_metaflow.testing.contract")` first.
"""
# ruff: noqa: S101 - tests assert

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import pytest

from dagster_metaflow.backends.protocol import (
    Backend,
    Handle,
    LaunchError,
    LaunchRequest,
    RunState,
    RunStatus,
)

_CANCEL_SECONDS = 10.0


class Stage(Protocol):
    """Where the contract plays: one flow, whose steps can be held up, failed and counted.

    most_seconds: in which a run of the flow ends.
    """

    most_seconds: float

    def backend(self) -> Backend:
        """Made anew at each call, as another process would make it."""

    def request(self) -> LaunchRequest:
        """Of a launch; the same one at each call."""

    def hold(self) -> None:
        """Runs stop in their second step, or before it, until `release`."""

    def release(self) -> None: ...

    def fail_once(self) -> None:
        """The next execution of the second step fails."""

    def lose(self, handle: Handle) -> None:
        """The machine of a run goes away, and with it every process of the run."""

    def executed(self) -> Sequence[str]:
        """Names of the steps that were executed so far, in order."""


class BackendContract:
    """Give it a fixture `stage`."""

    def test_what_is_prepared_is_not_started(self, stage: Stage) -> None:
        handle = stage.backend().prepare(stage.request())
        assert stage.backend().poll(handle).state is RunState.LOST
        assert not stage.executed()

    def test_a_launch_comes_back_while_the_run_goes_on(self, stage: Stage) -> None:
        stage.hold()
        handle = self.started(stage)
        status = self.until(stage, handle, lambda status: status.run_id is not None)
        assert status.state is RunState.RUNNING
        stage.release()
        assert self.ended(stage, handle).state is RunState.SUCCEEDED

    def test_a_run_that_ends_well_has_an_id_and_no_reason(self, stage: Stage) -> None:
        status = self.ended(stage, self.started(stage))
        assert status.state is RunState.SUCCEEDED
        assert status.run_id
        assert status.reason is None

    def test_a_failed_run_says_why(self, stage: Stage) -> None:
        stage.fail_once()
        status = self.ended(stage, self.started(stage))
        assert status.state is RunState.FAILED
        assert status.run_id
        assert status.reason

    def test_its_log_is_read_in_whole_lines_once_each(self, stage: Stage) -> None:
        handle = self.started(stage)
        backend, offset, found = stage.backend(), 0, list[str]()
        deadline = time.monotonic() + stage.most_seconds
        while True:
            ended = backend.poll(handle).state.ended
            lines, offset = backend.read_log(handle, offset)
            found += lines
            if ended and not lines:
                break
            assert time.monotonic() < deadline
        again, end = stage.backend().read_log(handle, 0)
        assert found == again
        assert found
        assert not any("\n" in line for line in found)
        assert stage.backend().read_log(handle, end) == ([], end)

    def test_a_cancelled_run_ends_within_ten_seconds(self, stage: Stage) -> None:
        stage.hold()
        handle = self.started(stage)
        self.until(stage, handle, lambda status: status.run_id is not None)
        began = time.monotonic()
        stage.backend().cancel(handle)
        assert self.ended(stage, handle).state is RunState.CANCELLED
        assert time.monotonic() - began < _CANCEL_SECONDS
        executed = list(stage.executed())
        stage.release()
        stage.backend().cancel(handle)
        assert list(stage.executed()) == executed

    def test_cancelling_a_run_that_has_ended_changes_nothing(self, stage: Stage) -> None:
        handle = self.started(stage)
        self.ended(stage, handle)
        stage.backend().cancel(handle)
        assert stage.backend().poll(handle).state is RunState.SUCCEEDED

    def test_a_resumed_run_does_not_run_finished_steps_again(self, stage: Stage) -> None:
        stage.fail_once()
        failed = self.ended(stage, self.started(stage))
        before = list(stage.executed())
        handle = self.resumed(stage, failed)
        status = self.ended(stage, handle)
        assert status.state is RunState.SUCCEEDED
        assert status.run_id  # a new one, or the same where the backend redrives a run
        assert before[0] not in list(stage.executed())[len(before) :]

    def test_a_run_is_found_again_by_its_handle_alone(self, stage: Stage) -> None:
        stage.hold()
        handle: Handle = json.loads(json.dumps(dict(self.started(stage))))
        stage.release()
        assert self.ended(stage, handle).state is RunState.SUCCEEDED

    def test_a_lost_run_is_told_and_can_be_resumed(self, stage: Stage) -> None:
        stage.hold()
        handle = self.started(stage)
        self.until(stage, handle, lambda status: bool(status.run_id and stage.executed()))
        stage.lose(handle)
        lost = self.ended(stage, handle)
        assert lost.state in (RunState.LOST, RunState.FAILED)
        assert lost.reason
        stage.release()
        assert self.ended(stage, self.resumed(stage, lost)).state is RunState.SUCCEEDED

    def test_a_resumption_of_no_run_is_refused_or_fails(self, stage: Stage) -> None:
        unheard_of = RunStatus(RunState.FAILED, "unheard-of")
        try:
            status = self.ended(stage, self.resumed(stage, unheard_of))
        except LaunchError:
            return
        assert status.state is RunState.FAILED

    def test_links_are_addresses_by_name(self, stage: Stage) -> None:
        handle = self.started(stage)
        links = stage.backend().links(handle)
        assert all(isinstance(name, str) and place for name, place in links.items())
        self.ended(stage, handle)

    # -- how the tests do it -------------------------------------------------------------------

    def started(self, stage: Stage) -> Handle:
        backend = stage.backend()
        return backend.launch(stage.request(), backend.prepare(stage.request()))

    def resumed(self, stage: Stage, origin: RunStatus) -> Handle:
        backend = stage.backend()
        handle = backend.prepare(stage.request())
        return backend.resume(stage.request(), handle, str(origin.run_id))

    def ended(self, stage: Stage, handle: Handle) -> RunStatus:
        return self.until(stage, handle, lambda status: status.state.ended)

    def until(
        self, stage: Stage, handle: Handle, condition: Callable[[RunStatus], bool]
    ) -> RunStatus:
        deadline = time.monotonic() + stage.most_seconds
        while not condition(status := stage.backend().poll(handle)):
            if time.monotonic() > deadline:
                pytest.fail(f"after {stage.most_seconds:g} s the run is still {status}")
            time.sleep(0.02)
        return status
