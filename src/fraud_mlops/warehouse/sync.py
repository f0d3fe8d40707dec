"""Changed partitions of the metrics zone go into the warehouse, each exactly once.

A partition is one transaction: rows that are new or changed are merged in, those that are gone are
deleted, and the watermark says which content is there now. Whoever is killed leaves it as it was
before, or after. Two syncs take turns by a row that each transaction updates first, and the later
one looks again at what there is before it writes, so that old content never replaces new.
"""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from fraud_mlops.errors import LakehouseError, StoreError, WarehouseError, WarehouseUnavailable
from fraud_mlops.lakehouse.partitions import Lakehouse, Partition
from fraud_mlops.lakehouse.stores import list_children
from fraud_mlops.settings import settings
from fraud_mlops.warehouse.columns import ContentError, period_of, rows_of
from fraud_mlops.warehouse.columns_drift import check_columns
from fraud_mlops.warehouse.engine import Held, Say, Session, Warehouse, quiet
from fraud_mlops.warehouse.marks import Mark, datasets_of, days_of, marks_of
from fraud_mlops.warehouse.moving import Move, Overtaken, drop
from fraud_mlops.warehouse.views import told_of_views
from fraud_mlops.warehouse.zone import ZONE, metrics_of
from fraud_mlops.words import counted

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 20.0
_SHOWN = 10
_NO_METRICS = "there are no metrics of it; score it first"


@dataclass(frozen=True)
class Synced:
    """What became of a partition. moved: it was written. checksum: of what the table holds.

    deleted: rows that the partition had before and has no more. not_finite: values that are NULL.
    """

    partition: str
    data_version: str
    rows: int
    checksum: str
    moved: bool
    deleted: int = 0
    not_finite: int = 0


@dataclass(frozen=True)
class SyncResult:
    """partitions: all that were looked at and are there, in order. gone: those of the warehouse
    that the lakehouse has no more; pruned: those of them that were removed. extra_columns: of the
    table. datasets: all that the table holds. views: what a person should know of them, if
    anything."""

    engine: str
    address: str
    table_name: str
    dataset: str
    partitions: tuple[Synced, ...]
    gone: tuple[str, ...]
    pruned: tuple[str, ...]
    extra_columns: tuple[str, ...]
    datasets: tuple[str, ...]
    views: str | None

    @property
    def rows_moved(self) -> int:
        return sum(p.rows for p in self.partitions if p.moved)

    @property
    def rows_skipped(self) -> int:
        return sum(p.rows for p in self.partitions if not p.moved)


def _named(values: Sequence[str]) -> str:
    """The first few of them."""
    return ", ".join(values[:_SHOWN]) + (" ..." if len(values) > _SHOWN else "")


class PartitionsError(WarehouseError):
    """Partitions that could not be moved, each with the reason; all others were.

    done: what became of the others.
    """

    def __init__(self, done: SyncResult, failures: Mapping[str, str]) -> None:
        self.done, self.failures = done, dict(sorted(failures.items()))
        alike: dict[str, list[str]] = {}
        for value, why in self.failures.items():
            alike.setdefault(why, []).append(value)
        listed = "".join(f"\n  {_named(values)}: {why}" for why, values in alike.items())
        super().__init__(
            f"{done.dataset}: {len(failures)} of {len(failures) + len(done.partitions)} partitions "
            f"could not be moved, and all others are there:{listed}"
        )


def sync(
    lakehouse: Lakehouse,
    warehouse: Warehouse,
    dataset: str,
    *,
    partitions: Collection[str] | None = None,
    force: bool = False,
    prune: bool = False,
    say: Say = quiet,
) -> SyncResult:
    """Moves what has changed since it was moved last.

    partitions: values; all that the zone has when left out. force: also what has not changed.
    prune: removes partitions from the warehouse that the zone has no more, be it all of them; with
    partitions, of those. say: is told of each partition that was moved, and of each pause.

    Raises LakehouseError where there is none of the partitions, or for a store out of reach;
    PartitionsError, when all others are moved, for those that are damaged, hold what no warehouse
    takes, or were asked for and are not there; WarehouseError for what a person has to mend there;
    Held when another process keeps a DuckDB file open; and WarehouseUnavailable when the warehouse
    stays out of reach: after FRAUD_STORE_RETRIES more tries without any progress between them.
    Partitions that were moved before an error stay; the next sync goes on after them.
    """
    tries = settings().store_retries + 1
    run = _Run(lakehouse, warehouse, dataset, partitions, force, prune, say)
    failed = 0
    while True:
        before = run.progress
        try:
            with warehouse.session(say) as session:
                return run.all(session)
        except Held:
            raise
        except WarehouseUnavailable as error:
            failed = 1 if run.progress > before else failed + 1
            if failed == tries:
                raise WarehouseUnavailable(
                    f"{error}\nTried {tries} times (FRAUD_STORE_RETRIES). What was moved stays; "
                    "run the sync again."
                ) from None
            pause = min(_FIRST_PAUSE * 2 ** (failed - 1), _LONGEST_PAUSE)
            pause *= random.uniform(0.5, 1.0)  # noqa: S311 - two syncs are not to meet again
            say(f"{error}\nTrying again in {pause:.1f} s.")
            time.sleep(pause)


@dataclass
class _Run:
    """One sync; what is done stays done when a session is lost."""

    lakehouse: Lakehouse
    warehouse: Warehouse
    dataset: str
    asked: Collection[str] | None
    force: bool
    prune: bool
    say: Say
    sync_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    done: dict[str, Synced] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    dropped: set[str] = field(default_factory=set)

    @property
    def progress(self) -> int:
        return len(self.done) + len(self.dropped)

    def all(self, session: Session) -> SyncResult:
        extra = check_columns(session, self.warehouse)
        # Before the listing: what another sync writes after it is not taken for gone.
        marks = marks_of(session, self.warehouse.tables, self.dataset)
        there, damaged = metrics_of(self.lakehouse, self.dataset)
        found = {*there, *damaged}
        gone = sorted(({*marks} | self.dropped) - found)
        removed = [v for v in gone if self.prune and (self.asked is None or v in self.asked)]
        chosen = self._chosen(found, gone, removed)
        self.failed = {v: str(damaged.get(v, _NO_METRICS)) for v in chosen if v not in there}
        if not found:
            self._require_lakehouse(removed)
        for value in removed:
            if value in marks:  # else its end was not heard, before the session was lost
                self._drop(session, value, marks[value])
        left = [value for value in gone if value not in removed]
        apart = self._apart(session, [there[v] for v in chosen if v in there], left)
        for partition in apart:
            if partition.value not in self.done:
                self._try(session, partition, marks.get(partition.value))
        done = SyncResult(
            self.warehouse.engine,
            self.warehouse.address,
            self.warehouse.table_name,
            self.dataset,
            partitions=tuple(self.done[value] for value in chosen if value in self.done),
            gone=tuple(gone),
            pruned=tuple(removed),
            extra_columns=extra,
            datasets=tuple(datasets_of(session, self.warehouse.tables)),
            views=told_of_views(session, self.warehouse),
        )
        if self.failed:
            raise PartitionsError(done, self.failed)
        return done

    def _apart(
        self, session: Session, partitions: Sequence[Partition], left: Sequence[str]
    ) -> list[Partition]:
        """Those that share no day with rows of which the lakehouse has no more, and that stay."""
        days = days_of(session, self.warehouse.tables, self.dataset) if left else {}
        apart = []
        for partition in partitions:
            _, start, end = period_of(partition)
            shared = [v for v in left if v in days and days[v][0] < end and start < days[v][1]]
            if shared:
                self.failed[partition.value] = (
                    f"shares days with {_named(shared)}, of which the lakehouse has no more, and a "
                    "dashboard would sum both: sync with --prune, which removes that"
                )
            else:
                apart.append(partition)
        return apart

    def _require_lakehouse(self, removed: Collection[str]) -> None:
        if removed and not list_children(self.lakehouse.root):
            raise LakehouseError(
                f"{self.lakehouse.root}: there is no lakehouse, so nothing of {self.dataset} was "
                "removed from the warehouse; correct LAKEHOUSE_URI, or --output-uri"
            )

    def _drop(self, session: Session, value: str, seen: Mark | None) -> None:
        self.dropped.add(value)
        rows = drop(session, self.warehouse, self.sync_id, self.dataset, value, seen)
        self.say(f"{value}: {counted(rows, 'row')} removed, since the lakehouse has it no more")

    def _chosen(
        self, there: Collection[str], gone: Collection[str], removed: Collection[str]
    ) -> list[str]:
        chosen = sorted(there if self.asked is None else {*self.asked} - {*removed})
        none_of_them = self.asked is not None and not ({*chosen} & {*there} or removed)
        if none_of_them or not (there or gone):
            asked = f" of {counted(len(chosen), 'partition')} asked for ({_named(chosen)})"
            raise LakehouseError(
                f"{self.lakehouse.uri(ZONE, self.dataset)}: there are no metrics"
                + (asked if chosen else "")
                + "; score them first"
            )
        return chosen

    def _try(self, session: Session, partition: Partition, seen: Mark | None) -> None:
        """What is wrong with this partition alone does not keep others from being moved."""
        try:
            self.done[partition.value] = self._one(session, partition, seen)
        except StoreError:
            raise
        except (LakehouseError, ContentError) as error:
            self.failed[partition.value] = str(error)
            self.say(f"{partition.value}: {error}")

    def _one(self, session: Session, partition: Partition, seen: Mark | None) -> Synced:
        ours = seen is not None and seen.sync_id == self.sync_id  # before the session was lost
        if seen and seen.data_version == partition.data_version and (ours or not self.force):
            return Synced(partition.value, seen.data_version, seen.rows, seen.checksum, moved=ours)
        rows = rows_of(partition, self._read(partition))
        move = Move(self.warehouse, partition, self.sync_id, seen)
        deleted = move.make(session, rows)
        self.say(f"{partition.value}: {counted(len(rows.content), 'row')}")
        return Synced(
            partition.value, partition.data_version, len(rows.content), rows.checksum,
            moved=True, deleted=deleted, not_finite=rows.not_finite,
        )  # fmt: skip

    def _read(self, partition: Partition) -> pa.Table:
        try:
            return self.lakehouse.read_verified(partition)
        except LakehouseError:
            now = self.lakehouse.partition(ZONE, self.dataset, partition.key, partition.value)
            if now.data_version == partition.data_version:
                raise
            raise Overtaken(f"{partition.uri}: was written anew while it was read") from None
