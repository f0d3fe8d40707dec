"""What has been told already: a small file beside nobody's data, shared by all processes here.

A problem is told when it begins, again when it still stands after a while, and when it is over.
What is too much within an hour is counted, and the next message says how many were held back. Good
news has an hour of its own: what has succeeded keeps no failure from being told.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout
from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from fraud_mlops.lakehouse.stores import write_bytes
from fraud_mlops.notifications.message import Notification

_LOCK_SECONDS = 5
_FORGET = timedelta(days=30)
_HOUR = timedelta(hours=1)
_log = logging.getLogger(__name__)


class Problem(BaseModel):
    """first, last: when it was heard of. told: when people were; None for never yet."""

    model_config = ConfigDict(frozen=True)

    first: AwareDatetime
    last: AwareDatetime
    told: AwareDatetime | None = None
    times: int = 1


class Told(BaseModel):
    """sent: bad news of the last hour. good: good news. held: keys of what was held back since the
    last that was sent, each once, however often it was asked for."""

    problems: dict[str, Problem] = {}
    sent: list[AwareDatetime] = []
    good: list[AwareDatetime] = []
    held: list[str] = []

    def hold(self, *keys: str) -> None:
        self.held = [*dict.fromkeys([*self.held, *keys])]


class Decision(NamedTuple):
    """send: None when it is not to be sent, for the reason `why`. needless: there is no need to.

    at, held, before: when it was counted as sent, the keys that it tells the number of and the
    problems as they were, for `was_not_told` to put back.
    """

    send: Notification | None
    why: str = ""
    needless: bool = False
    at: datetime | None = None
    held: tuple[str, ...] = ()
    before: Mapping[str, Problem] = {}


class ToldFile:
    """path: of the JSON file. repeat: before a standing problem is told again."""

    def __init__(self, path: Path, repeat: timedelta, per_hour: int) -> None:
        self._path, self._repeat, self._per_hour = path, repeat, per_hour

    def decide(self, told_now: Notification, now: datetime) -> Decision:
        """Whether this is news; what is sent is taken for told until `was_not_told`."""
        with self._open() as told:
            before = _below(told, told_now.key)
            decision = (
                self._bad(told, told_now, now) if told_now.bad else _good(told, told_now, before)
            )
            if decision.send is None:
                return decision
            sent = _sent(told, told_now)
            sent[:] = [at for at in sent if now - at < _HOUR]
            if len(sent) >= self._per_hour:
                told.hold(told_now.key)
                _put_back(told, told_now, before)
                return Decision(None, f"{self._per_hour} were sent within the hour")
            sent.append(now)
            send, held = decision.send, tuple(told.held)
            if others := sum(key != told_now.key for key in held):
                more = {"Held back": f"{others} more messages, of this last hour and before"}
                send = send.model_copy(update={"facts": {**send.facts, **more}})
            told.held = []
            return Decision(send, at=now, held=held, before=before)

    def was_not_told(self, message: Notification, decision: Decision) -> None:
        """No channel took it: it counts for nothing, and the next time is as this one was."""
        with self._open() as told:
            sent = _sent(told, message)
            if decision.at in sent:
                sent.remove(decision.at)
            told.hold(*decision.held)
            _put_back(told, message, decision.before)

    def _bad(self, told: Told, told_now: Notification, now: datetime) -> Decision:
        problem = told.problems.get(told_now.key)
        if problem is None:
            told.problems[told_now.key] = Problem(first=now, last=now, told=now)
            return Decision(told_now.begun(now))
        times = problem.times + 1
        news = problem.told is None or now - problem.told >= self._repeat
        told.problems[told_now.key] = problem.model_copy(
            update={"last": now, "times": times} | ({"told": now} if news else {})
        )
        if not news:
            why = f"it was told at {problem.told:%F %H:%M} UTC already"
            return Decision(None, why, needless=True)
        again = {"Times": f"{times} so far"} if times > 1 else {}
        facts = {"facts": {**told_now.facts, **again}}
        return Decision(told_now.begun(problem.first).model_copy(update=facts))

    @contextlib.contextmanager
    def _open(self) -> Iterator[Told]:
        """Read, changed, written back: by one process at a time. A file that cannot be had is none:
        too many messages are better than none."""
        lock = FileLock(f"{self._path}.lock", timeout=_LOCK_SECONDS)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except (OSError, Timeout) as error:
            _log.warning("%s cannot be used, so that messages may repeat: %s", self._path, error)
            yield Told()
            return
        try:
            told = self._read()
            before = told.model_copy(deep=True)
            yield told
            if told != before:
                self._write(told)
        finally:
            lock.release()

    def _read(self) -> Told:
        try:
            return Told.model_validate_json(self._path.read_bytes())
        except FileNotFoundError:
            return Told()
        except (OSError, ValidationError):
            _log.warning("%s is damaged; it begins anew, and messages may repeat", self._path)
            return Told()

    def _write(self, told: Told) -> None:
        if told.problems:
            newest = max(problem.last for problem in told.problems.values())
            told.problems = {k: p for k, p in told.problems.items() if newest - p.last < _FORGET}
        try:
            write_bytes(str(self._path), told.model_dump_json(indent=1).encode() + b"\n")
        except OSError as error:
            _log.warning("%s cannot be written, so that messages may repeat: %s", self._path, error)


def _below(told: Told, key: str) -> dict[str, Problem]:
    """The problem of that key, and those of its parts: `key#part`."""
    return {
        name: problem
        for name, problem in told.problems.items()
        if name == key or name.startswith(f"{key}#")
    }


def _good(told: Told, told_now: Notification, over: Mapping[str, Problem]) -> Decision:
    """The end of a problem is news of its own, if anybody was told of it at all: as this file has
    it, or who tells, since when it was."""
    for key in over:
        del told.problems[key]
    known = [problem.first for problem in over.values() if problem.told]
    if known:
        return Decision(told_now.model_copy(update={"status": "recovered", "since": min(known)}))
    if told_now.if_any:
        return Decision(None, "nobody was told of a problem", needless=True)
    return Decision(told_now)


def _sent(told: Told, message: Notification) -> list[datetime]:
    return told.sent if message.bad else told.good


def _put_back(told: Told, message: Notification, before: Mapping[str, Problem]) -> None:
    """A problem as it was told last, if ever; of an end, what it would have ended."""
    if not message.bad:
        told.problems = {**before, **told.problems}
    elif problem := told.problems.get(message.key):
        earlier = before.get(message.key, problem.model_copy(update={"told": None, "times": 0}))
        told.problems[message.key] = earlier.model_copy(update={"last": problem.last})
