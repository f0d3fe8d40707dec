"""A look at the landing zone: what has arrived, and which partitions are to be ingested for it.

The zone is listed once. Files that are not known are read for their event times. Claims of the
future, which an ingest has to refuse, are asked for at the beginning of the first day (UTC) when
they have happened. The cursor names a record on the lakehouse (`seen`), which is found again after
any restart, and what bad files and claims of no partition were judged by: when that has changed,
those files are looked at again. One that is touched, and has the same content, asks for nothing.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from fraud_mlops.claims.looking import file_uri, usual_file
from fraud_mlops.contract import Contract
from fraud_mlops.lakehouse.local_files import printable
from fraud_mlops.lakehouse.partitions import Lakehouse
from fraud_mlops.lakehouse.stores import is_local
from fraud_mlops.landing.aside import asked_again, judged_by
from fraud_mlops.landing.cursor import Cursor
from fraud_mlops.landing.listing import Landed, landed_files
from fraud_mlops.landing.one_file import Found, Reader, is_table, no_claims_in
from fraud_mlops.landing.partitions import Partitions, today
from fraud_mlops.landing.seen import EVER, NONE, SeenFiles
from fraud_mlops.sources import FileSource

SAMPLED = 25
"""Files of the first look that tell which columns are the usual ones."""
_SHOWN = 10


@dataclass(frozen=True)
class Seconds:
    """settle: a file of this machine that changed more recently may still be being written; object
    stores show whole objects only. listing: time limit of a remote store. reading: time for files,
    after which the rest is left to the next look. together: time for listing and reading."""

    settle: float
    listing: float
    reading: float
    together: float


@dataclass(frozen=True)
class Arrivals:
    """cursor: for the next look. touched: partitions to ingest, each with what asks for it. aside:
    files that this look has set aside, each with the reason. problems: for whoever reads the log.
    files: all that were listed. looked: how many were looked at. unsettled: how many may still be
    being written."""

    cursor: str | None
    touched: Mapping[str, frozenset[str]]
    aside: Mapping[str, str]
    problems: tuple[str, ...]
    files: tuple[Landed, ...]
    looked: int
    unsettled: int

    @property
    def nothing(self) -> str:
        """Why no partition is to be ingested."""
        if self.looked:
            return f"{self.looked} files looked at; none has claims to ingest."
        waiting = f"; {self.unsettled} may still be being written" if self.unsettled else ""
        return f"No new file among {len(self.files):,}{waiting}."


def look(
    contract: Contract,
    lakehouse: Lakehouse,
    cursor: str | None,
    *,
    partitions: Partitions,
    seconds: Seconds,
    now: datetime,
) -> Arrivals:
    """cursor: of the look before. One that is repeated with the same cursor, after a crash, finds
    the same; what it has written by then (records of files seen and set aside) is written again.

    Raises SourceError for a landing zone that cannot be listed, LakehouseError for a record that
    the cursor names and that is gone.
    """
    began, source = time.monotonic(), _files_of(contract)
    closed: list[Landed] = []
    files = landed_files(source, closed, seconds=seconds.listing)
    before = Cursor.parse(cursor)
    seen = SeenFiles.read(lakehouse, contract.name, before.record)
    # Asked before files are read: who asks again meanwhile is heard by the next look.
    again = asked_again(lakehouse, contract.name)
    bad, partly = _judges(contract, partitions, seen.first_good(files), again)
    seen = seen.judged_anew(bad=before.bad != bad, partly=before.partly != partly)

    newly_closed, fresh = seen.fresh(closed), seen.fresh(files)
    settled = _settled(source, fresh, seconds.settle)
    like = _usual(contract, source, seen, files, settled)
    reader = Reader(contract, source, lakehouse, partitions, seen, like, now)
    wanted = {**dict.fromkeys(settled, NONE), **seen.due(files, today(now))}
    until = min(time.monotonic() + seconds.reading, began + seconds.together)
    found = _read(reader, wanted, until)

    looked = [no_claims_in(file, seen) for file in newly_closed] + [each.looked for each in found]
    if looked:
        seen = seen.after(looked, [*files, *closed])
        # The record that the cursor of before names stays, to go back to.
        record = seen.write(lakehouse, contract.name, keep=before.record)
        judges = _judges(contract, partitions, seen.first_good(files), again)
        cursor = str(Cursor(record, *judges))
    told = [_told_of_closed(newly_closed), *(each.problem for each in found)]
    return Arrivals(
        cursor=cursor,
        touched=_touched(found),
        aside={
            printable(file_uri(source, each.looked.file)): each.aside
            for each in found
            if each.aside is not None
        },
        problems=tuple(problem for problem in told if problem is not None),
        files=tuple(files),
        looked=len(looked),
        unsettled=len(fresh) - len(settled),
    )


def _files_of(contract: Contract) -> FileSource:
    if not isinstance(contract.source, FileSource):
        raise TypeError(f"{contract.name} is generated; nothing lands")
    return contract.source


def _judges(
    contract: Contract, partitions: Partitions, usual: Landed | None, again: str
) -> tuple[str, str]:
    """Digests of what decides whether a file is bad (contract, the file it is compared with, a
    person's request to look again), and whether a claim has a partition (contract, the first
    partition). A file is looked at again when either has changed."""
    judge = judged_by(contract)
    return _digest(judge, repr(usual), again), _digest(judge, partitions.first)


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _settled(source: FileSource, files: list[Landed], seconds: float) -> list[Landed]:
    if not is_local(source.uri):
        return files
    latest = time.time() - seconds
    return [file for file in files if file.changed <= latest]


def _usual(
    contract: Contract,
    source: FileSource,
    seen: SeenFiles,
    files: Sequence[Landed],
    fresh: Sequence[Landed],
) -> str | None:
    """A good file to compare with: one source has one set of columns."""
    changing = {file.path for file in fresh}
    good = seen.first_good(file for file in files if file.path not in changing)
    if good is not None:
        return file_uri(source, good)
    uris = [file_uri(source, file) for file in fresh if is_table(source, file)]
    return usual_file(contract, uris[:SAMPLED])


def _read(reader: Reader, wanted: Mapping[Landed, int], until: float) -> list[Found]:
    """wanted: with the day they are due. What an older version looked at waits until all else is
    done."""
    found = []
    for file in sorted(wanted, key=lambda file: (wanted[file] == EVER, file.changed)):
        found.append(reader.find(file, wanted[file]))
        if time.monotonic() > until:
            break
    return found


def _touched(found: Iterable[Found]) -> dict[str, frozenset[str]]:
    touched: dict[str, set[str]] = {}
    for each in found:
        for value in each.touched:
            touched.setdefault(value, set()).add(each.why)
    return {value: frozenset(touched[value]) for value in sorted(touched)}


def _told_of_closed(places: Sequence[Landed]) -> str | None:
    """In one line, and once for each place: it is then seen like a file without claims."""
    if not places:
        return None
    shown = ", ".join(printable(place.path) for place in places[:_SHOWN])
    more = f" and {len(places) - _SHOWN} more" if len(places) > _SHOWN else ""
    return (
        f"{shown}{more}: may not be read, and passed over. If claims land there, give the "
        "sensor's user the right to read them; else nothing is amiss."
    )
