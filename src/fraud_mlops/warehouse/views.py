"""Whether the views for BI are those of a table, and of this version of schema.sql.

A schema of a warehouse has one set of views, and they show one table. BI_ABOUT, a view among them,
says which table that is and which text they were made by.
"""

from __future__ import annotations

from typing import NamedTuple

from fraud_mlops.warehouse.engine import Session, Warehouse
from fraud_mlops.warehouse.names import ABOUT, Tables
from fraud_mlops.warehouse.schema import schema_version


class About(NamedTuple):
    """What views say of themselves. table: whose rows they show."""

    table: str
    version: str

    @classmethod
    def of(cls, tables: Tables) -> About:
        """As this version makes them for that table."""
        return cls(tables.table, schema_version())


def about_views(session: Session) -> About | None:
    """None where there are no views, or older ones than BI_ABOUT, or the role may not read it."""
    if not session.columns(ABOUT):
        return None
    found = session.execute(f"SELECT TABLE_NAME, SCHEMA_VERSION FROM {ABOUT}")
    return About(*found[0]) if found else None


def told_of_views(session: Session, warehouse: Warehouse) -> str | None:
    """What a person should know who looks at the views for this table's rows; None if all is well.

    No error: rows go into the table, and are right there.
    """
    found, table = about_views(session), warehouse.tables.table
    if found == About.of(warehouse.tables):
        return None
    if found is None:
        return (
            f"the views for BI are older than this version, for there is no {ABOUT} among them "
            f"that may be read; {warehouse.mend_views}"
        )
    if found.table != table:
        place = "SNOWFLAKE_SCHEMA" if warehouse.engine == "snowflake" else "FRAUD_WAREHOUSE_PATH"
        return (
            f"the views for BI here show the table {found.table}, and nothing of {table}: views "
            f"are of one table. Give {table} a place of its own ({place})"
        )
    return f"the views for BI are of another version than this sync; {warehouse.mend_views}"
