"""Start a Metaflow run, or find the one to go on with.

What an execution does depends on the launches of the same thing (flow, parameters, partitions,
assets, backend) that the ledger knows:

    a run that Dagster lost sight of, and that still goes on     it is adopted
    one that ended well while Dagster was away                   its reports are taken
    one that failed or was lost, when this execution retries it  it is resumed
    one that is retried, and that another execution follows      none: LaunchError says which
    none of these                                                a new run

A run that Dagster lost sight of is gone on with only under the code that it was started with, and
while what it reads is what it was; one that is retried is resumed under the code of today, which is
what one mends a flow for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from dagster import DagsterInstance, DagsterLogManager, DagsterRun, RunsFilter

from dagster_metaflow.backends.protocol import (
    Backend,
    FollowsFromAnywhere,
    LaunchError,
    LaunchRequest,
    OutOfSightError,
    RunState,
    RunStatus,
)
from dagster_metaflow.flow import MetaflowFlow
from dagster_metaflow.ledger import LaunchRecord, Ledger, identity, launch_id, now, without_places
from dagster_metaflow.watcher import Watcher

Way = Literal["launched", "adopted", "resumed"]
RETRY_TAG = "dagster/is_resume_retry"
_RESUMABLE = ("failed", "cancelled", "lost")


def _id_of(instance: DagsterInstance) -> str | None:
    ask = getattr(instance.run_storage, "get_run_storage_id", None)  # Dagster's own, in SQL, has it
    return ask() if ask else None


@dataclass(frozen=True)
class Launch:
    """A run that is under way, and how it came about."""

    record: LaunchRecord
    way: Way


@dataclass(frozen=True)
class Launcher:
    """Starts or finds the run of one execution.

    parameters: by option, without launch id and ledger root. assets: keys of those to be made.
    input_versions: data versions of the assets that are read, by key. folder: for this machine's
    files.
    """

    flow: MetaflowFlow
    ledger: Ledger
    backend: Backend
    backend_name: str
    instance: DagsterInstance
    run: DagsterRun
    parameters: Mapping[str, Any]
    assets: Sequence[str]
    input_versions: Mapping[str, str]
    tags: tuple[str, ...]
    folder: Path
    environment: Mapping[str, str]
    adopt_within: timedelta
    log: DagsterLogManager

    @property
    def identity(self) -> str:
        kept = without_places(self.parameters, self.flow.inputs)
        return identity(self.flow.name, self.backend_name, kept, self.assets)

    @property
    def chain(self) -> str:
        return self.run.root_run_id or self.run.run_id

    def start(self) -> Launch:
        """Raises LaunchError when nothing can be started."""
        try:
            for record in self.ledger.of_identity(self.flow.name, self.identity):
                if (launch := self._go_on_with(record)) is not None:
                    return launch
            return self._launch()
        except OSError as error:
            raise LaunchError(
                f"the ledger under {self.ledger.root} cannot be used: {error}. Correct the "
                "resource's ledger_root, or the rights to write there."
            ) from None

    def _go_on_with(self, record: LaunchRecord) -> Launch | None:
        retried = self._retries(record)
        if retried:
            self._refuse_if_followed(record)
        elif not self._is_abandoned(record):
            return None
        record = self._here(record)
        if (status := self._seen(record)) is None:
            return None
        if not retried and status.state.ended and now() - record.launched > self.adopt_within:
            return None
        record = self._taken(record).with_run_id(status.run_id)
        going = status.state in (RunState.RUNNING, RunState.SUCCEEDED)
        fits = retried or self._would_do_the_same(record)
        if going and fits:
            return self._adopt(record)
        self._end(record)
        self._note(record, RunState.CANCELLED if going else status.state)
        resumable = record.run_id is not None and fits
        if resumable and record.inputs_version != self.flow.inputs_version:
            self.log.info(f"{record.flow}: what run {record.run_id} began with has changed since")
            return None
        return self._launch(record) if resumable else None

    def _here(self, record: LaunchRecord) -> LaunchRecord:
        if not isinstance(self.backend, FollowsFromAnywhere):
            return record
        handle = self.backend.here(record.handle, self.folder / record.launch_id)
        return record.model_copy(update={"handle": dict(handle)})

    def _seen(self, record: LaunchRecord) -> RunStatus | None:
        """None for a run that cannot be followed from here: it is not gone on with. One that was
        noted not to have ended well can be resumed from wherever Metaflow finds it."""
        try:
            return self.backend.poll(record.handle)
        except LaunchError as error:
            if record.run_id is not None and record.outcome in _RESUMABLE:
                return RunStatus(RunState(record.outcome), record.run_id)
            self.log.warning(f"Launch {record.launch_id} is not gone on with: {error}")
            return None

    def _end(self, record: LaunchRecord) -> None:
        """Also of what a lost run may have left running."""
        try:
            self.backend.cancel(record.handle)
        except LaunchError:
            if record.outcome not in _RESUMABLE:  # else its end was seen, and this tried, before
                raise

    def _retries(self, record: LaunchRecord) -> bool:
        """By Dagster's retry policy within a run, or by re-execution from failure."""
        if record.dagster_run_id == self.run.run_id:
            return True
        return record.chain == self.chain and self.run.tags.get(RETRY_TAG) == "true"

    def _is_abandoned(self, record: LaunchRecord) -> bool:
        """Nobody has seen its end, and who launched it is gone."""
        if not record.is_unattended:
            return False
        if record.outcome == "detached":
            return True
        watcher = record.watcher
        if watcher.is_here and watcher != Watcher.this_process():
            return not watcher.is_alive
        return self._has_ended(record)

    def _has_ended(self, record: LaunchRecord) -> bool:
        """The Dagster run that follows it. Another Dagster's, which has the same ledger and other
        runs, is not known here: it may go on."""
        found = self.instance.get_runs(RunsFilter(run_ids=[record.dagster_run_id]), limit=1)
        if found:
            return found[0].is_finished
        return record.instance in (None, _id_of(self.instance))

    def _refuse_if_followed(self, record: LaunchRecord) -> None:
        """Two retries of one run do not share what one of them has begun, nor its record."""
        other, watcher = record.dagster_run_id, record.watcher
        if other == self.run.run_id or record.outcome != "open":
            return
        if (watcher.is_here and not watcher.is_alive) or self._has_ended(record):
            return
        raise LaunchError(
            f"{record.flow}: run {other} of Dagster retries the same already (process "
            f"{watcher.pid} on {watcher.host}, launch {record.launch_id}). Wait for its end, or "
            "terminate it; if it did not end well, re-execute from failure again."
        )

    def _taken(self, record: LaunchRecord) -> LaunchRecord:
        """With the turn that is this execution's alone, whoever else tries in the same instant.
        A turn whose taker has gone before it began anything is passed over."""
        mine = self._mine(record)
        while True:
            mine = mine.model_copy(update={"turn": mine.turn + 1})
            if (other := self.ledger.take(mine)) is None:
                break
            self._refuse_if_followed(other)
        latest = self.ledger.record(record.flow, record.launch_id)
        if latest is not None and latest.turn != record.turn:
            raise LaunchError(
                f"{record.flow}: launch {record.launch_id} was gone on with by run "
                f"{latest.dagster_run_id} of Dagster just now. See how that ended, then re-execute."
            )
        return record.model_copy(update={"turn": mine.turn})

    def _would_do_the_same(self, record: LaunchRecord) -> bool:
        """Else its assets would be said to be of code, or of data, that they are not made of."""
        if record.code_version != self.flow.code_version:
            return False
        before, today = record.input_versions, self.input_versions
        if before is None or before == today:
            return True
        names = ", ".join(sorted(k for k in {*before, *today} if before.get(k) != today.get(k)))
        self.log.info(
            f"{record.flow}: run {record.run_id or '(not known yet)'}, which Dagster had lost "
            f"sight of, is not gone on with, as what it reads has changed since: {names}"
        )
        return False

    def _note(self, record: LaunchRecord, state: RunState) -> None:
        self.ledger.write(record.model_copy(update={"outcome": state.value}))

    def _adopt(self, record: LaunchRecord) -> Launch:
        mine = self._mine(record)
        self.ledger.begin(mine)
        return Launch(mine, "adopted")

    def _mine(self, record: LaunchRecord) -> LaunchRecord:
        return record.model_copy(
            update={
                "dagster_run_id": self.run.run_id,
                "instance": _id_of(self.instance),
                "chain": self.chain,
                "watcher": Watcher.this_process(),
                "outcome": "open",
            }
        )

    def _launch(self, origin: LaunchRecord | None = None) -> Launch:
        """origin: to resume, under the same launch id: what it has reported stays true."""
        request = self._request(origin.launch_id if origin else launch_id(self.identity))
        record = self._record(request, origin)
        # Noted first: from here on, whatever happens, the next execution finds the run.
        self.ledger.begin(record)
        try:
            if origin is None or origin.run_id is None:
                handle = self.backend.launch(request, record.handle)
            else:
                handle = self.backend.resume(request, record.handle, origin.run_id)
        except OutOfSightError:  # there may be a run: the record stays open, and finds it
            raise
        except LaunchError:
            self._note(record, RunState.FAILED)
            raise
        if handle != record.handle:
            record = record.model_copy(update={"handle": dict(handle)})
            try:
                self.ledger.write(record)
            except OSError as error:  # the run is under way; its id will be noted with this
                self.log.warning(f"The record of the launch cannot be written: {error}")
        return Launch(record, "resumed" if origin else "launched")

    def _record(self, request: LaunchRequest, origin: LaunchRecord | None) -> LaunchRecord:
        return LaunchRecord(
            launch_id=request.launch_id,
            flow=self.flow.name,
            code_version=self.flow.code_version,
            inputs_version=self.flow.inputs_version,
            # What a resumed run has read stays read.
            input_versions=origin.input_versions if origin else dict(self.input_versions),
            backend=self.backend_name,
            handle=dict(self.backend.prepare(request)),
            dagster_run_id=self.run.run_id,
            instance=_id_of(self.instance),
            chain=self.chain,
            watcher=Watcher.this_process(),
            turn=origin.turn if origin else 0,
            run_ids=origin.run_ids if origin else (),
            launched=now(),
        )

    def _request(self, name: str) -> LaunchRequest:
        return LaunchRequest(
            launch_id=name,
            flow_file=self.flow.path,
            flow_name=self.flow.name,
            parameters={**self.parameters, **self.flow.protocol_options(name, self.ledger.root)},
            tags=self.tags,
            folder=self.folder / name,
            environment=self.environment,
            code_version=self.flow.deployed_version,
            inputs=self.flow.inputs,
            ledger_root=self.ledger.root,
            is_of_a_project=self.flow.description.is_of_a_project,
            queues=self.flow.queues,
        )
