"""What a run's event log says: steps, checks, materializations, and why it failed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
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
_FEW = 3
_SILENCE_SECONDS = 30.0
_ROWS = "dagster/row_count"
_CAUSE = "Cause: "  # as dagster_metaflow tells of a Metaflow run
_TIMING = ("seconds_since_launch", "bytes")


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
    """numbers: of its metadata, by label."""

    asset: str
    partition: str | None
    numbers: Mapping[str, str]
    at: float


_Place = tuple[str, str | None]
"""Asset and partition."""


@dataclass
class Story:
    """A run so far. `tell` gets a line for each thing worth reading."""

    tell: Callable[[str], None]
    verbose: bool = False
    steps: dict[str, Step] = field(default_factory=dict)
    failure: str = ""
    _made: dict[_Place, Materialization] = field(default_factory=dict)
    _checks: dict[tuple[_Place, str], Check] = field(default_factory=dict)
    _untold: dict[_Place, Materialization] = field(default_factory=dict)
    _told: float = field(default_factory=time.monotonic)

    @property
    def materializations(self) -> list[Materialization]:
        """The last one of each asset and partition."""
        return list(self._made.values())

    @property
    def checks(self) -> list[Check]:
        """The last result of each: a task that was retried may have mended what was wrong."""
        return list(self._checks.values())

    @property
    def why(self) -> str:
        """Why the run failed, in a line: what the first step that failed said, or Dagster did."""
        failed = [step for step in self.steps.values() if step.state == "failed"]
        if not failed:
            return self.failure
        others = f" (and {len(failed) - 1} more failed)" if len(failed) > 1 else ""
        return f"{failed[0].name}: {_brief(failed[0].message)}{others}"

    def wait(self, now: float) -> None:
        """Says what is still running, when nothing has been said for a while. now: monotonic."""
        running = [step for step in self.steps.values() if step.state == "running"]
        if running and now - self._told > _SILENCE_SECONDS:
            self._told = now
            names = ", ".join(step.name for step in running)
            self._say(
                time.time(), f"{names}  still running, {time.time() - running[0].began:.0f} s"
            )

    def add(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Some events, in the order of the log; kinds that say nothing new are passed over."""
        for event in events:
            handler = _HANDLERS.get(event["__typename"])
            if handler is not None:
                handler(self, event)
        self._tell_materializations(figures=True)

    def say(self, event: Mapping[str, Any], text: str) -> None:
        self._tell_materializations(figures=True)
        self._say(_at(event), text)

    def _say(self, at: float, text: str) -> None:
        self._told = time.monotonic()
        self.tell(f"{datetime.fromtimestamp(at, UTC):%H:%M:%S}  {text}")

    def _start(self, event: Mapping[str, Any]) -> None:
        self.steps[event["stepKey"]] = Step(event["stepKey"], "running", _at(event))
        self.say(event, f"{event['stepKey']}  started")

    def _end(self, event: Mapping[str, Any], state: str, message: str = "") -> None:
        name = event["stepKey"]
        step = self.steps.setdefault(name, Step(name, state, _at(event)))
        step.state, step.ended, step.message = state, _at(event), message
        self._tell_materializations()
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
        made = Materialization(_key(event["assetKey"]), event["partition"], numbers, _at(event))
        if any(asset != made.asset for asset, _ in self._untold):
            self._tell_materializations(figures=True)
        # Partitions of a range are said twice, the second time with figures of their own.
        key = (made.asset, made.partition)
        self._made[key] = self._untold[key] = made

    def _tell_materializations(self, *, figures: bool = False) -> None:
        """A line each; one for them all where many partitions come at once.

        figures: those that have rows of their own; partitions without are said again, with theirs,
        before their step ends. What a step did for all of them stands at each.
        """
        told = [
            made
            for made in self._untold.values()
            if not figures or made.partition is None or _ROWS in made.numbers
        ]
        for made in told:
            del self._untold[made.asset, made.partition]
        self._say_materializations(told)

    def _say_materializations(self, untold: Sequence[Materialization]) -> None:
        if len(untold) > _FEW:
            last = untold[-1]
            names = sorted(str(made.partition) for made in untold)
            rows = sum(int(made.numbers.get(_ROWS, 0)) for made in untold)
            self._say(
                last.at,
                f"{last.asset} [{names[0]} ... {names[-1]}]  {len(untold)} partitions "
                "materialized" + (f": {rows:,} rows" if rows else ""),
            )
            return
        for made in untold:
            told = ", ".join(f"{name} {value}" for name, value in _told_first(made.numbers))
            self._say(made.at, f"{_where(made)}  materialized" + (f": {told}" if told else ""))

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
        self._checks[(check.asset, check.partition), check.name] = check
        result = "passed" if check.passed else f"failed ({check.severity})"
        text = f": {check.message}" if check.message and not check.passed else ""
        self.say(event, f"{_where(check)}  check {check.name} {result}{text}")

    def _run_failed(self, event: Mapping[str, Any]) -> None:
        self.failure = event["message"].strip()
        self._tell_materializations()
        self.say(event, self.failure)

    def _logged(self, event: Mapping[str, Any]) -> None:
        level, text = event["level"], event["message"].strip()
        if level == "INFO":
            self.say(event, text)
        elif self.verbose or level != "DEBUG":
            self.say(event, f"{level.lower()}: {text}")

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


def _brief(message: str) -> str:
    """The first line, which says what failed, and the one with the cause; without one the last,
    which is what it said at last."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    if not lines:
        return "no reason was given"
    cause = next((line for line in lines if line.startswith(_CAUSE)), lines[-1])
    return " ".join(dict.fromkeys([lines[0], cause]))


def _told_first(numbers: Mapping[str, str]) -> list[tuple[str, str]]:
    """Rows, then the first figures of the asset's own."""
    rows = [("rows", numbers[_ROWS])] if _ROWS in numbers else []
    own = [(n, _figure(value)) for n, value in numbers.items() if n not in (_ROWS, *_TIMING)]
    return [*rows, *own][:_NUMBERS]


def _figure(text: str) -> str:
    """Enough digits to read."""
    return f"{float(text):.4g}" if "." in text else text


def _where(thing: Check | Materialization) -> str:
    return f"{thing.asset} [{thing.partition}]" if thing.partition else thing.asset


def _key(key: Mapping[str, Any]) -> str:
    return "/".join(key["path"])


def _at(event: Mapping[str, Any]) -> float:
    return float(event["timestamp"]) / 1000
