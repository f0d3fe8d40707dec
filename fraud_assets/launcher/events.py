"""What a run's event log says: steps, checks, materializations, and why it failed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

FRAGMENTS = """
  __typename
  ... on MessageEvent { timestamp message stepKey level }
  ... on ErrorEvent { error { message causes { message } } }
  ... on ExecutionStepFailureEvent { failureMetadata { description } }
  ... on MaterializationEvent {
    assetKey { path } partition
    metadataEntries {
      label
      ... on IntMetadataEntry { number: intRepr }
      ... on FloatMetadataEntry { number: floatRepr }
    }
  }
  ... on AssetCheckEvaluationEvent {
    evaluation { assetKey { path } checkName success severity description partition }
  }
"""
_NUMBERS = 5


@dataclass
class Step:
    """state: running, succeeded, failed, skipped, or retrying. Times in s since 1970."""

    name: str
    state: str
    began: float
    ended: float | None = None
    message: str = ""


@dataclass(frozen=True)
class Check:
    """One result of an asset check; `blocking` is severity ERROR."""

    asset: str
    name: str
    passed: bool
    severity: str
    message: str
    partition: str | None
    at: float


@dataclass(frozen=True)
class Materialization:
    asset: str
    partition: str | None
    numbers: Mapping[str, str]


@dataclass
class Story:
    """A run so far. `tell` gets a line for each thing worth reading."""

    tell: Callable[[str], None]
    verbose: bool = False
    steps: dict[str, Step] = field(default_factory=dict)
    checks: list[Check] = field(default_factory=list)
    materializations: list[Materialization] = field(default_factory=list)
    failure: str = ""

    def add(self, event: Mapping[str, Any]) -> None:
        """One event, in the order of the log; kinds that say nothing new are passed over."""
        kind = event["__typename"]
        handler = _HANDLERS.get(kind)
        if handler is not None:
            handler(self, event)

    def say(self, event: Mapping[str, Any], text: str) -> None:
        moment = datetime.fromtimestamp(_at(event), UTC)
        self.tell(f"{moment:%H:%M:%S}  {text}")

    def _start(self, event: Mapping[str, Any]) -> None:
        self.steps[event["stepKey"]] = Step(event["stepKey"], "running", _at(event))
        self.say(event, f"{event['stepKey']}  started")

    def _end(self, event: Mapping[str, Any], state: str, message: str = "") -> None:
        name = event["stepKey"]
        step = self.steps.setdefault(name, Step(name, state, _at(event)))
        step.state, step.ended, step.message = state, _at(event), message
        seconds = f" after {step.ended - step.began:.1f} s" if state != "skipped" else ""
        self.say(event, f"{name}  {state}{seconds}" + (f": {message}" if message else ""))

    def _succeeded(self, event: Mapping[str, Any]) -> None:
        self._end(event, "succeeded")

    def _failed(self, event: Mapping[str, Any]) -> None:
        self._end(event, "failed", _reason(event))

    def _skipped(self, event: Mapping[str, Any]) -> None:
        self._end(event, "skipped")

    def _retrying(self, event: Mapping[str, Any]) -> None:
        self._end(event, "retrying", _reason(event))

    def _restarted(self, event: Mapping[str, Any]) -> None:
        self.steps[event["stepKey"]].state = "running"
        self.say(event, f"{event['stepKey']}  started again")

    def _materialized(self, event: Mapping[str, Any]) -> None:
        entries = event["metadataEntries"]
        numbers = {one["label"]: one["number"] for one in entries if "number" in one}
        made = Materialization(_key(event["assetKey"]), event["partition"], numbers)
        self.materializations.append(made)
        shown = ", ".join(f"{name} {value}" for name, value in list(numbers.items())[:_NUMBERS])
        self.say(event, f"{_where(made)}  materialized" + (f": {shown}" if shown else ""))

    def _checked(self, event: Mapping[str, Any]) -> None:
        found = event["evaluation"]
        check = Check(
            asset=_key(found["assetKey"]),
            name=found["checkName"],
            passed=found["success"],
            severity=found["severity"],
            message=found["description"] or "",
            partition=found["partition"],
            at=_at(event),
        )
        self.checks.append(check)
        result = "passed" if check.passed else f"failed ({check.severity})"
        text = f": {check.message}" if check.message and not check.passed else ""
        self.say(event, f"{_where(check)}  check {check.name} {result}{text}")

    def _run_failed(self, event: Mapping[str, Any]) -> None:
        self.failure = event["message"].strip()
        self.say(event, self.failure)

    def _logged(self, event: Mapping[str, Any]) -> None:
        if self.verbose or event["level"] in ("WARNING", "ERROR", "CRITICAL"):
            self.say(event, f"{event['level'].lower()}: {event['message'].strip()}")

    def _noted(self, event: Mapping[str, Any]) -> None:
        """Engine events matter when they carry an error, as of a worker that died."""
        if event.get("error"):
            self.say(event, f"{event['message'].strip()}: {_reason(event)}")


_HANDLERS: dict[str, Callable[[Story, Mapping[str, Any]], None]] = {
    "ExecutionStepStartEvent": Story._start,
    "ExecutionStepSuccessEvent": Story._succeeded,
    "ExecutionStepFailureEvent": Story._failed,
    "ExecutionStepSkippedEvent": Story._skipped,
    "ExecutionStepUpForRetryEvent": Story._retrying,
    "ExecutionStepRestartEvent": Story._restarted,
    "MaterializationEvent": Story._materialized,
    "AssetCheckEvaluationEvent": Story._checked,
    "RunFailureEvent": Story._run_failed,
    "RunCanceledEvent": Story._run_failed,
    "LogMessageEvent": Story._logged,
    "EngineEvent": Story._noted,
}


def _reason(event: Mapping[str, Any]) -> str:
    """The innermost message, without the frames around it."""
    told = (event.get("failureMetadata") or {}).get("description")
    error = event.get("error")
    if told or not error:
        return str(told or event["message"]).strip()
    causes = error.get("causes") or []
    return str((causes[-1] if causes else error)["message"]).strip()


def _where(thing: Check | Materialization) -> str:
    return f"{thing.asset} [{thing.partition}]" if thing.partition else thing.asset


def _key(key: Mapping[str, Any]) -> str:
    return "/".join(key["path"])


def _at(event: Mapping[str, Any]) -> float:
    return float(event["timestamp"]) / 1000
