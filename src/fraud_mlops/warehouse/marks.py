"""What the warehouse holds: content of a partition, and the watermark that says which it is."""

from __future__ import annotations

from datetime import date
from typing import NamedTuple

from fraud_mlops.warehouse.columns import KEY, VALUES, Content
from fraud_mlops.warehouse.engine import Session
from fraud_mlops.warehouse.names import Tables

CONTENT = ", ".join(f'"{name}"' for name in (*KEY, *VALUES))
OF_PARTITION = '"DATASET" = ? AND "PARTITION_KEY" = ?'


class Mark(NamedTuple):
    """The content of a partition that a sync has written."""

    data_version: str
    rows: int
    checksum: str
    sync_id: str


def datasets_of(session: Session, tables: Tables) -> list[str]:
    """All that the table holds, or a sync has found to be empty."""
    both = " UNION ".join(
        f'SELECT "DATASET" FROM {table} WHERE "DATASET" IS NOT NULL'
        for table in (tables.sync, tables.metrics)
    )
    return sorted(name for (name,) in session.execute(both))


_MARK = '"DATA_VERSION", "ROW_COUNT", "CHECKSUM", "SYNC_ID"'
_ORDER = f'"PARTITION_KEY", "SYNCED_AT", {_MARK}'
"""The last one counts, where somebody has inserted another: Snowflake keeps no key."""


def marks_of(session: Session, tables: Tables, dataset: str) -> dict[str, Mark | None]:
    """By partition; None for rows whose mark was lost."""
    rows = session.execute(
        f'SELECT DISTINCT "PARTITION_KEY" FROM {tables.metrics} WHERE "DATASET" = ? '
        'AND "PARTITION_KEY" IS NOT NULL',
        [dataset],
    )
    found = session.execute(
        f'SELECT "PARTITION_KEY", {_MARK} FROM {tables.sync} WHERE "DATASET" = ? ORDER BY {_ORDER}',
        [dataset],
    )
    marks = {partition: _mark(*values) for partition, *values in found}
    return dict.fromkeys((partition for (partition,) in rows), None) | marks


def days_of(session: Session, tables: Tables, dataset: str) -> dict[str, tuple[date, date]]:
    """First day of each partition's rows, and the first after them."""
    found = session.execute(
        'SELECT "PARTITION_KEY", MIN("PERIOD_START"), MAX("PERIOD_END") '
        f'FROM {tables.metrics} WHERE "DATASET" = ? GROUP BY "PARTITION_KEY"',
        [dataset],
    )
    return {partition: (start, end) for partition, start, end in found if start and end}


def mark_of(session: Session, tables: Tables, dataset: str, partition: str) -> Mark | None:
    """Of one partition; None when no sync has written it."""
    found = session.execute(
        f"SELECT {_MARK} FROM {tables.sync} WHERE {OF_PARTITION} ORDER BY {_ORDER}",
        [dataset, partition],
    )
    return _mark(*found[-1]) if found else None


def _mark(version: str | None, rows: int | None, checksum: str | None, sync_id: str | None) -> Mark:
    """None: of a column that was lost, and added anew; such a mark names no content."""
    return Mark(version or "", int(rows or 0), checksum or "", sync_id or "")


def content_of(session: Session, tables: Tables, dataset: str, partition: str) -> list[Content]:
    """Rows of a partition as they are in the table."""
    return session.execute(
        f"SELECT {CONTENT} FROM {tables.metrics} WHERE {OF_PARTITION}", [dataset, partition]
    )


def set_mark(
    session: Session, tables: Tables, dataset: str, partition: str, mark: Mark, now: object
) -> None:
    """now: UTC without a zone. Nobody else may write marks meanwhile."""
    values, whose = [*mark, now], [dataset, partition]
    [(known, *_)] = session.execute(
        f'UPDATE {tables.sync} SET "DATA_VERSION" = ?, "ROW_COUNT" = ?, "CHECKSUM" = ?, '
        f'"SYNC_ID" = ?, "SYNCED_AT" = ? WHERE {OF_PARTITION}',
        [*values, *whose],
    )
    if known > 1:
        session.execute(f"DELETE FROM {tables.sync} WHERE {OF_PARTITION}", whose)
    if known != 1:
        session.execute(
            f'INSERT INTO {tables.sync} ("DATA_VERSION", "ROW_COUNT", "CHECKSUM", "SYNC_ID", '
            '"SYNCED_AT", "DATASET", "PARTITION_KEY") VALUES (?, ?, ?, ?, ?, ?, ?)',
            [*values, *whose],
        )
