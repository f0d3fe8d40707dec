"""The text of infra/snowflake/schema.sql: who may do what, and that it is Snowflake's SQL.

Of its statements fakesnow runs those of tables and views (test_schema_and_views.py). It passes over
those of warehouse, roles and grants: these are read here, by sqlglot in Snowflake's dialect and by
the grammar of Snowflake's manual, and have not been run against a Snowflake.
"""

from __future__ import annotations

import re

import pytest
import sqlglot
from sqlglot import exp
from warehouse_kit import NO_OBJECTS

from fraud_mlops.errors import SettingsError
from fraud_mlops.warehouse.names import ABOUT, VIEWS, WITHIN_VIEWS, Tables
from fraud_mlops.warehouse.schema import digest, schema_text, schema_version, statements


def grants() -> dict[str, list[str]]:
    """What each role is granted: `SELECT ON VIEWS ...`."""
    found: dict[str, list[str]] = {}
    for statement in statements(schema_text()):
        flat = " ".join(statement.split())
        if match := re.fullmatch(r"GRANT (.+) TO ROLE (\w+)", flat):
            found.setdefault(match[2], []).append(match[1])
    return found


def test_the_loader_writes_rows_and_changes_no_object() -> None:
    given = grants()["FRAUD_LOADER"]
    verbs = {verb for grant in given for verb in grant.partition(" ON ")[0].split(", ")}
    assert verbs == {"USAGE", "SELECT", "INSERT", "UPDATE", "DELETE"}
    assert not any("ALL" in grant for grant in given)
    views = [grant for grant in given if "VIEW" in grant]
    assert views == ["SELECT ON VIEW FRAUD.METRICS.BI_ABOUT"]


def test_bi_reads_our_views_and_no_table_or_view_of_others() -> None:
    given = grants()["FRAUD_BI_READER"]
    assert [grant for grant in given if not grant.startswith("USAGE")] == [
        f"SELECT ON VIEW FRAUD.METRICS.{view}" for view in (*VIEWS, ABOUT)
    ]


def test_the_version_that_the_file_states_is_of_its_tables_and_views() -> None:
    assert schema_version() == digest(), f"schema.sql has changed: its SCHEMA_VERSION is {digest()}"


PASSED_OVER = ["CREATE WAREHOUSE", *["CREATE ROLE"] * 2, *["GRANT"] * 17]
"""What no emulator here runs: it has no such objects. Read by their grammar below, and no more."""


def test_what_fakesnow_passes_over_are_warehouse_roles_and_grants_and_nothing_else() -> None:
    passed = [s for s in statements(schema_text()) if is_passed_over(s)]
    assert [next(p for p in NO_OBJECTS if s.startswith(p)) for s in passed] == PASSED_OVER


def is_passed_over(statement: str) -> bool:
    return any(re.match(pattern, statement, re.IGNORECASE) for pattern in NO_OBJECTS)


NAME = r"[A-Z_]+"
# Snowflake's grammar of what sqlglot takes for a command that it does not know.
COMMANDS = (
    rf"CREATE ROLE IF NOT EXISTS {NAME}",
    rf"GRANT ROLE {NAME} TO ROLE {NAME}",
)
PRIVILEGES = {
    "WAREHOUSE": {"USAGE"},
    "DATABASE": {"USAGE"},
    "SCHEMA": {"USAGE"},
    "TABLE": {"SELECT", "INSERT", "UPDATE", "DELETE"},
    "VIEW": {"SELECT"},
}
"""https://docs.snowflake.com/en/sql-reference/sql/grant-privilege: those that are granted here."""


WAREHOUSE = {
    "WAREHOUSE_SIZE",
    "AUTO_SUSPEND",
    "AUTO_RESUME",
    "INITIALLY_SUSPENDED",
    "STATEMENT_TIMEOUT_IN_SECONDS",
}


@pytest.mark.filterwarnings("ignore:.*contains unsupported syntax")
def test_every_statement_is_snowflakes_sql() -> None:
    for statement in statements(schema_text()):
        complaint = wrong_with(statement)
        assert complaint is None, f"{complaint}: {statement}"


def wrong_with(statement: str) -> str | None:
    try:
        [parsed] = sqlglot.parse(statement, read="snowflake")
    except sqlglot.ParseError as error:
        return str(error)
    if isinstance(parsed, exp.Command):
        flat = " ".join(statement.split())
        return None if any(re.fullmatch(one, flat) for one in COMMANDS) else "no such command"
    if isinstance(parsed, exp.Grant):
        given = {one.sql().upper() for one in parsed.args["privileges"]}
        odd = given - PRIVILEGES.get(parsed.args["kind"], set())
        return f"no privilege of this kind of object: {odd}" if odd else None
    if isinstance(parsed, exp.Create) and parsed.kind == "WAREHOUSE":
        odd = {one.name for one in parsed.args["properties"].expressions} - WAREHOUSE
        return f"no property of a warehouse: {odd}" if odd else None
    return None


@pytest.mark.parametrize(
    "typo",
    [
        "GRANT USEAGE ON DATABASE FRAUD TO ROLE FRAUD_LOADER",
        "GRANT USAGE ONN DATABASE FRAUD TO ROLE FRAUD_LOADER",
        "GRANT USAGE ON DATABSE FRAUD TO ROLE FRAUD_LOADER",
        "GRANT INSERT ON VIEW FRAUD.METRICS.BI_ABOUT TO ROLE FRAUD_LOADER",
        "GRANT SELECT ON VEIW FRAUD.METRICS.BI_DRIFT TO ROLE FRAUD_BI_READER",
        "GRNAT ROLE FRAUD_LOADER TO ROLE SYSADMIN",
        "CREATE ROEL IF NOT EXISTS FRAUD_LOADER",
        "CREATE WAREHOUSE IF NOT EXIST FRAUD_WH WAREHOUSE_SIZE = XSMALL",
        "CREATE WAREHOUSE IF NOT EXISTS FRAUD_WH AUTO_SUSPENT = 60",
    ],
)
def test_a_slip_of_the_pen_in_what_is_passed_over_is_found(typo: str) -> None:
    assert wrong_with(typo)


def test_views_that_are_replaced_keep_their_grants() -> None:
    """Snowflake drops those of a view that CREATE OR REPLACE puts in its place, without this."""
    views = [s for s in statements(schema_text()) if s.startswith("CREATE OR REPLACE VIEW")]
    assert [s.split()[4] for s in views] == [*VIEWS, ABOUT]
    for statement in views:
        [made] = sqlglot.parse(statement, read="snowflake")
        assert made is not None
        assert made.find(exp.CopyGrantsProperty), statement


def test_no_table_bears_the_name_of_a_query_within_a_view() -> None:
    """The view would read that query in the table's place."""
    within = {
        query.alias
        for statement in statements(schema_text())
        if statement.startswith("CREATE OR REPLACE VIEW")
        for parsed in sqlglot.parse(statement, read="snowflake")
        if parsed is not None
        for query in parsed.find_all(exp.CTE)
    }
    assert within == WITHIN_VIEWS
    for name in sorted(within):
        with pytest.raises(SettingsError, match=f"SNOWFLAKE_TABLE='{name.lower()}' is what a view"):
            Tables(name.lower())
