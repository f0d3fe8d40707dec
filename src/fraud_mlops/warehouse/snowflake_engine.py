"""The warehouse in Snowflake."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fraud_mlops.errors import WarehouseError
from fraud_mlops.warehouse.columns import Kind
from fraud_mlops.warehouse.engine import Found, Say, quiet
from fraud_mlops.warehouse.names import Tables
from fraud_mlops.warehouse.options import SnowflakeOptions
from fraud_mlops.warehouse.snowflake_errors import RUN_SCHEMA, told, told_of_login

if TYPE_CHECKING:
    from snowflake.connector import SnowflakeConnection

Connect = Callable[[], AbstractContextManager["SnowflakeConnection"]]
"""Opens a connection of the connector with SnowflakeOptions' parameters, and closes it after."""

_KINDS: dict[str, Kind] = {
    "TEXT": "text",
    "VARCHAR": "text",
    "FLOAT": "float",
    "NUMBER": "integer",
    "DATE": "date",
    "TIMESTAMP_NTZ": "timestamp",
}
MOMENT = 2.5
"""Seconds that one waits for a login without wondering."""
_LONGEST_PAUSE = 16
"""Of the connector, before a last try that its time-out of a login has nothing against."""
_log = logging.getLogger("fraud.warehouse")
"""A line on standard error where nobody has set up logging, as for stores that are waited for."""
LOAD_ROWS = 2_000
"""Rows of one bound INSERT; more values than 65,280 would go by way of a stage's files."""


@dataclass(frozen=True)
class SnowflakeWarehouse:
    """connect: another way to open the connection, such as dagster-snowflake's resource."""

    options: SnowflakeOptions
    connect: Connect | None = None
    engine: str = field(default="snowflake", init=False)

    @property
    def address(self) -> str:
        return self.options.address

    @property
    def table_name(self) -> str:
        return self.options.table_name

    @property
    def tables(self) -> Tables:
        return self.options.tables

    @property
    def mend_schema(self) -> str:
        return RUN_SCHEMA

    @property
    def mend_views(self) -> str:
        return RUN_SCHEMA

    @contextmanager
    def session(self, say: Say = quiet, /) -> Iterator[SnowflakeSession]:
        opened = self.connect or (lambda: connection(self.options))
        with told_of_login(self.options), _telling(self.options, say):
            manager = opened()
            raw = manager.__enter__()
        try:
            session = SnowflakeSession(raw, self.options)
            session.require_place()
            yield session
        finally:
            # What was done is committed or rolled back already, and what has failed is told.
            with suppress(WarehouseError), told(self.options):
                manager.__exit__(None, None, None)

    @contextmanager
    def reading(self, say: Say = quiet, /) -> Iterator[SnowflakeSession]:
        """That tables are there is an administrator's affair: an error when they are not."""
        with self.session(say) as session:
            yield session


@contextmanager
def _telling(options: SnowflakeOptions, say: Say) -> Iterator[None]:
    """Says whom it waits for, after a moment; in the log, where nobody listens."""
    seconds = options.further()["login_timeout"] + _LONGEST_PAUSE
    told = f"waiting for Snowflake at {options.server}, up to {seconds} s"
    timer = threading.Timer(MOMENT, _log.warning if say is quiet else say, (told,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def connection(options: SnowflakeOptions) -> AbstractContextManager[SnowflakeConnection]:
    """Of the connector itself, closed in the end. Within `told_of_login`, which says when it is not
    installed."""
    from snowflake.connector import connect

    return closing(connect(**options.public(), **options.further(), **options.secret()))


@dataclass(frozen=True)
class SnowflakeSession:
    connection: SnowflakeConnection
    options: SnowflakeOptions

    def execute(self, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        with told(self.options), self.connection.cursor() as cursor:
            cursor.execute(sql, tuple(values) or None)
            return [tuple(row) for row in cursor.fetchall()]

    def load(self, table: str, columns: Sequence[str], rows: Sequence[tuple[object, ...]]) -> None:
        """Bound arrays: one statement a batch."""
        listed = ", ".join(f'"{name}"' for name in columns)
        marks = ", ".join("?" * len(columns))
        insert = f"INSERT INTO {table} ({listed}) VALUES ({marks})"
        with told(self.options), self.connection.cursor() as cursor:
            for first in range(0, len(rows), LOAD_ROWS):
                cursor.executemany(insert, list(rows[first : first + LOAD_ROWS]))

    def columns(self, table: str) -> dict[str, Found]:
        rows = self.execute(
            "SELECT COLUMN_NAME, DATA_TYPE, IS_NULLABLE, COLUMN_DEFAULT "
            "FROM INFORMATION_SCHEMA.COLUMNS WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ?",
            [self.options.schema, table],
        )
        return {
            name.upper(): Found(_KINDS.get(kind), kind, nullable == "NO" and default is None)
            for name, kind, nullable, default in rows
        }

    def require_place(self) -> None:
        """Snowflake lets in a session whose database or schema it may not use.

        A warehouse that it may not use is told by the first statement that needs one.
        """
        [found] = self.execute("SELECT CURRENT_DATABASE(), CURRENT_SCHEMA()")
        missing = [
            f"SNOWFLAKE_{what.upper()}={getattr(self.options, what)}"
            for what, name in zip(("database", "schema"), found, strict=True)
            if name is None
        ]
        if missing:
            raise WarehouseError(
                f"{self.options.address}: {' and '.join(missing)} is not there, or the role may "
                f"not use it; {RUN_SCHEMA}"
            )
