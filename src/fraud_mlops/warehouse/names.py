"""Names of objects in the warehouse. Nothing a person writes reaches SQL but through here."""

from __future__ import annotations

import re
from dataclasses import dataclass

from fraud_mlops.errors import SettingsError

TABLE = "FRAUD_MODEL_METRICS"
VIEWS = ("BI_DAILY_KPIS", "BI_MODEL_COMPARISON", "BI_DRIFT", "BI_ALERT_FUNNEL")
ABOUT = "BI_ABOUT"
"""The view that says which table the others show."""
WITHIN_VIEWS = frozenset(
    {"KPI", "NEWEST", "BOTH_WINDOWS", "LABELLED", "SCORED", "NEWEST_SCORED", "FEATURES"}
    | {"WHOLE", "STAGES"}
)
"""What the views call their own queries: within them, a table of that name would not be seen."""
_SQL = """
    ACCOUNT ALL ALTER AND ANY AS BETWEEN BY CASE CAST CHECK COLUMN CONNECT CONNECTION CONSTRAINT
    CREATE CROSS CURRENT CURRENT_DATE CURRENT_TIME CURRENT_TIMESTAMP CURRENT_USER DATABASE DELETE
    DISTINCT DROP ELSE EXISTS FALSE FOLLOWING FOR FROM FULL GRANT GROUP GSCLUSTER HAVING ILIKE IN
    INCREMENT INNER INSERT INTERSECT INTO IS ISSUE JOIN LATERAL LEFT LIKE LOCALTIME LOCALTIMESTAMP
    MINUS NATURAL NOT NULL OF ON OR ORDER ORGANIZATION QUALIFY REGEXP REVOKE RIGHT RLIKE ROW ROWS
    SAMPLE SCHEMA SELECT SET SOME START TABLE TABLESAMPLE THEN TO TRIGGER TRUE TRY_CAST UNION
    UNIQUE UPDATE USING VALUES VIEW WHEN WHENEVER WHERE WITH
"""
RESERVED = frozenset(_SQL.split())
"""Words that Snowflake takes for no name of an object."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*")
_LONGEST = 240
"""Snowflake takes 255 characters; names derived from the table's are longer by some."""


def identifier(name: str, what: str) -> str:
    """`name` in upper case, as Snowflake keeps names that stand without quotes.

    what: the setting that it comes from. Raises SettingsError for anything but letters, digits,
    `_` and `$`; so a quote, a semicolon or a dot is refused before anything is connected to.
    """
    if not _NAME.fullmatch(name) or len(name) > _LONGEST:
        raise SettingsError(
            f"{what}={name!r} is no name of an object: give one of letters, digits, _ and $ that "
            f"begins with no digit, of {_LONGEST} characters at most, without quotes and dots"
        )
    return name.upper()


def quoted(name: str) -> str:
    """An identifier as it stands in SQL, reserved word or not."""
    return f'"{identifier(name, "name")}"'


def own_name(name: str, what: str) -> str:
    """As `identifier`, for names that stand in schema.sql without quotes.

    Raises SettingsError also for Snowflake's reserved words, and for the names of the views.
    """
    found = identifier(name, what)
    if found in RESERVED or found in (*VIEWS, ABOUT):
        taken = "a reserved word of SQL" if found in RESERVED else "a view's"
        raise SettingsError(f"{what}={name!r} is {taken}; give another name")
    return found


@dataclass(frozen=True)
class Tables:
    """The table of metrics and what goes with it, ready to stand in SQL."""

    table: str = TABLE

    def __post_init__(self) -> None:
        found = own_name(self.table, "SNOWFLAKE_TABLE")
        if found in WITHIN_VIEWS:
            raise SettingsError(
                f"SNOWFLAKE_TABLE={self.table!r} is what a view calls a query of its own; give "
                "another name"
            )
        object.__setattr__(self, "table", found)

    @property
    def metrics(self) -> str:
        return quoted(self.table)

    @property
    def sync(self) -> str:
        """The watermark: which content of which partition the table holds."""
        return quoted(f"{self.table}_SYNC")

    @property
    def lock(self) -> str:
        """One row, by which syncs take turns."""
        return quoted(f"{self.table}_LOCK")

    @property
    def stage(self) -> str:
        """The temporary table of a session."""
        return quoted(f"{self.table}_STAGE")
