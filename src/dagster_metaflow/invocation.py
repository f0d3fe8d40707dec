"""One execution: start or find the run, follow it to its end, and tell Dagster as it goes."""

from __future__ import annotations

import atexit
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from typing import Any

from dagster import AssetExecutionContext, AssetKey, Failure, MetadataValue

from dagster_metaflow.backends.copied_log import print_lines
from dagster_metaflow.backends.protocol import LaunchError, OutOfSightError, RunState, RunStatus
from dagster_metaflow.cards import CardExporter
from dagster_metaflow.events import Published
from dagster_metaflow.failing import failure, told, whereabouts
from dagster_metaflow.following import ReportFollower
from dagster_metaflow.interrupts import held_back
from dagster_metaflow.launching import Launch, Launcher
from dagster_metaflow.ledger import LaunchRecord
from dagster_metaflow.progress import Progress
from dagster_metaflow.recording import Event, Recorder
from dagster_metaflow.selection import Selection

_LEDGER_TRIES = 5


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
        cards_url: str | None,
    ) -> None:
        self._context = context
        self._launcher = launcher
        self._recorder = Recorder(context, selection, launcher.parameters)
        self._forward_termination = forward_termination
        self._poll_seconds = poll_seconds
        self._timeout_seconds = timeout_seconds
        self._cards_url = cards_url
        self._progress = Progress(launcher.flow.steps)
        self._waiting: dict[AssetKey, Published] = {}
        self._offset = 0
        self._known: LaunchRecord | None = None
        self._let_go = False
        self._answers = True

    def stream(self) -> Iterator[Event]:
        """Materializations and check results, each as soon as the task that published the asset
        has ended well.

        Raises Failure when the run fails, is lost, takes too long, or ends without having
        published what was selected; its message says which task failed, why, and what to do.
        """
        with self._cancelled_or_detached_on_interrupt():
            try:
                with held_back():  # between a start and the note of it, nothing comes
                    launch = self._launcher.start()
                    self._known = launch.record
            except LaunchError as error:
                raise Failure(told(error)) from None
            self._tell_of(launch)
            with closing(self._exporter(launch.record)) as cards:
                yield from self._follow(cards)

    @property
    def _record(self) -> LaunchRecord:
        if self._known is None:
            raise RuntimeError("nothing has been started yet")
        return self._known

    def _exporter(self, record: LaunchRecord) -> CardExporter:
        launcher = self._launcher
        where = (record.flow, record.launch_id)
        address = "/".join([self._cards_url.rstrip("/"), *where]) if self._cards_url else None
        folder, warn = launcher.ledger.folder(*where), self._context.log.warning
        return CardExporter(launcher.flow, launcher.backend, folder, warn, address)

    def _follow(self, cards: CardExporter) -> Iterator[Event]:
        flow, launch = self._record.flow, self._record.launch_id
        follower = ReportFollower(self._launcher.ledger, flow, launch, self._poll_seconds)
        deadline = time.monotonic() + (self._timeout_seconds or float("inf"))
        while True:
            # Asked first: what was written before the end is read after it, and nothing is missed.
            status = self._poll()
            more = self._read_log()
            while status.state.ended and self._read_log():
                pass
            # Without a look nothing is settled: the log may be ahead of what was read last.
            if self._look(follower, last=status.state.ended):
                for published in self._settled(status):
                    yield from self._recorder.record(cards.linked(published), self._record)
            cards.look(self._progress.finished)
            if status.state.ended:
                break
            if time.monotonic() > deadline:
                self._take_no_longer()
            if not more:
                time.sleep(self._poll_seconds)
        left = self._close_record(status)
        cards.finish(self._progress.finished)
        if status.state is not RunState.SUCCEEDED:
            raise failure(self._record, status, self._progress, self._links, left)
        self._recorder.finish(self._record, follower.unreadable)

    def _poll(self) -> RunStatus:
        with self._in_sight():
            status = self._launcher.backend.poll(self._record.handle)
        known = self._record.with_run_id(status.run_id)
        if known is not self._record:
            self._known = known
            self._note({})
            self._tag(f"Metaflow run {known.flow}/{status.run_id}")
        return status

    def _look(self, follower: ReportFollower, *, last: bool) -> bool:
        """Whether the ledger was read now. What is waited for no longer is looked at once more; a
        ledger that does not answer for a while is asked again, at the end a few times."""
        if not (last or follower.is_due or self._reports_of_done_tasks()):
            return False
        for left in reversed(range(_LEDGER_TRIES if last else 1)):
            try:
                self._waiting |= {one.asset_key: one for one in follower.new()}
            except OSError as error:
                if last and not left:
                    raise Failure(
                        f"{self._record.flow} ended, but its reports cannot be read: {error}. "
                        "Materialize the assets again: the run's reports are taken, it is not run "
                        "again.",
                        metadata=self._where,
                    ) from None
                if self._answers:
                    self._context.log.warning(f"The ledger does not answer: {error}")
                self._answers = False
                time.sleep(self._poll_seconds)
            else:
                self._answers = True
                break
        return self._answers

    def _settled(self, status: RunStatus) -> list[Published]:
        """Reports that hold: a task that publishes and then fails is run again, by Metaflow or by
        who resumes the run, and publishes anew. A log may tell less of tasks than the run's end."""
        well = status.state is RunState.SUCCEEDED
        found = list(self._waiting.values()) if well else self._reports_of_done_tasks()
        for published in found:
            del self._waiting[published.asset_key]
        return found

    def _reports_of_done_tasks(self) -> list[Published]:
        """Of reports that wait, those whose task has ended well by the log."""
        run_id, waiting = self._record.run_id, self._waiting.values()
        return [one for one in waiting if self._progress.has_ended_well(one.run, run_id)]

    def _tell_of(self, launch: Launch) -> None:
        record = launch.record
        words = {
            "launched": f"{record.flow} launched on {record.backend}",
            "adopted": f"{record.flow}: goes on with run {record.run_id or '(not known yet)'}, "
            "which Dagster had lost sight of",
            "resumed": f"{record.flow}: resumes run {record.run_id}; finished steps are not run "
            "again",
        }
        links = self._launcher.backend.links(record.handle)
        places = "".join(f"\n{name}: {place}" for name, place in links.items())
        text = f"{words[launch.way]} (launch {record.launch_id}){places}"
        if launch.way == "adopted" and record.run_id:
            self._tag(text)
        else:
            self._context.log.info(text)

    def _tag(self, text: str) -> None:
        """Says which Metaflow run it is, in the log and on the Dagster run."""
        self._context.log.info(text)
        flow, run = self._record.flow, self._record.run_id
        tags = {f"metaflow/{flow}": f"{flow}/{run}"}
        self._context.instance.add_run_tags(self._context.run.run_id, tags)

    def _read_log(self) -> bool:
        """Metaflow's lines go to the compute log as they are; steps to the event log too. False
        when there was nothing new."""
        record = self._record
        with self._in_sight():
            lines, self._offset = self._launcher.backend.read_log(record.handle, self._offset)
            if not lines:
                return False
            print_lines(lines)
        for line in lines:
            for words in self._progress.read(line):
                self._context.log.info(f"{record.flow}: {words}")
        return True

    @contextmanager
    def _in_sight(self) -> Iterator[None]:
        """A run that cannot be seen, or a disk here that takes no log: the run is left going, and
        the next execution finds it."""
        try:
            yield
        except LaunchError as error:
            raise Failure(told(error), metadata=self._where) from None
        except OSError as error:
            words = f"{self._record.flow} goes on, and cannot be followed from here: {error}."
            raise Failure(told(OutOfSightError(words)), metadata=self._where) from None

    @contextmanager
    def _cancelled_or_detached_on_interrupt(self) -> Iterator[None]:
        """A terminated Dagster run takes the Metaflow run with it, or leaves it to the next one."""
        # Dagster may be interrupted between two events; then Python closes what goes on here at
        # last when it takes itself down, and modules are gone that are needed.
        atexit.register(self._cancel_or_detach)
        try:
            yield
        except Failure:
            raise
        except BaseException:  # interrupts and closed generators too
            with held_back():  # a second interrupt would leave processes behind
                self._cancel_or_detach()
            raise
        finally:
            atexit.unregister(self._cancel_or_detach)

    def _cancel_or_detach(self) -> None:
        """Ending comes first, and whatever Dagster may not be able to do any more after it."""
        if self._known is None or self._let_go:
            return
        self._let_go = True
        if not self._forward_termination:
            self._note({"outcome": "detached"})
            words = "left going on; the next execution of these assets adopts it"
        else:
            try:
                self._launcher.backend.cancel(self._record.handle)
                self._note({"outcome": RunState.CANCELLED.value})
                words = "run ended, as this one is being ended"
            except LaunchError as error:
                words = f"the run could not be ended: {error}"
        with suppress(Exception):
            self._context.log.info(f"{self._record.flow}: {words}")
            self._tell_of_waiting()

    def _take_no_longer(self) -> None:
        late = f"{self._record.flow} took longer than timeout_seconds = {self._timeout_seconds:g}"
        if (refused := self._cancel()) is None:
            self._note({"outcome": RunState.CANCELLED.value})
            words = "and was ended. Re-execute from failure to resume it, or give it more time."
        else:  # its record stays open, by which it is found
            words = f"and could not be ended: {refused} Re-executing finds it, if it still goes on."
        self._tell_of_waiting()
        raise Failure(f"{late} {words}", metadata=self._where)

    def _cancel(self) -> str | None:
        """Why it could not be done, if so."""
        try:
            self._launcher.backend.cancel(self._record.handle)
        except LaunchError as error:
            return str(error)
        return None

    def _close_record(self, status: RunStatus) -> str | None:
        """Why what a run that failed or was lost has left going could not be ended, if so."""
        if status.state is not RunState.SUCCEEDED:
            if (left := self._cancel()) is None:  # else its record stays open, by which it is found
                self._note({"outcome": status.state.value})
            self._tell_of_waiting()
            return left
        self._note({"outcome": "succeeded"})
        with suppress(OSError):
            self._launcher.ledger.settle(self._record)
        return None

    def _tell_of_waiting(self) -> None:
        for key, published in self._waiting.items():
            words = f"{key.to_user_string()} was published by {published.run}, of which no good end"
            self._context.log.warning(f"{words} was seen: it is recorded when the run is resumed.")

    def _note(self, update: dict[str, Any]) -> None:
        """A run that goes well is not ended for a note that cannot be written."""
        self._known = self._record.model_copy(update=update)
        try:
            self._launcher.ledger.write(self._known)
        except OSError as error:
            with suppress(Exception):
                self._context.log.warning(f"The record of the launch cannot be written: {error}")

    @property
    def _where(self) -> dict[str, MetadataValue]:
        return whereabouts(self._record, self._links)

    @property
    def _links(self) -> Mapping[str, str]:
        return self._launcher.backend.links(self._record.handle)
