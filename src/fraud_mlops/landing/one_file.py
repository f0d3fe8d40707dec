"""A landed file that is new, or of which claims have come due: what it holds, and what it asks for.

One that ingest could not read is set aside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from fraud_mlops.claims.files import format_named
from fraud_mlops.claims.looking import FileClaims, file_uri, is_other_text, look_into
from fraud_mlops.contract import Contract
from fraud_mlops.errors import SourceError
from fraud_mlops.lakehouse.local_files import printable
from fraud_mlops.lakehouse.partitions import Lakehouse
from fraud_mlops.landing.aside import set_aside, take_back
from fraud_mlops.landing.listing import Landed, content_of
from fraud_mlops.landing.partitions import Partitions, due_day
from fraud_mlops.landing.seen import EVER, NONE, Looked, SeenFiles
from fraud_mlops.sources import FileSource

_SHOWN = 10


@dataclass(frozen=True)
class Found:
    """In one file. touched: partitions to ingest, and why: what asks for them. problem: of claims
    that have no partition. aside: why the file cannot be read."""

    looked: Looked
    touched: frozenset[str] = frozenset()
    why: str = ""
    problem: str | None = None
    aside: str | None = None


@dataclass(frozen=True)
class Reader:
    """Of the files of a contract. seen: what is known of them. like: a good one, which others must
    agree with. now: claims of later are of the future."""

    contract: Contract
    source: FileSource
    lakehouse: Lakehouse
    partitions: Partitions
    seen: SeenFiles
    like: str | None
    now: datetime

    def find(self, file: Landed, due: int = NONE) -> Found:
        """Partitions that a file held before it changed count too: rows may have moved.

        One that has become bad touches nothing: what is known of its claims stays as it is, until
        it is mended. due: day from which on claims of an unchanged file are not in the future any
        more; NONE for a file that is new, EVER for one that an older version looked at. That one is
        looked at as on the day when it landed: what was in the future then is due now.
        """
        uri = file_uri(self.source, file)
        if not is_table(self.source, file):
            return Found(no_claims_in(file, self.seen))
        content = content_of(uri, file)
        if due == NONE and (same := self.seen.unchanged(file, content)) is not None:
            return Found(same)
        landed = datetime.fromtimestamp(file.changed, UTC)
        now = min(self.now, landed) if due == EVER else self.now
        try:
            if is_other_text(self.contract, self.source, uri, self.like):
                return Found(no_claims_in(file, self.seen))
            claims = look_into(self.contract, uri, self.like, now=now)
        except SourceError as error:
            record = set_aside(self.lakehouse, self.contract, uri, file, str(error))
            told = f"{error} (set aside until it or the contract changes: {record})"
            return Found(no_claims_in(file, self.seen), aside=printable(told))
        take_back(self.lakehouse, self.contract.name, file.path)
        return self._found(file, claims, due, content)

    def _found(self, file: Landed, claims: FileClaims, due: int, content: int) -> Found:
        """Less partitions that there are not: a slip of the keyboard, or a date that stands for
        none, must not count in the span of what the file holds."""
        held = [value for value in claims.partitions if value in self.partitions]
        other = [value for value in claims.partitions if value not in self.partitions]
        partly = any(map(self.partitions.might_be, other))
        later = due_day(claims.next_event)
        first, last = self.partitions.days(held)
        return Found(
            Looked(file, first, last, due=later, partly=partly, content=content),
            touched=frozenset(self._asked(file, held, due, later)),
            why=repr(file) if due == NONE else f"{file!r} due {due}",
            problem=self._ingested_by_nobody(file, other) if due in (NONE, EVER) else None,
        )

    def _asked(self, file: Landed, held: Sequence[str], due: int, later: int) -> set[str]:
        """Partitions to ingest. held: those of its claims. due: as above. later: the next day."""
        before = self.partitions.between(self.seen.days(file))
        if due == NONE:
            return {*held, *before}
        if due == EVER:
            waiting = set() if later == NONE else self.partitions.since(held, later)
            return set(held) - before - waiting
        return self.partitions.since(held, due)

    def _ingested_by_nobody(self, file: Landed, values: Sequence[str]) -> str | None:
        if not values:
            return None
        shown = ", ".join(values[:_SHOWN]) + (", ..." if len(values) > _SHOWN else "")
        return (
            f"{printable(file.path)}: holds claims of {shown}: no partitions of "
            f"{self.contract.name}, so that they are not ingested. "
            f"{self.partitions.advice(values[0])}"
        )


def is_table(source: FileSource, file: Landed) -> bool:
    return (source.format or format_named(file.path)) is not None


def no_claims_in(file: Landed, seen: SeenFiles) -> Looked:
    """As it is now; what has gone on from it before is remembered."""
    return Looked(file, *(seen.days(file) or (NONE, NONE)), good=False)
