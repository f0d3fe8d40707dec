"""New files in the landing zone: which partitions they touch, and a run that ingests those.

A tick lists the landing zone once. Files that it does not know are read for their event times; the
run requests carry what was asked for in their run key, so that a tick which is repeated after a
crash launches nothing twice. Claims of the future, which an ingest has to refuse, are asked for at
the beginning of the first day (UTC) when they have happened. The cursor names a record on the
lakehouse (`landing.seen`), which is written before and found again after any restart, and what
bad files and claims of no partition were judged by: when that has changed, those files are looked
at again. One that is touched, and has the same content, asks for nothing. Of ticks that fail people
are told (`landing_failing`).
"""

# No `from __future__ import annotations`: Dagster reads the types of context and resources.

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property

import dagster as dg

from fraud_assets.alerts import raise_alert
from fraud_assets.assets.landing import seen_in_passing
from fraud_assets.dataset import Dataset
from fraud_assets.jobs import INGEST
from fraud_assets.run_requests import run_request, runs_of_partitions
from fraud_assets.sensors.landing_failing import failed, unmarked, went_well
from fraud_assets.sensors.landing_partitions import Partitions, due_day, today
from fraud_assets.stores import Stores
from fraud_mlops.claims.files import format_named
from fraud_mlops.claims.looking import FileClaims, file_uri, look_into, usual_file
from fraud_mlops.contract import FileSource
from fraud_mlops.errors import FraudMlopsError, SourceError
from fraud_mlops.lakehouse.local_files import printable
from fraud_mlops.lakehouse.partitions import Lakehouse
from fraud_mlops.lakehouse.ranges import PartitionRange
from fraud_mlops.lakehouse.stores import is_local
from fraud_mlops.landing.aside import asked_again, judged_by, set_aside, take_back
from fraud_mlops.landing.listing import Landed, content_of, landed_files
from fraud_mlops.landing.seen import EVER, NONE, Looked, SeenFiles

SETTLE_SECONDS = 30.0
"""A file of this machine that changed more recently may still be being written. Object stores
show whole objects only."""
LIST_SECONDS = 35.0
"""Time in which a store has to list the landing zone. Its client tries for minutes, and Dagster
gives a tick one, in which people are told, too, that it did not."""
TICK_SECONDS = 20.0
"""Time for reading files in one tick; the next tick goes on with the rest."""
_LISTED_AND_READ = 50.0
SAMPLED = 25
"""Files of the first tick that tell which columns are the usual ones."""
_INTERVAL_SECONDS = 30
_SHOWN = 10


def landing_sensor(dataset: Dataset) -> dg.SensorDefinition:
    """Off until somebody switches it on: it launches runs."""

    @dg.sensor(
        name=dataset.titled("landing_sensor"),
        job_name=dataset.titled(INGEST),
        minimum_interval_seconds=_INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description="Ingests the partitions that new or changed files touch, and those of claims "
        "that were in the future when their file landed. A bad file is set aside and reported, and "
        "the others go on. A file that is gone changes nothing.",
    )
    def sensor(context: dg.SensorEvaluationContext, stores: Stores) -> dg.SensorResult:
        tick = Tick(dataset, stores.lakehouse, unmarked(context.cursor))
        try:
            tick.look()
            for line in tick.problems:
                context.log.error(line)
            if tick.aside:
                raise_alert(stores.lakehouse, *tick.alert(), context.log)
            after = tick.remember()
        except (FraudMlopsError, OSError) as error:  # all of it is done again by the next tick
            cursor = failed(dataset, context.cursor, error, context.log)
            return dg.SensorResult(skip_reason=str(error), cursor=cursor)
        requests = tick.requests()
        return dg.SensorResult(
            run_requests=requests,
            skip_reason=None if requests else tick.summary(),
            cursor=went_well(dataset, context.cursor, after, context.log),
            asset_events=[seen_in_passing(dataset, tick.files)] if tick.looked else [],
        )

    return sensor


@dataclass
class Tick:
    """One look at the landing zone. cursor: name of the record of files seen so far, and of what
    they were judged by, as `name@bad@partly`. touched: partitions to ingest, with what asks."""

    dataset: Dataset
    lakehouse: Lakehouse
    cursor: str | None
    files: list[Landed] = field(default_factory=list)
    closed: list[Landed] = field(default_factory=list)
    looked: list[Looked] = field(default_factory=list)
    touched: dict[str, list[str]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    aside: dict[str, str] = field(default_factory=dict)
    unsettled: int = 0
    like: str | None = None
    again: str = ""
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def source(self) -> FileSource:
        source = self.dataset.contract.source
        if not isinstance(source, FileSource):
            raise TypeError(f"{self.dataset.name} is generated; nothing lands")
        return source

    def look(self) -> None:
        """Raises SourceError for a landing zone that cannot be listed, LakehouseError for a
        record that the cursor names and that is gone."""
        began = time.monotonic()
        self.files = landed_files(self.source, self.closed, seconds=LIST_SECONDS)
        name, *judges = (self.cursor or "").split("@")
        self.seen = SeenFiles.read(self.lakehouse, self.dataset.name, name or None)
        # Asked before files are read: who asks again meanwhile is heard by the next tick.
        self.again = asked_again(self.lakehouse, self.dataset.name)
        bad, partly = self._judges(self.seen)
        self.seen = self.seen.judged_anew(bad=judges[:1] != [bad], partly=judges[1:] != [partly])
        self._tell_closed()
        fresh = self._settled(self.seen.fresh(self.files))
        due = self.seen.due(self.files, today(self.now))
        self.like = self._usual(fresh)
        until = min(time.monotonic() + TICK_SECONDS, began + _LISTED_AND_READ)
        wanted = {**dict.fromkeys(fresh, NONE), **due}
        # What an older version looked at waits until all else is done.
        for file in sorted(wanted, key=lambda file: (wanted[file] == EVER, file.changed)):
            self.looked.append(self._look_into(file, wanted[file]))
            if time.monotonic() > until:
                break

    def remember(self) -> str | None:
        """The cursor from now on. The record that the old one names stays, to go back to."""
        if not self.looked:
            return self.cursor
        seen = self.seen.after(self.looked, [*self.files, *self.closed])
        before = (self.cursor or "").partition("@")[0]
        name = seen.write(self.lakehouse, self.dataset.name, keep=before or None)
        return "@".join([name, *self._judges(seen)])

    def requests(self) -> list[dg.RunRequest]:
        """A run for each stretch of partitions that were touched."""
        return [
            run_request(self.dataset, INGEST, part, key=self._key(part))
            for part in runs_of_partitions(self.dataset, set(self.touched))
        ]

    def alert(self) -> tuple[str, str, dict[str, str]]:
        """Name, title and facts: one alert for all files that this tick has set aside."""
        name = hashlib.sha256("\n".join(self.aside).encode()).hexdigest()[:12]
        facts = dict(list(self.aside.items())[:_SHOWN])
        if len(self.aside) > _SHOWN:
            facts["more"] = f"{len(self.aside) - _SHOWN} files, with a record each beside these"
        title = f"{self.dataset.name}: {len(self.aside)} landed files cannot be read"
        return f"landing-{self.dataset.name}-{name}", title, facts

    def summary(self) -> str:
        if self.looked:
            return f"{len(self.looked)} files looked at; none has claims to ingest."
        waiting = f"; {self.unsettled} may still be being written" if self.unsettled else ""
        return f"No new file among {len(self.files):,}{waiting}."

    def _key(self, part: PartitionRange) -> str:
        asking = sorted({why for value in part.values() for why in self.touched[value]})
        return "\n".join([part.first, part.last, *asking])

    def _settled(self, files: Sequence[Landed]) -> list[Landed]:
        if not is_local(self.source.uri):
            return list(files)
        latest = time.time() - SETTLE_SECONDS
        settled = [file for file in files if file.changed <= latest]
        self.unsettled = len(files) - len(settled)
        return settled

    def _tell_closed(self) -> None:
        """In one line, and once for each place: it is then seen like a file without claims."""
        closed = self.seen.fresh(self.closed)
        self.looked += map(self._no_claims_in, closed)
        if closed:
            shown = ", ".join(printable(place.path) for place in closed[:_SHOWN])
            more = f" and {len(closed) - _SHOWN} more" if len(closed) > _SHOWN else ""
            self.problems.append(
                f"{shown}{more}: may not be read, and passed over. If claims land there, give the "
                "sensor's user the right to read them; else nothing is amiss."
            )

    def _look_into(self, file: Landed, due: int = NONE) -> Looked:
        """Partitions that a file held before it changed count too: rows may have moved.

        One that has become bad touches nothing: what is known of its claims stays as it is, until
        it is mended. due: day from which on claims of an unchanged file are not in the future any
        more; NONE for a file that is new, EVER for one that an older version looked at. That one is
        looked at as on the day when it landed: what was in the future then is due now.
        """
        contract, uri = self.dataset.contract, file_uri(self.source, file)
        if not self._is_table(file):
            return self._no_claims_in(file)
        content = content_of(uri, file)
        if due == NONE and (same := self.seen.unchanged(file, content)) is not None:
            return same
        landed = datetime.fromtimestamp(file.changed, UTC)
        try:
            claims = look_into(
                contract, uri, self.like, now=min(self.now, landed) if due == EVER else self.now
            )
        except SourceError as error:
            record = set_aside(self.lakehouse, contract, uri, file, str(error))
            told = f"{error} (set aside until it or the contract changes: {record})"
            self.aside[printable(uri)] = printable(told)
            return self._no_claims_in(file)
        take_back(self.lakehouse, contract.name, file.path)
        held, partly = self._ingestible(file, claims, told=due in (NONE, EVER))
        later = due_day(claims.next_event)
        for value in sorted(self._asked(file, held, due, later)):
            why = repr(file) if due == NONE else f"{file!r} due {due}"
            self.touched.setdefault(value, []).append(why)
        first, last = self._partitions.days(held)
        return Looked(file, first, last, due=later, partly=partly, content=content)

    def _asked(self, file: Landed, held: Sequence[str], due: int, later: int) -> set[str]:
        """Partitions to ingest. held: those of its claims. due: as above. later: the next day."""
        before = self._partitions.between(self.seen.days(file))
        if due == NONE:
            return {*held, *before}
        if due == EVER:
            waiting = set() if later == NONE else self._partitions.since(held, later)
            return set(held) - before - waiting
        return self._partitions.since(held, due)

    def _no_claims_in(self, file: Landed) -> Looked:
        """As it is now; what has gone on from it before is remembered."""
        return Looked(file, *(self.seen.days(file) or (NONE, NONE)), good=False)

    @cached_property
    def _partitions(self) -> Partitions:
        return Partitions(self.dataset, self.now)

    def _usual(self, fresh: Sequence[Landed]) -> str | None:
        """A good file to compare with: one source has one set of columns."""
        changing = {file.path for file in fresh}
        good = self.seen.first_good(file for file in self.files if file.path not in changing)
        if good is not None:
            return file_uri(self.source, good)
        uris = [file_uri(self.source, file) for file in fresh if self._is_table(file)]
        return usual_file(self.dataset.contract, uris[:SAMPLED])

    def _judges(self, seen: SeenFiles) -> tuple[str, str]:
        """Digests of what decides whether a file is bad (contract, the file it is compared with, a
        person's request to look again), and whether a claim has a partition (contract, the first
        partition). A file is looked at again when either has changed."""
        contract = judged_by(self.dataset.contract)
        bad = [contract, repr(seen.first_good(self.files)), self.again]
        return _digest(*bad), _digest(contract, self._partitions.first)

    def _is_table(self, file: Landed) -> bool:
        return (self.source.format or format_named(file.path)) is not None

    def _ingestible(
        self, file: Landed, claims: FileClaims, *, told: bool
    ) -> tuple[list[str], bool]:
        """Partitions of a file's claims, less those that there are not: a slip of the keyboard,
        or a date that stands for none, must not count in the span of what the file holds. And
        whether another contract might have those."""
        held = [value for value in claims.partitions if value in self._partitions]
        other = [value for value in claims.partitions if value not in self._partitions]
        if other and told:
            self.problems.append(
                f"{printable(file.path)}: holds claims of {_listed(other)}: no partitions of "
                f"{self.dataset.name}, so that they are not ingested. "
                f"{self._partitions.advice(other[0])}"
            )
        return held, any(map(self._partitions.might_be, other))


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _listed(values: Sequence[str]) -> str:
    return ", ".join(values[:_SHOWN]) + (", ..." if len(values) > _SHOWN else "")
