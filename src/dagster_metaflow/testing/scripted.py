"""A backend that plays a script: definitions are tested in milliseconds, without Metaflow's runs.

It starts no process and looks at no clock: each look at a run plays one step of it. What a step
publishes goes through the ledger as a flow's own reports do, so that everything above the backend
is the real thing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from dagster_metaflow.backends.protocol import (
    Handle,
    LaunchError,
    LaunchRequest,
    RunState,
    RunStatus,
)
from dagster_metaflow.parameters import ProtocolParameters
from dagster_metaflow.reports import Check, Materialization, write_report
from dagster_metaflow.stores import write_file

_STAMP = "2026-01-01 00:00:00.000"


@dataclass(frozen=True)
class ScriptedStep:
    """publishes: assets, by the keys under which the flow reports (`a/b`), with `metadata` and
    `checks` each. prints: lines. fails: how many of its executions in one launch fail, from the
    first on, before anything is published. data_version: of all, or of each partition."""

    name: str
    publishes: Sequence[str] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    checks: Sequence[Check] = ()
    prints: Sequence[str] = ()
    fails: int = 0
    data_version: str | Mapping[str, str] = "scripted"

    def version_of(self, partition: str | None) -> str:
        if isinstance(self.data_version, str):
            return self.data_version
        return self.data_version[str(partition)]


class _Run(BaseModel):
    """What is known of a run, in its folder: a handle alone finds it again."""

    run_id: str
    flow: str
    parameters: dict[str, Any]
    done: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    state: RunState = RunState.RUNNING
    reason: str | None = None


class ScriptedBackend:
    """steps: in order. partitions: all keys in order, of flows that take a range of them.

    executed: steps that were played, `run/step`, the failed ones too. requests: what was asked to
    be started, so that a test can look at its parameters and tags. held: steps that runs stop
    before, until they are taken out.
    """

    def __init__(
        self,
        steps: Sequence[ScriptedStep],
        *,
        partitions: Sequence[str] = (),
        protocol: ProtocolParameters | None = None,
    ) -> None:
        self.executed: list[str] = []
        self.requests: list[LaunchRequest] = []
        self.held: set[str] = set()
        self._steps = tuple(steps)
        self._partitions = tuple(partitions)
        self._protocol = protocol or ProtocolParameters()

    # -- the protocol --------------------------------------------------------------------------

    def prepare(self, request: LaunchRequest) -> Handle:
        number = 1 + len(list(request.folder.glob("*")))
        folder = request.folder / str(number)
        folder.mkdir(parents=True)
        return {"folder": str(folder), "launch_id": request.launch_id}

    def launch(self, request: LaunchRequest, handle: Handle) -> Handle:
        return self._start(request, handle)

    def resume(self, request: LaunchRequest, handle: Handle, origin_run_id: str) -> Handle:
        """Raises LaunchError for a run that this launch does not know."""
        for _, run in _runs(request.folder):
            if run.run_id == origin_run_id:
                return self._start(request, handle, run)
        raise LaunchError(f"there is no run {origin_run_id} to resume")

    def poll(self, handle: Handle) -> RunStatus:
        """Plays one step, too."""
        run = _read(_folder(handle))
        if run is None:
            return RunStatus(RunState.LOST, None, "it was never started")
        if run.state is RunState.RUNNING:
            run = self._play(_folder(handle), run)
        return RunStatus(run.state, run.run_id, run.reason)

    def read_log(self, handle: Handle, offset: int) -> tuple[list[str], int]:
        place = _folder(handle) / "log"
        data = place.read_bytes()[offset:] if place.exists() else b""
        return data.decode().splitlines(), offset + len(data)

    def cancel(self, handle: Handle) -> None:
        self._end(handle, RunState.CANCELLED, "it was cancelled")

    def links(self, handle: Handle) -> Mapping[str, str]:
        return {"log": str(_folder(handle) / "log")}

    # -- for tests -----------------------------------------------------------------------------

    def lose(self, handle: Handle) -> None:
        """As if the run's machine had gone away."""
        self._end(handle, RunState.LOST, "its machine is gone")

    # -- the play ------------------------------------------------------------------------------

    def _start(self, request: LaunchRequest, handle: Handle, origin: _Run | None = None) -> Handle:
        folder = _folder(handle)
        run = _Run(
            run_id=f"{request.launch_id}.{folder.name}",
            flow=request.flow_name,
            parameters={k.replace("-", "_"): v for k, v in request.parameters.items()},
            done=origin.done if origin else (),
        )
        self.requests.append(request)
        for step in self._steps:
            if origin and step.name in run.done:
                words = f"Cloning previously run task {self._task(origin, step)}"
                _say(folder, self._task(run, step), words)
        _write(folder, run)
        return handle

    def _end(self, handle: Handle, state: RunState, reason: str) -> None:
        run = _read(_folder(handle))
        if run is not None and run.state is RunState.RUNNING:
            _write(_folder(handle), run.model_copy(update={"state": state, "reason": reason}))

    def _play(self, folder: Path, run: _Run) -> _Run:
        left = [step for step in self._steps if step.name not in run.done]
        if left and left[0].name in self.held:
            return run
        played = self._played(folder, run, left[0]) if left else run
        if not left[1:] and played.state is RunState.RUNNING:
            played = played.model_copy(update={"state": RunState.SUCCEEDED})
        _write(folder, played)
        return played

    def _played(self, folder: Path, run: _Run, step: ScriptedStep) -> _Run:
        task = self._task(run, step)
        self.executed.append(f"{run.run_id}/{step.name}")
        failures = sum(past.failed.count(step.name) for _, past in _runs(folder.parent))
        _say(folder, task, "Task is starting.", *step.prints)
        if failures < step.fails:
            _say(folder, task, f"step {step.name} fails, as the script says", "Task failed.")
            reason = f"step {step.name} failed"
            failed = {"failed": (*run.failed, step.name), "state": RunState.FAILED}
            return run.model_copy(update=failed | {"reason": reason})
        self._publish(run, step, task)
        _say(folder, task, "Task finished successfully.")
        return run.model_copy(update={"done": (*run.done, step.name)})

    def _task(self, run: _Run, step: ScriptedStep) -> str:
        return f"{run.run_id}/{step.name}/{1 + self._steps.index(step)}"

    def _publish(self, run: _Run, step: ScriptedStep, task: str) -> None:
        given, names = run.parameters, self._protocol
        selected = str(given.get(names.assets) or "").split(",")
        for key in step.publishes:
            if selected != [""] and key.rpartition("/")[2] not in selected:
                continue
            made = [
                Materialization(
                    data_version=step.version_of(part), partition=part, metadata=dict(step.metadata)
                )
                for part in self._chosen(given)
            ]
            write_report(
                str(given[names.ledger_root]),
                run.flow,
                str(given[names.launch_id]),
                key.split("/"),
                made,
                step.checks,
                run=f"{run.flow}/{task}",
            )

    def _chosen(self, given: Mapping[str, Any]) -> Sequence[str | None]:
        names = self._protocol
        if (one := given.get(names.partition)) is not None:
            return [str(one)]
        first, last = given.get(names.partition_start), given.get(names.partition_end)
        if first is None:
            return [None]
        if first == last:
            return [str(first)]
        places = [self._partitions.index(str(key)) for key in (first, last)]
        return self._partitions[places[0] : places[1] + 1]


def _folder(handle: Handle) -> Path:
    return Path(str(handle["folder"]))


def _read(folder: Path) -> _Run | None:
    try:
        return _Run.model_validate_json((folder / "run.json").read_bytes())
    except FileNotFoundError:
        return None


def _write(folder: Path, run: _Run) -> None:
    write_file(str(folder / "run.json"), json.dumps(run.model_dump(mode="json")).encode())


def _runs(folder: Path) -> list[tuple[Path, _Run]]:
    """Of one launch, the first and its resumptions."""
    found = [(place, _read(place)) for place in sorted(folder.glob("*"))]
    return [(place, run) for place, run in found if run is not None]


def _say(folder: Path, task: str, *lines: str) -> None:
    """As Metaflow writes it."""
    run, step, number = task.split("/")
    with (folder / "log").open("a", encoding="utf-8") as log:
        log.writelines(f"{_STAMP} [{run}/{step}/{number} (pid 1)] {line}\n" for line in lines)
