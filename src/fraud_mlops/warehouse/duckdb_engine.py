"""The warehouse as a DuckDB file: the default, for which nobody needs an account."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fraud_mlops.errors import WarehouseError, WarehouseUnavailable
from fraud_mlops.warehouse.columns import Kind
from fraud_mlops.warehouse.columns_drift import check_columns
from fraud_mlops.warehouse.engine import Found, Held, Say, quiet, transaction
from fraud_mlops.warehouse.names import Tables
from fraud_mlops.warehouse.schema import portable_statements
from fraud_mlops.warehouse.views import About, about_views

if TYPE_CHECKING:
    import duckdb

_KINDS: dict[str, Kind] = {
    "VARCHAR": "text",
    "DOUBLE": "float",
    "BIGINT": "integer",
    "DATE": "date",
    "TIMESTAMP": "timestamp",
}
WAIT_SECONDS = 60.0
"""How long to wait for another process that has the file open."""
_LOOK_SECONDS = 0.1
_HELD = ("set lock on file", "used by another process", "with a different configuration")
_DAMAGED = "Corrupt database file"
_HOLDER = re.compile(r"held in (?P<program>.+?) \(PID (?P<pid>\d+)\)")


@dataclass(frozen=True)
class DuckDBWarehouse:
    """path: of the file, which is made with tables and views when it is not there; its folder is
    not, so that a misspelt path is told."""

    path: Path
    tables: Tables
    wait_seconds: float = WAIT_SECONDS
    engine: str = "duckdb"

    @property
    def address(self) -> str:
        return f"duckdb {self.path}"

    @property
    def table_name(self) -> str:
        return f"{self.path.stem}.main.{self.tables.table}"

    @property
    def mend_schema(self) -> str:
        return (
            f"put it aside (mv {self.path} {self.path}.old) and sync again: a new one is filled "
            "with what the metrics zone has"
        )

    @property
    def mend_views(self) -> str:
        return "the next sync makes them anew"

    @contextmanager
    def session(self, say: Say = quiet, /) -> Iterator[DuckDBSession]:
        folder = self.path.parent
        if not folder.is_dir():
            raise WarehouseError(
                f"{self.address}: there is no folder {folder}. Correct FRAUD_WAREHOUSE_PATH (or "
                f"LAKEHOUSE_URI, where it is not set), or make the folder: mkdir -p {folder}"
            )
        if not self.path.exists():
            say(f"{self.path}: there was none; it is made")
        with self._file(say, read_only=False) as connection:
            session = DuckDBSession(connection, self.address, self.mend_schema)
            self._make_schema(session)
            yield session

    @contextmanager
    def reading(self, say: Say = quiet, /) -> Iterator[DuckDBSession | None]:
        if not self.path.exists():
            yield None
            return
        with self._file(say, read_only=True) as connection:
            session = DuckDBSession(connection, self.address, self.mend_schema)
            yield session if session.columns(self.tables.table) else None

    @contextmanager
    def _file(self, say: Say, *, read_only: bool) -> Iterator[duckdb.DuckDBPyConnection]:
        connection = self._connect(read_only)
        if isinstance(connection, str):
            say(
                f"{self.address}: {connection} has it open, and DuckDB lets in one writer, or "
                f"readers. Waiting up to {self.wait_seconds:g} s; close it there (a notebook, a "
                "DuckDB shell, a BI tool, another sync)"
            )
        deadline = time.monotonic() + self.wait_seconds
        while isinstance(connection, str):
            if time.monotonic() > deadline:
                raise Held(
                    f"{self.address}: {connection} still has it open after "
                    f"{self.wait_seconds:g} s; close it there, or end that process, and sync again"
                )
            time.sleep(_LOOK_SECONDS)
            connection = self._connect(read_only)
        try:
            yield connection
        finally:
            connection.close()

    def _connect(self, read_only: bool) -> duckdb.DuckDBPyConnection | str:
        """A connection, or who has the file open."""
        import duckdb

        try:
            return duckdb.connect(str(self.path), read_only=read_only)
        except duckdb.Error as error:
            if holder := holder_of(error):
                return holder
            raise WarehouseError(
                f"{self.address}: cannot be opened ({_first_line(error)}). If it is no warehouse, "
                f"correct FRAUD_WAREHOUSE_PATH; if it was one, {self.mend_schema}"
            ) from None

    def _make_schema(self, session: DuckDBSession) -> None:
        """Once, and again when schema.sql has changed; views of another table stay as they are."""
        found = about_views(session)
        if found == About.of(self.tables):
            return
        tables, views = portable_statements(self.tables)
        with transaction(session):
            for statement in tables:
                session.execute(statement)
            check_columns(session, self)  # on others, a view would fail in DuckDB's own words
            if found is None or found.table == self.tables.table:
                for statement in views:
                    session.execute(statement)


@dataclass(frozen=True)
class DuckDBSession:
    """mend: what a person does whose file is damaged."""

    connection: duckdb.DuckDBPyConnection
    address: str
    mend: str

    def execute(self, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        with self._told():
            return self.connection.execute(sql, list(values)).fetchall()

    def load(self, table: str, columns: Sequence[str], rows: Sequence[tuple[object, ...]]) -> None:
        """By way of Arrow: a bound INSERT a row would take DuckDB a thousand times as long."""
        import pyarrow as pa

        if not rows:
            return
        arrays = [pa.array(column) for column in zip(*rows, strict=True)]
        given = pa.table(arrays, names=list(columns))
        with self._told():
            self.connection.register("given", given)
            listed = ", ".join(f'"{name}"' for name in columns)
            self.connection.execute(f"INSERT INTO {table} ({listed}) SELECT {listed} FROM given")
            self.connection.unregister("given")

    def columns(self, table: str) -> dict[str, Found]:
        rows = self.execute(
            "SELECT column_name, data_type, NOT is_nullable FROM duckdb_columns() "
            "WHERE table_name = ? AND NOT internal AND schema_name = current_schema()",
            [table],
        )
        return {
            name.upper(): Found(_KINDS.get(kind), kind, required) for name, kind, required in rows
        }

    @contextmanager
    def _told(self) -> Iterator[None]:
        import duckdb

        try:
            yield
        except (duckdb.TransactionException, duckdb.IOException) as error:
            # Another thread of this process is at the same rows, or the disk is full.
            raise WarehouseUnavailable(f"{self.address}: {_first_line(error)}") from None
        except duckdb.Error as error:
            said = f"{self.address}: {_first_line(error)}"
            if _DAMAGED in said:  # in a block that was not read when the file was opened
                said += f"; {self.mend}"
            raise WarehouseError(said) from None


def holder_of(error: Exception) -> str | None:
    """Who has the file open, as DuckDB tells it; None for an error of another kind."""
    text = str(error)
    if not any(said in text for said in _HELD):
        return None
    if _HELD[-1] in text:  # a reader and a writer of one process
        return "this very process"
    found = _HOLDER.search(text)
    if found is None:
        return "another process"
    return f"process {found['pid']} ({Path(found['program']).name})"


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
