"""One execution: start or find the run, follow it to its end, and tell Dagster as it goes."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dagster import (
    AssetCheckResult,
    AssetExecutionContext,
    Failure,
    MaterializeResult,
    MetadataValue,
)

from dagster_metaflow.backends.protocol import LaunchError, RunState, RunStatus
from dagster_metaflow.events import Published
from dagster_metaflow.launching import Launch, Launcher
from dagster_metaflow.ledger import LaunchRecord, ReportFollower
from dagster_metaflow.progress import Progress
from dagster_metaflow.recording import Recorder
from dagster_metaflow.selection import Selection

_PERIODIC_SECONDS = 30.0

Event = MaterializeResult[Any] | AssetCheckResult


class MetaflowInvocation:
    """A run that is about to be started. `stream()` does everything."""

    def __init__(
        self,
        context: AssetExecutionContext,
        launcher: Launcher,
        selection: Selection,
        *,
        forward_termination: bool,
        poll_seconds: float,
        timeout_seconds: float | None,
    ) -> None:
        self._context = context
        self._launcher = launcher
        self._recorder = Recorder(context, selection, launcher.parameters)
        self._forward_termination = forward_termination
        self._poll_seconds = poll_seconds
        self._timeout_seconds = timeout_seconds
        self._progress = Progress(launcher.flow.steps)
        self._offset = 0

    def stream(self) -> Iterator[Event]:
        """Materializations and check results, each as soon as the run has published the asset.

        Raises Failure when the run fails, is lost, takes too long, or ends without having
        published what was selected; its message says which task failed, why, and what to do.
        """
        try:
            launch = self._launcher.start()
        except LaunchError as error:
            raise Failure(str(error)) from None
        self._tell_of(launch)
        with self._ended_with_us(launch.record):
            yield from self._follow(launch.record)

    def _follow(self, record: LaunchRecord) -> Iterator[Event]:
        follower = ReportFollower(self._launcher.ledger, record.flow, record.launch_id)
        deadline = (
            None if self._timeout_seconds is None else time.monotonic() + self._timeout_seconds
        )
        while True:
            # Asked first: what was written before the end is read after it, and nothing is missed.
            status = self._launcher.backend.poll(record.handle)
            record = self._with_run_id(record, status)
            self._read_log(record)
            for report in follower.new():
                yield from self._recorder.record(Published.of(report), record)
            if status.state.ended:
                break
            if deadline is not None and time.monotonic() > deadline:
                self._take_no_longer(record)
            time.sleep(self._poll_seconds)
        while self._read_log(record):
            pass
        self._close(record, status.state)
        if status.state is not RunState.SUCCEEDED:
            raise self._failure(record, status)
        yield from self._recorder.finish(record)

    def _tell_of(self, launch: Launch) -> None:
        record = launch.record
        flow = self._launcher.flow.name
        words = {
            "launched": f"{flow} launched on {record.backend}",
            "adopted": f"{flow}: went on with run {record.run_id}, which Dagster had lost sight of",
            "resumed": f"{flow}: resumes run {record.run_id}; finished steps are not run again",
        }
        links = self._launcher.backend.links(record.handle)
        places = "".join(f"\n{name}: {place}" for name, place in links.items())
        self._context.log.info(f"{words[launch.way]} (launch {record.launch_id}){places}")

    def _with_run_id(self, record: LaunchRecord, status: RunStatus) -> LaunchRecord:
        known = record.with_run_id(status.run_id)
        if known is not record:
            self._context.log.info(f"Metaflow run {record.flow}/{status.run_id}")
            self._context.instance.add_run_tags(
                self._context.run.run_id,
                {f"metaflow/{record.flow}": f"{record.flow}/{status.run_id}"},
            )
            self._launcher.ledger.write(known)
        return known

    def _read_log(self, record: LaunchRecord) -> bool:
        """Metaflow's lines go to the compute log as they are; steps to the event log too."""
        lines, self._offset = self._launcher.backend.read_log(record.handle, self._offset)
        for line in lines:
            sys.stdout.write(f"{line}\n")
            for words in self._progress.read(line):
                self._context.log.info(f"{record.flow}: {words}")
        if lines:
            sys.stdout.flush()
        return bool(lines)

    @contextmanager
    def _ended_with_us(self, record: LaunchRecord) -> Iterator[None]:
        """A terminated Dagster run takes the Metaflow run with it, or leaves it to the next one."""
        try:
            yield
        except Failure:
            raise
        except BaseException:
            if self._forward_termination:
                self._context.log.info(f"{record.flow}: ends run, as this one is being ended")
                self._launcher.backend.cancel(record.handle)
                self._close(record, RunState.CANCELLED)
            else:
                self._context.log.info(
                    f"{record.flow}: left going on; the next execution of these assets adopts it"
                )
                latest = self._latest(record)
                self._launcher.ledger.write(latest.model_copy(update={"outcome": "detached"}))
            raise

    def _take_no_longer(self, record: LaunchRecord) -> None:
        self._launcher.backend.cancel(record.handle)
        self._close(record, RunState.CANCELLED)
        raise Failure(
            f"{record.flow} took longer than timeout_seconds = {self._timeout_seconds:g} and was "
            "ended. Re-execute from failure to resume it, or give it more time.",
            metadata=self._where(record),
        )

    def _close(self, record: LaunchRecord, state: RunState) -> None:
        latest = self._latest(record)
        self._launcher.ledger.write(latest.model_copy(update={"outcome": state.value}))

    def _latest(self, record: LaunchRecord) -> LaunchRecord:
        """The run id may have become known since the caller was given its copy."""
        return self._launcher.ledger.record(record.flow, record.launch_id) or record

    def _failure(self, record: LaunchRecord, status: RunStatus) -> Failure:
        task = self._progress.failed_task
        where = f" in {record.flow}/{task}" if task else ""
        why = self._progress.reason() or status.reason or "it gave no reason"
        return Failure(
            f"{record.flow} {status.state.value}{where}:\n{why}\n"
            "Re-execute from failure to resume it: steps that finished are not run again.",
            metadata={**self._where(record), "reason": MetadataValue.text(why)},
        )

    def _where(self, record: LaunchRecord) -> dict[str, MetadataValue]:
        run = f"{record.flow}/{record.run_id}" if record.run_id else "not known"
        links = self._launcher.backend.links(record.handle)
        return {
            "metaflow_run": MetadataValue.text(run),
            "launch_id": MetadataValue.text(record.launch_id),
            **{name: MetadataValue.text(place) for name, place in links.items()},
        }
