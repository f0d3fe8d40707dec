"""Whether the warehouse holds what the lakehouse holds: rows counted, content hashed."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from fraud_mlops.errors import LakehouseError, StoreError
from fraud_mlops.lakehouse.partitions import Lakehouse, Partition
from fraud_mlops.warehouse.columns import Content, ContentError, checksum, rows_of
from fraud_mlops.warehouse.columns_drift import check_columns
from fraud_mlops.warehouse.engine import Say, Session, Warehouse, quiet
from fraud_mlops.warehouse.marks import Mark, content_of, datasets_of, marks_of
from fraud_mlops.warehouse.views import told_of_views
from fraud_mlops.warehouse.zone import metrics_of
from fraud_mlops.words import counted

_SCRIPT = "scripts/sync_metrics_to_snowflake.py"


@dataclass(frozen=True)
class Difference:
    """A partition that is not the same on both sides. broken: although it counts as synced."""

    partition: str
    what: str
    broken: bool = False


@dataclass(frozen=True)
class Parity:
    """checksum: of all content that was compared, of the lakehouse's side. datasets: all that the
    warehouse holds. views: what a person should know of them, if anything."""

    partitions: int
    lakehouse_rows: int
    warehouse_rows: int
    checksum: str
    differences: tuple[Difference, ...]
    datasets: tuple[str, ...] = ()
    views: str | None = None

    @property
    def holds(self) -> bool:
        return not self.differences


def compare(
    lakehouse: Lakehouse,
    warehouse: Warehouse,
    dataset: str,
    partitions: Collection[str] | None = None,
    *,
    say: Say = quiet,
    sync_by: str = _SCRIPT,
) -> Parity:
    """Reads both sides through, and changes neither.

    partitions: values; all that the zone has when left out, and then partitions that only the
    warehouse has are differences too, as are those that are damaged. say: is told whom it waits
    for. sync_by: what a person syncs by, for words. Raises WarehouseError for columns that have
    drifted.
    """
    there, damaged = metrics_of(lakehouse, dataset)
    chosen = sorted({*there, *damaged} if partitions is None else partitions)
    differences: list[Difference] = []
    sums: list[tuple[str, str]] = []
    given = found = 0
    with warehouse.reading(say) as session:
        known, datasets, views = _known(session, warehouse, dataset)
        for value in chosen:
            partition = there.get(value)
            if partition is None:
                differences.append(_not_there(value, damaged.get(value)))
                continue
            try:
                one = _both(lakehouse, session, warehouse, partition)
            except StoreError:
                raise
            except (LakehouseError, ContentError) as error:
                differences.append(_not_there(value, error))
                continue
            given, found = given + one.given[0], found + one.found[0]
            sums.append((value, one.given[1]))
            if one.given != one.found:
                differences.append(one.difference(partition, known.get(value), sync_by))
    if partitions is None:
        differences += [
            Difference(value, f"{_rows_of(mark)} that the lakehouse has no more; sync --prune")
            for value, mark in known.items()
            if value not in there and value not in damaged
        ]
    return Parity(
        len(chosen), given, found, checksum(sums), tuple(differences), tuple(datasets), views
    )


def _known(
    session: Session | None, warehouse: Warehouse, dataset: str
) -> tuple[dict[str, Mark | None], list[str], str | None]:
    """Marks of the dataset, all datasets, and what there is to tell of the views."""
    if session is None:
        return {}, [], None
    check_columns(session, warehouse)
    tables = warehouse.tables
    return (
        marks_of(session, tables, dataset),
        datasets_of(session, tables),
        told_of_views(session, warehouse),
    )


def _rows_of(mark: Mark | None) -> str:
    return counted(mark.rows, "row") if mark else "rows without a mark,"


def _not_there(value: str, error: Exception | None) -> Difference:
    if error is None:
        return Difference(value, "the lakehouse has no such partition")
    return Difference(value, str(error), broken=True)


@dataclass(frozen=True)
class _Both:
    """Rows and checksum of each side."""

    given: tuple[int, str]
    found: tuple[int, str]

    def difference(self, partition: Partition, mark: Mark | None, sync_by: str) -> Difference:
        rows, there = self.given[0], self.found[0]
        how = f"{counted(there, 'row')}, {rows:,} in the lakehouse"
        if there == rows:
            how = f"as many rows ({rows:,}), other values"
        if mark is None or mark.data_version != partition.data_version:
            return Difference(partition.value, f"{how}; not synced yet: {sync_by}")
        return Difference(
            partition.value,
            f"{how}, although it counts as synced: somebody has changed the table; sync it by "
            f"{_SCRIPT} --force",
            broken=True,
        )


def _both(
    lakehouse: Lakehouse, session: Session | None, warehouse: Warehouse, partition: Partition
) -> _Both:
    rows = rows_of(partition, lakehouse.read_verified(partition))
    content: list[Content] = []
    if session is not None:
        content = content_of(session, warehouse.tables, partition.dataset, partition.value)
    return _Both((len(rows.content), rows.checksum), (len(content), checksum(content)))
