"""fakesnow's server, mended in two places where Snowflake does otherwise.

    python snow_server.py PORT

1. MERGE within a transaction. fakesnow 0.12 makes a temporary table for it, and notes a comment
   of that table, which has none, in a second database; DuckDB refuses that in one transaction.
2. A row that another transaction has changed. Snowflake lets the second wait, and tells 000625
   when that takes too long; fakesnow answers 500.
"""

from __future__ import annotations

import sys
from typing import Any

import uvicorn
from fakesnow import info_schema
from fakesnow.cursor import FakeSnowflakeCursor
from fakesnow.server import app

_note_comment = info_schema.insert_table_comment_sql
_execute = FakeSnowflakeCursor._execute


def _note_comment_if_any(catalog: str, schema: str, table: str, comment: str | None) -> str:
    return _note_comment(catalog, schema, table, comment) if comment else "SELECT 1"


def _execute_or_wait(self: FakeSnowflakeCursor, *arguments: Any) -> None:
    from duckdb import TransactionException
    from snowflake.connector.errors import ProgrammingError

    try:
        _execute(self, *arguments)
    except TransactionException as error:
        if "onflict" not in str(error):
            raise
        raise ProgrammingError(
            msg="Statement has locked a table in another transaction", errno=625, sqlstate="57014"
        ) from error


info_schema.insert_table_comment_sql = _note_comment_if_any
FakeSnowflakeCursor._execute = _execute_or_wait

if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
