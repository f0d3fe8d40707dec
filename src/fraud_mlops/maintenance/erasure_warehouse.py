"""What the warehouse's table still has of a person: slices that are named for the value.

An erasure only counts them. The table follows the metrics zone, by a sync, which alone writes it;
and it may have what the zone has no more: a run was killed before its sync, metrics expired.
"""

from __future__ import annotations

import shlex
from typing import NamedTuple

from fraud_mlops.errors import SettingsError, WarehouseError
from fraud_mlops.maintenance.erased import Erased, unread
from fraud_mlops.maintenance.erasure import Person
from fraud_mlops.settings import settings, variable
from fraud_mlops.warehouse.choice import warehouse_of

_PLACE = "warehouse"


def sync_command(dataset: str, root: str) -> str:
    """root: that of the lakehouse; the settings' may be another, whose rows would go."""
    script = "python scripts/sync_metrics_to_snowflake.py"
    return f"{script} --dataset {dataset} --output-uri {shlex.quote(root)} --prune"


class LookedInto(NamedTuple):
    """told: which warehouse was looked into, or why none was; empty where `found` says it."""

    found: tuple[Erased, ...]
    told: str


def _none_at(address: str) -> str:
    return (
        f"No warehouse was looked into: there is none at {address}. If metrics are "
        f"synced elsewhere, set {variable('warehouse_path')} to that file, or Snowflake's "
        "variables (docs/settings.md), and erase again."
    )


def rows_in_warehouse(root: str, dataset: str) -> int | None:
    """Of all of the dataset; None where there is no table, or it cannot be read."""
    try:
        warehouse = warehouse_of(settings(), root)
        with warehouse.reading() as session:
            if session is None:
                return None
            [(rows,)] = session.execute(
                f'SELECT COUNT(*) FROM {warehouse.tables.metrics} WHERE "DATASET" = ?', [dataset]
            )
    except (SettingsError, WarehouseError):
        return None
    return int(rows)


def find_in_warehouse(root: str, person: Person) -> LookedInto:
    """In the warehouse that the settings mean for the lakehouse of this root."""
    if not person.slices:
        return LookedInto((), "No warehouse was asked: no slice of metrics is named for a person.")
    where = _PLACE
    try:
        warehouse = warehouse_of(settings(), root)
        where = warehouse.address
        with warehouse.reading() as session:
            if session is None:
                return LookedInto((), _none_at(where))
            marks = ", ".join("?" * len(person.slices))
            [(rows,)] = session.execute(
                f"SELECT COUNT(*) FROM {warehouse.tables.metrics} "
                f'WHERE "DATASET" = ? AND "SLICE" IN ({marks})',
                [person.contract.name, *person.slices],
            )
    except (SettingsError, WarehouseError) as error:
        return LookedInto((unread(_PLACE, where, error),), "")
    left = f"a sync takes them out: {sync_command(person.contract.name, root)}"
    found = (Erased(_PLACE, where, int(rows), left),) if rows else ()
    return LookedInto(found, f"The warehouse that was looked into is {where}.")
