"""Executions of state machines, interpreted as AWS Step Functions does.

An execution remembers the output of each state that ended well. So a redrive is the same walk
again, past what is remembered: finished states, branches and iterations are not run again.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from typing import Any, Protocol

from aws_asl import StatesError, entering, leaving, look_up

INLINE_AT_ONCE = 40  # iterations of an inline Map that AWS runs at one time

Place = tuple[str | int, ...]


class HaltedError(Exception):
    """The execution was stopped, or took too long, or another branch has failed."""


class Services(Protocol):
    """What tasks call. Each raises StatesError."""

    def submit_job(self, parameters: Mapping[str, Any]) -> dict[str, Any]: ...

    def wait_for_job(self, name: str, halted: Callable[[], bool]) -> dict[str, Any]: ...

    def get_item(self, parameters: Mapping[str, Any]) -> dict[str, Any]: ...


@dataclass
class Branch:
    """A line of states within an execution: where it began, and its last event."""

    previous: int
    context: dict[str, Any]


@dataclass
class Execution:
    """pace: seconds that pass here for one of a retry's."""

    arn: str
    name: str
    machine: dict[str, Any]
    definition: dict[str, Any]
    input: str
    services: Services
    pace: float
    status: str = "RUNNING"
    started: float = field(default_factory=time.time)
    stopped: float | None = None
    redrives: int = 0
    redriven: float | None = None
    told: dict[str, str] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)
    _done: dict[Place, Any] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _walk: int = 0

    # -- from outside --------------------------------------------------------------------------

    def start(self) -> None:
        self._event(0, "ExecutionStarted", {"input": self.input})
        self._begin()

    def redrive(self) -> None:
        with self._lock:
            self.status, self.stopped = "RUNNING", None
            self.redriven, self.redrives = time.time(), self.redrives + 1
            self.told.clear()
            last = self.events[-1]["id"]
            self._event(last, "ExecutionRedriven", {"redriveCount": self.redrives})
        self._begin()

    def stop(self, error: str | None, cause: str | None) -> None:
        told = {k: v for k, v in (("error", error), ("cause", cause)) if v}
        self._end("ABORTED", "ExecutionAborted", told)

    def _begin(self) -> None:
        with self._lock:
            self._walk += 1
            walk, last = self._walk, self.events[-1]["id"]
        if limit := self.definition.get("TimeoutSeconds"):
            timer = threading.Timer(limit, self._too_late, [walk])
            timer.daemon = True
            timer.start()
        threading.Thread(target=self._run, args=(walk, last), daemon=True).start()

    def _too_late(self, walk: int) -> None:
        if walk == self._walk:
            self._end("TIMED_OUT", "ExecutionTimedOut", {"error": "States.Timeout"})

    def _run(self, walk: int, last: int) -> None:
        context = {"Execution": {"Id": self.arn, "Name": self.name}}
        try:
            walker = Walker(self, walk)
            output = walker.states(
                self.definition, (), json.loads(self.input), Branch(last, context)
            )
        except HaltedError:
            return
        except StatesError as error:
            told = {"error": error.error, "cause": error.cause}
            self._end("FAILED", "ExecutionFailed", told, walk)
        else:
            told = {"output": json.dumps(output)}
            self._end("SUCCEEDED", "ExecutionSucceeded", told, walk)

    def _end(self, status: str, kind: str, told: dict[str, str], walk: int | None = None) -> None:
        with self._lock:
            if self.status != "RUNNING" or walk not in (None, self._walk):
                return
            self._event(self.events[-1]["id"], kind, told)
            self.status, self.stopped, self.told = status, time.time(), dict(told)

    # -- from the walk -------------------------------------------------------------------------

    def goes_on(self, walk: int) -> bool:
        return self.status == "RUNNING" and walk == self._walk

    def done(self, place: Place) -> tuple[bool, Any]:
        with self._lock:
            return place in self._done, self._done.get(place)

    def remember(self, place: Place, output: Any) -> None:
        with self._lock:
            self._done[place] = output

    def _event(self, previous: int, kind: str, details: Mapping[str, Any]) -> int:
        with self._lock:
            number = len(self.events) + 1
            name = kind[:1].lower() + kind[1:] + "EventDetails"
            for suffix in ("StateEntered", "StateExited"):
                if kind.endswith(suffix):
                    name = f"s{suffix[1:]}EventDetails"
            event = {"timestamp": time.time(), "type": kind, "id": number}
            self.events.append({**event, "previousEventId": previous, name: dict(details)})
            return number

    def note(self, walk: int, branch: Branch, kind: str, **details: Any) -> None:
        with self._lock:
            if not self.goes_on(walk):
                raise HaltedError
            branch.previous = self._event(branch.previous, kind, details)


class Walker:
    """One walk through an execution's states."""

    def __init__(self, execution: Execution, walk: int) -> None:
        self._execution = execution
        self._walk = walk

    def states(self, machine: Mapping[str, Any], place: Place, data: Any, branch: Branch) -> Any:
        name = machine["StartAt"]
        while True:
            state, here = machine["States"][name], (*place, name)
            known, output = self._execution.done(here)
            if not known:
                output = self._state(name, state, here, data, branch)
                self._execution.remember(here, output)
            if state.get("End"):
                return output
            name, data = state["Next"], output

    def _state(
        self, name: str, state: Mapping[str, Any], here: Place, data: Any, branch: Branch
    ) -> Any:
        kind = state["Type"]
        self._note(branch, f"{kind}StateEntered", name=name, input=json.dumps(data))
        run = {"Task": self._task, "Map": self._map, "Parallel": self._parallel}.get(kind)
        if run is None:
            if kind != "Pass":
                raise StatesError("States.Runtime", f"states of type {kind} are not known here")
            result = entering(state, data, branch.context)
        else:
            result = run(state, here, data, branch)
        output = leaving(state, data, result, branch.context)
        self._note(branch, f"{kind}StateExited", name=name, output=json.dumps(output))
        return output

    def _note(self, branch: Branch, kind: str, **details: Any) -> None:
        self._execution.note(self._walk, branch, kind, **details)

    # -- tasks ---------------------------------------------------------------------------------

    def _task(self, state: Mapping[str, Any], _here: Place, data: Any, branch: Branch) -> Any:
        tries = 0
        while True:
            try:
                return self._tried(state, data, branch)
            except StatesError as error:
                retry = next(
                    (r for r in state.get("Retry", []) if error.error in r["ErrorEquals"]), None
                )
                if retry is None or tries >= retry.get("MaxAttempts", 3):
                    raise
                wait = retry.get("IntervalSeconds", 1) * retry.get("BackoffRate", 2.0) ** tries
                time.sleep(wait * self._execution.pace)
                tries += 1

    def _tried(self, state: Mapping[str, Any], data: Any, branch: Branch) -> Any:
        service, action = state["Resource"].split(":")[-2:]
        where = {"resourceType": service, "resource": action}
        parameters = entering(state, data, branch.context)
        self._note(branch, "TaskScheduled", **where, parameters=json.dumps(parameters))
        self._note(branch, "TaskStarted", **where)
        try:
            result = self._called(service, action, parameters, branch)
        except StatesError as error:
            kind = "TaskSubmitFailed" if error.error.startswith("Batch.") else "TaskFailed"
            self._note(branch, kind, **where, error=error.error, cause=error.cause)
            raise
        self._note(branch, "TaskSucceeded", **where, output=json.dumps(result))
        return result

    def _called(self, service: str, action: str, parameters: Any, branch: Branch) -> Any:
        services = self._execution.services
        if (service, action) == ("dynamodb", "getItem"):
            return services.get_item(parameters)
        if (service, action) != ("batch", "submitJob.sync"):
            raise StatesError("States.Runtime", f"{service}:{action} is not known here")
        submitted = services.submit_job(parameters)
        output = json.dumps(submitted)
        self._note(branch, "TaskSubmitted", resourceType=service, resource=action, output=output)
        going = self._execution.goes_on
        job = services.wait_for_job(submitted["JobId"], lambda: not going(self._walk))
        if not going(self._walk):
            raise HaltedError
        if job["Status"] != "SUCCEEDED":
            raise StatesError("States.TaskFailed", json.dumps(job))
        return job

    # -- branches ------------------------------------------------------------------------------

    def _parallel(self, state: Mapping[str, Any], here: Place, data: Any, branch: Branch) -> Any:
        self._note(branch, "ParallelStateStarted")
        given = entering(state, data, branch.context)

        def one(number: int) -> Any:
            line = Branch(branch.previous, branch.context)
            return self.states(state["Branches"][number], (*here, number), given, line)

        results = self._all(one, len(state["Branches"]), len(state["Branches"]))
        self._note(branch, "ParallelStateSucceeded")
        return results

    def _map(self, state: Mapping[str, Any], here: Place, data: Any, branch: Branch) -> Any:
        machine = state.get("ItemProcessor") or state["Iterator"]
        if machine.get("ProcessorConfig", {}).get("Mode") == "DISTRIBUTED":
            raise StatesError("States.Runtime", "distributed maps are not known here")
        items = look_up(state.get("ItemsPath", "$"), data, branch.context)
        self._note(branch, "MapStateStarted", length=len(items))

        def one(number: int) -> Any:
            item = {"Map": {"Item": {"Index": number, "Value": items[number]}}}
            line = Branch(branch.previous, {**branch.context, **item})
            where = {"name": here[-1], "index": number}
            known, output = self._execution.done((*here, number))
            if known:
                return output
            self._note(line, "MapIterationStarted", **where)
            given = entering(state, data, line.context)
            try:
                output = self.states(machine, (*here, number), given, line)
            except StatesError:
                self._note(line, "MapIterationFailed", **where)
                raise
            self._note(line, "MapIterationSucceeded", **where)
            self._execution.remember((*here, number), output)
            return output

        at_once = min(state.get("MaxConcurrency") or INLINE_AT_ONCE, INLINE_AT_ONCE)
        results = self._all(one, len(items), at_once)
        self._note(branch, "MapStateSucceeded")
        return results

    def _all(self, one: Callable[[int], Any], count: int, at_once: int) -> list[Any]:
        """Results in order; the first failure ends the execution, the others' jobs go on.

        AWS does its best to end those jobs; the worst that it may do is nothing.
        """
        if not count:
            return []
        pool = ThreadPoolExecutor(min(at_once, count), "branch")
        try:
            futures = [pool.submit(one, number) for number in range(count)]
            for future in as_completed(futures):
                future.result()
            return [future.result() for future in futures]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
