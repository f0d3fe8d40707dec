"""Whether the tables are those that a sync writes: columns that are missing, other, or more."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from fraud_mlops.errors import WarehouseError
from fraud_mlops.warehouse.columns import COLUMNS, KEY, LOCK_COLUMNS, SYNC_COLUMNS, Column
from fraud_mlops.warehouse.engine import Found, Session, Warehouse

_WHOSE = ("DATASET", "PARTITION_KEY")
_TYPES = {
    "text": "VARCHAR",
    "float": "DOUBLE",
    "integer": "BIGINT",
    "date": "DATE",
    "timestamp": "DATETIME",
}


def check_columns(session: Session, warehouse: Warehouse) -> tuple[str, ...]:
    """Columns that the table has beyond a sync's, which stay as they are.

    Raises WarehouseError that names every column that is missing, of another type, or must be
    filled by somebody else, with what to do; and for a table that is not there at all.
    """
    name = warehouse.tables.table
    looked_at = {
        name: (COLUMNS, KEY),
        f"{name}_SYNC": (SYNC_COLUMNS, _WHOSE),
        f"{name}_LOCK": (LOCK_COLUMNS, ("ID",)),
    }
    wrong: list[str] = []
    extra: tuple[str, ...] = ()
    for table, (expected, key) in looked_at.items():
        found = session.columns(table)
        if table == name:
            extra = tuple(sorted(found.keys() - {column.name for column in expected}))
        if not found:
            raise WarehouseError(
                f"{warehouse.address}: there is no table {table} that this session may see; "
                f"{warehouse.mend_schema}"
            )
        wrong += _wrong(warehouse.engine, table, expected, key, found)
    if wrong:
        listed = "\n".join(f"  {line}" for line in wrong)
        if warehouse.engine == "duckdb":
            listed += f"\nOr {warehouse.mend_schema}"
        raise WarehouseError(
            f"{warehouse.address}: columns have drifted from infra/snowflake/schema.sql; until "
            f"that is mended, nothing is written or compared:\n{listed}"
        )
    return extra


def _nobodys(table: str, column: str) -> str:
    """No sync finds the rows again that do not say whose they are; dashboards would sum them."""
    if column not in _WHOSE:
        return ""
    return f"remove the rows that are nobody's now (DELETE FROM {table} WHERE {column} IS NULL), "


def _anew(table: str, name: str, kind: str, *, required: bool) -> str:
    """A column of another type, which no statement changes in place whatever it holds."""
    statements = [f"ALTER TABLE {table} RENAME COLUMN {name} TO {name}_OLD"]
    if required:
        statements.append(f"ALTER TABLE {table} ALTER COLUMN {name}_OLD DROP NOT NULL")
    statements.append(f"ALTER TABLE {table} ADD COLUMN {name} {kind}")
    return f"put it aside and add it anew ({'; '.join(statements)}), and sync with --force"


def _of_key(table: str, engine: str) -> str:
    """Likewise of the key, which a column that is added is not part of."""
    if engine == "duckdb":
        return "it is of the key, which cannot be altered in place"
    return (
        f"it is of the key, which cannot be altered in place; put the table aside (ALTER TABLE "
        f"{table} RENAME TO {table}_OLD), run what --print-schema prints, and sync with --force"
    )


def _wrong(
    engine: str,
    table: str,
    expected: Sequence[Column],
    key: Collection[str],
    found: Mapping[str, Found],
) -> list[str]:
    lines = []
    for name, kind, _ in expected:
        if name not in found:
            lines.append(
                f"{table}.{name} is missing: add it (ALTER TABLE {table} ADD COLUMN {name} "
                f"{_TYPES[kind]}), {_nobodys(table, name)}and sync with --force"
            )
        elif found[name].kind != kind:
            told = f"{table}.{name} is of type {found[name].type}, not {_TYPES[kind]}: "
            mend = _anew(table, name, _TYPES[kind], required=found[name].required)
            lines.append(told + (_of_key(table, engine) if name in key else mend))
    ours = {column.name for column in expected}
    lines += [
        f"{table}.{name} is NOT NULL, and no sync fills it: ALTER TABLE {table} ALTER COLUMN "
        f"{name} DROP NOT NULL"
        for name, column in sorted(found.items())
        if name not in ours and column.required
    ]
    return lines
