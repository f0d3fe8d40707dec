"""What the warehouse's table still has of a person: slices that are named for the value.

An erasure only counts them. The table follows the metrics zone, by a sync, which alone writes it;
and it may have what the zone has no more: a run was killed before its sync, metrics expired.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from fraud_mlops.errors import SettingsError, WarehouseError
from fraud_mlops.maintenance.erased import Erased, unread
from fraud_mlops.maintenance.erasure import Person
from fraud_mlops.settings import settings
from fraud_mlops.warehouse.choice import warehouse_of

_PLACE = "warehouse"


def sync_command(dataset: str, root: str) -> str:
    """root: that of the lakehouse; the settings' may be another, whose rows would go."""
    script = "python scripts/sync_metrics_to_snowflake.py"
    return f"{script} --dataset {dataset} --output-uri {shlex.quote(root)} --prune"


def find_in_warehouse(root: str, person: Person) -> Iterator[Erased]:
    """Of the warehouse that the settings mean for the lakehouse of this root."""
    if not person.slices:
        return
    where = _PLACE
    try:
        warehouse = warehouse_of(settings(), root)
        where = warehouse.address
        with warehouse.reading() as session:
            if session is None:
                return
            marks = ", ".join("?" * len(person.slices))
            [(rows,)] = session.execute(
                f"SELECT COUNT(*) FROM {warehouse.tables.metrics} "
                f'WHERE "DATASET" = ? AND "SLICE" IN ({marks})',
                [person.contract.name, *person.slices],
            )
    except (SettingsError, WarehouseError) as error:
        yield unread(_PLACE, where, error)
        return
    if rows:
        left = f"a sync takes them out: {sync_command(person.contract.name, root)}"
        yield Erased(_PLACE, where, int(rows), left)
