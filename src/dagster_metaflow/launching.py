"""Start a Metaflow run, or find the one to go on with.

What an execution does depends on the launches of the same thing (flow, parameters, partitions,
assets, backend) that the ledger knows:

    a run that Dagster lost sight of, and that still goes on     it is adopted
    one that ended well while Dagster was away                   its reports are taken
    one that failed or was lost, when this execution retries it  it is resumed
    none of these                                                a new run
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from dagster import DagsterInstance, DagsterRun, RunsFilter

from dagster_metaflow.backends.protocol import (
    Backend,
    LaunchError,
    LaunchRequest,
    RunState,
)
from dagster_metaflow.flow import MetaflowFlow
from dagster_metaflow.ledger import LaunchRecord, Ledger, identity, launch_id, now
from dagster_metaflow.watcher import Watcher

Way = Literal["launched", "adopted", "resumed"]
RETRY_TAG = "dagster/is_resume_retry"


@dataclass(frozen=True)
class Launch:
    """A run that is under way, and how it came about."""

    record: LaunchRecord
    way: Way


@dataclass(frozen=True)
class Launcher:
    """Starts or finds the run of one execution.

    parameters: by option, without launch id and ledger root. folder: for this machine's files.
    """

    flow: MetaflowFlow
    ledger: Ledger
    backend: Backend
    backend_name: str
    instance: DagsterInstance
    run: DagsterRun
    parameters: Mapping[str, Any]
    tags: Sequence[str]
    folder: Path
    environment: Mapping[str, str]
    adopt_within: timedelta

    @property
    def identity(self) -> str:
        return identity(self.flow.name, self.backend_name, self.parameters)

    @property
    def chain(self) -> str:
        return self.run.root_run_id or self.run.run_id

    def start(self) -> Launch:
        """Raises LaunchError when nothing can be started."""
        for record in self.ledger.of_identity(self.flow.name, self.identity):
            if (launch := self._go_on_with(record)) is not None:
                return launch
        return self._launch(launch_id(self.identity, self.run.run_id), ())

    def _go_on_with(self, record: LaunchRecord) -> Launch | None:
        retried = self._retries(record)
        if not retried and not self._is_abandoned(record):
            return None
        if record.outcome == "succeeded":
            return None
        status = self.backend.poll(record.handle)
        record = record.with_run_id(status.run_id)
        if status.state in (RunState.RUNNING, RunState.SUCCEEDED):
            return self._adopt(record)
        self.backend.cancel(record.handle)  # what a lost run may have left running
        if record.run_id is None:
            return self._launch(record.launch_id, record.run_ids) if retried else None
        return self._resume(record)

    def _retries(self, record: LaunchRecord) -> bool:
        """By Dagster's retry policy within a run, or by re-execution from failure."""
        if record.dagster_run_id == self.run.run_id:
            return True
        return record.chain == self.chain and self.run.tags.get(RETRY_TAG) == "true"

    def _is_abandoned(self, record: LaunchRecord) -> bool:
        """Nobody has seen its end, and who launched it is gone."""
        if record.outcome not in ("open", "detached"):
            return False
        if now() - record.launched > self.adopt_within:
            return False
        if record.outcome == "detached":
            return True
        if record.watcher.is_here:
            return not record.watcher.is_alive
        found = self.instance.get_runs(RunsFilter(run_ids=[record.dagster_run_id]), limit=1)
        return not found or found[0].is_finished

    def _adopt(self, record: LaunchRecord) -> Launch:
        mine = record.model_copy(
            update={
                "dagster_run_id": self.run.run_id,
                "chain": self.chain,
                "watcher": Watcher.this_process(),
                "outcome": "open",
            }
        )
        self.ledger.write(mine)
        return Launch(mine, "adopted")

    def _launch(self, name: str, run_ids: tuple[str, ...]) -> Launch:
        handle = self.backend.launch(self._request(name))
        return Launch(self._recorded(name, handle, run_ids), "launched")

    def _resume(self, record: LaunchRecord) -> Launch:
        if record.run_id is None:
            raise LaunchError(f"{record.launch_id}: there is no run to resume")
        request = self._request(record.launch_id)
        handle = self.backend.resume(request, record.run_id)
        return Launch(self._recorded(record.launch_id, handle, record.run_ids), "resumed")

    def _recorded(
        self, name: str, handle: Mapping[str, Any], run_ids: tuple[str, ...]
    ) -> LaunchRecord:
        record = LaunchRecord(
            launch_id=name,
            flow=self.flow.name,
            backend=self.backend_name,
            handle=dict(handle),
            dagster_run_id=self.run.run_id,
            chain=self.chain,
            watcher=Watcher.this_process(),
            run_ids=run_ids,
            launched=now(),
        )
        self.ledger.write(record)
        return record

    def _request(self, name: str) -> LaunchRequest:
        protocol = self.flow.protocol
        own = {protocol.launch_id: name, protocol.ledger_root: self.ledger.root}
        known = {k: v for k, v in own.items() if k in self.flow.parameters}
        return LaunchRequest(
            launch_id=name,
            flow_file=self.flow.path,
            flow_name=self.flow.name,
            parameters={**self.parameters, **self.flow.options(known)},
            tags=self.tags,
            folder=self.folder / name,
            environment=self.environment,
        )
