"""Following a run to its end: its story as it goes, automatic retries too, and how to stop it."""

from __future__ import annotations

import contextlib
import functools
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fraud_assets.launcher.client import Server, Unreachable
from fraud_assets.launcher.events import FRAGMENTS, Story
from fraud_assets.launcher.jobs import Job
from fraud_assets.launcher.reexecution import RETRY_SECONDS
from fraud_assets.launcher.submit import FINISHED, Launched, settle, terminate

POLL_SECONDS = 0.5
PAGE = 500
CANCEL_SECONDS = 50.0  # a remote run needs its time to end
LOOK_SECONDS = 25.0  # at least, for the answer how the run is, once it was asked to end
TRY_SECONDS = 10.0  # a webserver may never answer, and is asked again beside
GONE_SECONDS = 120.0  # a webserver that restarts
QUEUE_SECONDS = 10.0

_RUN = f"""
query Follow($run: ID!, $cursor: String, $limit: Int) {{
  runOrError(runId: $run) {{
    __typename
    ... on Run {{ status startTime endTime tags {{ key value }} }}
    ... on Error {{ message }}
  }}
  logsForRun(runId: $run, afterCursor: $cursor, limit: $limit) {{
    ... on EventConnection {{ cursor hasMore events {{ {FRAGMENTS} }} }}
  }}
}}
"""
_DAEMON = """
{ instance { daemonHealth { daemonStatus(daemonType: "QUEUED_RUN_COORDINATOR") { healthy } } } }
"""


@dataclass(frozen=True)
class Outcome:
    """How a run ended. status: SUCCESS, FAILURE, CANCELED, or what it was when waiting ended."""

    run_id: str
    status: str
    reason: str = ""

    @property
    def good(self) -> bool:
        return self.status == "SUCCESS"


class Follower:
    """Reads one run's log until it has ended, `stop` is set, or the time is up."""

    def __init__(
        self, server: Server, job: Job, story: Story, stop: threading.Event, timeout: float | None
    ) -> None:
        self.server, self.job, self.story, self.stop = server, job, story, stop
        self.deadline = time.monotonic() + timeout if timeout else None
        self.timeout = timeout
        self._last_answer = time.monotonic()
        self._told_of_queue = self._told_of_silence = False

    def follow(self, launched: Launched) -> Outcome:
        """Until the run, or the last of its automatic retries, has ended.

        Raises:
            Unreachable: the webserver is gone for GONE_SECONDS, or does not answer when the run is
                to be cancelled. The run goes on without it.
        """
        with self.server.patience(self._over):
            return self._follow(launched)

    def _follow(self, launched: Launched) -> Outcome:
        run_id = launched.run_id
        while True:
            outcome, tags = self._one(run_id, launched.request)
            if outcome.status != "FAILURE" or tags.get("dagster/will_retry") != "true":
                return outcome
            retry = self._retry_of(run_id)
            if retry is None:
                return outcome
            self.story.tell(f"Dagster tries again: {self.server.run_link(retry)}")
            run_id = retry

    def _one(self, run_id: str, request: str) -> tuple[Outcome, Mapping[str, str]]:
        cursor: str | None = None
        began = time.monotonic()
        while True:
            answer = self._read(run_id, cursor)
            if answer is not None:
                run, log = answer["runOrError"], answer["logsForRun"]
                if run["__typename"] != "Run":
                    return Outcome(run_id, "GONE", f"The run was deleted: {run['message']}"), {}
                self.story.add(log["events"])
                self.story.wait(time.monotonic())
                cursor = log["cursor"]
                if run["status"] in FINISHED and not log["events"]:
                    return Outcome(run_id, run["status"], self._why(run["status"])), _tags(run)
                if log["hasMore"] or run["status"] in FINISHED:
                    continue  # only a quiet log is read to its end
                if run["status"] in ("QUEUED", "NOT_STARTED"):
                    self._wait_in_queue(request, time.monotonic() - began)
            if self._over():
                return self._cancel(run_id, cursor), {}
            self.stop.wait(POLL_SECONDS)

    def _read(self, run_id: str, cursor: str | None) -> Any:
        """None while the webserver is away for a moment."""
        try:
            answer = self.server.ask(_RUN, run=run_id, cursor=cursor, limit=PAGE)
        except Unreachable as gone:
            if self._over():  # which may be why it was not waited for
                return None
            away = time.monotonic() - self._last_answer
            if away > GONE_SECONDS:
                raise self._left_alone(gone, run_id) from None
            self.story.tell(f"The webserver does not answer; waiting ({away:.0f} s)")
            return None
        self._last_answer = time.monotonic()
        return answer

    def _left_alone(
        self, gone: Unreachable, run_id: str, state: str = "goes on without it, it seems"
    ) -> Unreachable:
        return Unreachable(
            f"{gone.message} Run {run_id} {state}: see "
            f"{self.server.run_link(run_id)} when it is back. With the same --idempotency-key, "
            "the same command follows the same run."
        )

    def _over(self) -> bool:
        late = self.deadline is not None and time.monotonic() > self.deadline
        return late or self.stop.is_set()

    def _why(self, status: str) -> str:
        return "" if status == "SUCCESS" else self.story.why

    def _wait_in_queue(self, request: str, seconds: float) -> None:
        # A webserver that goes away in between is told of by whoever reads the log next.
        with contextlib.suppress(Unreachable):
            settle(self.server, self.job, request)
            if not self._told_of_queue and seconds > QUEUE_SECONDS:
                self.story.tell(self._queue_state())
                self._told_of_queue = True

    def _queue_state(self) -> str:
        """Why a run that waits may be waiting."""
        status = self.server.ask(_DAEMON)["instance"]["daemonHealth"]["daemonStatus"]
        if not status["healthy"]:
            return (
                "The run waits in the queue, and no daemon is up to take it from there: "
                "start `dagster-daemon run` on the server."
            )
        return "The run waits in the queue: its pool, its partition or all places are taken."

    def _cancel(self, run_id: str, cursor: str | None) -> Outcome:
        """Asks the run to end and waits for it, within a bound; nothing stops this but a kill.

        Raises:
            Unreachable: no webserver answered when it was asked to cancel the run.
        """
        asked_for = (
            "stopped" if self.stop.is_set() else f"--timeout of {self.timeout:.0f} s is over"
        )
        self.story.tell(f"{asked_for[0].upper()}{asked_for[1:]}: cancelling run {run_id}")
        deadline = time.monotonic() + CANCEL_SECONDS
        status, refused, asked = "unknown", None, False
        while True:
            try:
                if status not in (*FINISHED, "CANCELING"):
                    # Refused while a worker is starting, so it is asked until it listens.
                    refused, asked = terminate(self.server, run_id, self._insist(deadline)), True
                look = self._insist(max(deadline, time.monotonic() + LOOK_SECONDS))
                answer = look(_RUN, run=run_id, cursor=cursor, limit=PAGE)
            except Unreachable as gone:
                state = "was asked to end, and nobody knows if it has"
                if not asked:
                    state = "could not be cancelled and goes on, it seems"
                raise self._left_alone(gone, run_id, state) from None
            log, status = answer["logsForRun"], answer["runOrError"].get("status", "GONE")
            events = log.get("events", ())
            self.story.add(events)
            cursor = log.get("cursor")
            late = time.monotonic() >= deadline
            if status == "GONE" or (status in FINISHED and (late or not events)):
                return Outcome(run_id, status, asked_for)
            if late:
                break
            time.sleep(POLL_SECONDS)
        told = f"still {status} {CANCEL_SECONDS:.0f} s after it was asked to end"
        return Outcome(run_id, status, f"{told}. {refused}" if refused else told)

    def _insist(self, until: float) -> Callable[..., Any]:
        """A question that is waited for until then, stopped or not; silence is told of once."""
        return functools.partial(
            self.server.insist, until=until, every=TRY_SECONDS, on_silence=self._tell_silence
        )

    def _tell_silence(self) -> None:
        if not self._told_of_silence:
            self.story.tell("The webserver does not answer; trying again")
            self._told_of_silence = True

    def _retry_of(self, run_id: str) -> str | None:
        deadline = time.monotonic() + RETRY_SECONDS
        while time.monotonic() < deadline and not self._over():
            answer = self._read(run_id, None)
            retry = _tags(answer["runOrError"]).get("dagster/auto_retry_run_id") if answer else None
            if retry:
                return retry
            self.stop.wait(1.0)
        return None


def _tags(run: Mapping[str, Any]) -> dict[str, str]:
    return {tag["key"]: tag["value"] for tag in run.get("tags", [])}
