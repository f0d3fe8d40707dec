"""One partition into the warehouse, in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from fraud_mlops.errors import WarehouseError, WarehouseUnavailable
from fraud_mlops.lakehouse.partitions import Partition
from fraud_mlops.warehouse.columns import (
    COLUMNS,
    KEY,
    Content,
    ContentError,
    Rows,
    checksum,
    naive,
    whole_rows,
)
from fraud_mlops.warehouse.engine import Session, Warehouse, transaction
from fraud_mlops.warehouse.marks import OF_PARTITION, Mark, content_of, mark_of, set_mark
from fraud_mlops.warehouse.names import Tables
from fraud_mlops.words import counted

_NAMES = [column.name for column in COLUMNS]


class Overtaken(WarehouseUnavailable):
    """Another sync has written the partition meanwhile; look again."""


@dataclass(frozen=True)
class Move:
    """partition: pinned. seen: its mark when it was found to have changed; None without one."""

    warehouse: Warehouse
    partition: Partition
    sync_id: str
    seen: Mark | None

    def make(self, session: Session, rows: Rows) -> int:
        """Returns how many rows are gone.

        Raises Overtaken when the mark is no longer the one that was seen, and ContentError
        when what came out is not what went in. Nothing has changed then.
        """
        tables, partition = self.warehouse.tables, self.partition
        self._stage(session, rows)
        with transaction(session):
            take_turn(session, self.warehouse, self.sync_id)
            _require_seen(session, tables, partition.dataset, partition.value, self.seen)
            gone = self._replace(session, rows)
            mark = Mark(partition.data_version, len(rows.content), rows.checksum, self.sync_id)
            set_mark(
                session, tables, partition.dataset, partition.value, mark,
                naive(datetime.now(UTC)),
            )  # fmt: skip
        return gone

    def _replace(self, session: Session, rows: Rows) -> int:
        """Staged rows in the place of those that are there; returns how many are gone."""
        tables, whose = self.warehouse.tables, [self.partition.dataset, self.partition.value]
        session.execute(_merge(tables.metrics, tables.stage))
        [(gone, *_)] = session.execute(
            f'DELETE FROM {tables.metrics} WHERE {OF_PARTITION} AND "SYNC_ID" IS DISTINCT FROM ?',
            [*whose, self.sync_id],
        )
        found = content_of(session, tables, *whose)
        if (surplus := len(found) - len(rows.content)) > 0:
            # Somebody has inserted rows again, for Snowflake keeps no key: MERGE changes each copy.
            session.execute(f"DELETE FROM {tables.metrics} WHERE {OF_PARTITION}", whose)
            session.execute(_merge(tables.metrics, tables.stage))
            found = content_of(session, tables, *whose)
        self._compare(found, rows)
        return int(gone) + max(surplus, 0)

    def _stage(self, session: Session, rows: Rows) -> None:
        """Before the transaction, so that others wait for the merge only."""
        tables = self.warehouse.tables
        session.execute(
            f"CREATE OR REPLACE TEMPORARY TABLE {tables.stage} AS "
            f"SELECT {_listed()} FROM {tables.metrics} WHERE 1 = 0"
        )
        whole = whole_rows(self.partition, rows, self.sync_id, datetime.now(UTC))
        session.load(tables.stage, _NAMES, whole)
        [(arrived,)] = session.execute(f"SELECT COUNT(*) FROM {tables.stage}")
        if arrived != len(whole):  # a request that was lost, or came twice
            raise WarehouseUnavailable(
                f"{self.partition.value}: {counted(arrived, 'row')} arrived of {len(whole):,}"
            )

    def _compare(self, found: Sequence[Content], rows: Rows) -> None:
        there, given = (len(found), checksum(found)), (len(rows.content), rows.checksum)
        if there != given:
            raise ContentError(
                f"{self.warehouse.address}: partition {self.partition.value} came out as "
                f"{counted(there[0], 'row')} with checksum {there[1]}, and went in as "
                f"{given[0]:,} with {given[1]}; nothing of it was kept. Has the table a masking "
                "or a row access policy?"
            )


def _listed(of: str = "") -> str:
    return ", ".join(f'{of}"{name}"' for name in _NAMES)


def _merge(table: str, stage: str) -> str:
    on = " AND ".join(f'T."{name}" = S."{name}"' for name in KEY)
    values = ", ".join(f'"{name}" = S."{name}"' for name in _NAMES if name not in KEY)
    return (
        f"MERGE INTO {table} AS T USING {stage} AS S ON {on} "
        f"WHEN MATCHED THEN UPDATE SET {values} "
        f"WHEN NOT MATCHED THEN INSERT ({_listed()}) VALUES ({_listed('S.')})"
    )


def take_turn(session: Session, warehouse: Warehouse, sync_id: str) -> None:
    """Waits until no other sync is in its transaction; the first thing in one's own."""
    lock = warehouse.tables.lock
    [(rows, *_)] = session.execute(f'UPDATE {lock} SET "SYNC_ID" = ? WHERE "ID" = 1', [sync_id])
    if rows < 1:
        raise WarehouseError(
            f"{warehouse.address}: {lock} lacks its row, by which syncs take turns; "
            f"{warehouse.mend_schema}"
        )


def _require_seen(
    session: Session, tables: Tables, dataset: str, partition: str, seen: Mark | None
) -> None:
    if mark_of(session, tables, dataset, partition) != seen:
        raise Overtaken(f"{partition}: another sync has written it meanwhile")


def drop(
    session: Session,
    warehouse: Warehouse,
    sync_id: str,
    dataset: str,
    partition: str,
    seen: Mark | None,
) -> int:
    """Rows and mark of a partition that the lakehouse has no more. Returns the rows.

    seen: its mark, read before the lakehouse was looked into. Raises Overtaken, and removes
    nothing, when it is another by now.
    """
    tables, whose = warehouse.tables, [dataset, partition]
    with transaction(session):
        take_turn(session, warehouse, sync_id)
        _require_seen(session, tables, dataset, partition, seen)
        [(rows, *_)] = session.execute(f"DELETE FROM {tables.metrics} WHERE {OF_PARTITION}", whose)
        session.execute(f"DELETE FROM {tables.sync} WHERE {OF_PARTITION}", whose)
    return int(rows)
