"""The warehouse as a DuckDB file: the default, for which nobody needs an account."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fraud_mlops.errors import WarehouseError, WarehouseUnavailable
from fraud_mlops.warehouse.columns import Kind
from fraud_mlops.warehouse.engine import Found
from fraud_mlops.warehouse.names import Tables
from fraud_mlops.warehouse.schema import digest, portable_statements

if TYPE_CHECKING:
    import duckdb

_KINDS: dict[str, Kind] = {
    "VARCHAR": "text",
    "DOUBLE": "float",
    "BIGINT": "integer",
    "DATE": "date",
    "TIMESTAMP": "timestamp",
}
WAIT_SECONDS = 30.0
"""How long to wait for another process that has the file open: DuckDB lets in one at a time."""
_LOOK_SECONDS = 0.1


@dataclass(frozen=True)
class DuckDBWarehouse:
    """path: of the file, which is made with its folder, tables and views when it is not there."""

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
        return f"remove {self.path} and sync again: it is made anew, all of it from the lakehouse"

    @contextmanager
    def session(self) -> Iterator[DuckDBSession]:
        with self._file() as connection:
            session = DuckDBSession(connection, self.address)
            self._make_schema(session)
            yield session

    @contextmanager
    def _file(self) -> Iterator[duckdb.DuckDBPyConnection]:
        import duckdb

        self.path.parent.mkdir(parents=True, exist_ok=True)
        deadline = time.monotonic() + self.wait_seconds
        while True:
            try:
                connection = duckdb.connect(str(self.path))
                break
            except duckdb.IOException as error:
                if "lock" not in str(error).lower():
                    raise WarehouseError(
                        f"{self.address}: cannot be opened ({_first_line(error)}); "
                        f"{self.mend_schema}"
                    ) from None
                if time.monotonic() > deadline:
                    raise WarehouseUnavailable(
                        f"{self.address}: another process has it open, and DuckDB lets in one at "
                        f"a time; close it ({_first_line(error)})"
                    ) from None
                time.sleep(_LOOK_SECONDS)
        try:
            yield connection
        finally:
            connection.close()

    def _make_schema(self, session: DuckDBSession) -> None:
        """Once, and again when schema.sql has changed: the lock table's comment says which."""
        made = digest(self.tables)
        lock = f"{self.tables.table}_LOCK"
        found = session.execute("SELECT comment FROM duckdb_tables() WHERE table_name = ?", [lock])
        if found == [(made,)]:
            return
        session.execute("BEGIN")
        for statement in portable_statements(self.tables):
            session.execute(statement)
        session.execute(f"COMMENT ON TABLE {self.tables.lock} IS '{made}'")
        session.execute("COMMIT")


@dataclass(frozen=True)
class DuckDBSession:
    connection: duckdb.DuckDBPyConnection
    address: str

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
            raise WarehouseError(f"{self.address}: {_first_line(error)}") from None


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
