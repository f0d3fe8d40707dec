"""What a sync asks of a warehouse, whichever it is.

SQL is one text for both engines: identifiers in double quotes, `?` for every value, names without
schema, since the session stands in the right one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NamedTuple, Protocol

from fraud_mlops.errors import WarehouseError, WarehouseUnavailable
from fraud_mlops.warehouse.columns import ContentError, Kind
from fraud_mlops.warehouse.names import Tables

Say = Callable[[str], None]
"""Is told, while it goes on, what a person may want to know."""


def quiet(_: str) -> None:
    """Tells nobody."""


class Held(WarehouseUnavailable):
    """Another process has it open, and was waited for."""


class Found(NamedTuple):
    """A column as a table has it. kind: None for a type of no interest here."""

    kind: Kind | None
    type: str
    required: bool


class Session(Protocol):
    """One connection. Whatever goes wrong in it is a WarehouseError, without a secret."""

    def execute(self, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """All rows of the answer; of a changed table one, which begins with their number."""

    def load(self, table: str, columns: Sequence[str], rows: Sequence[tuple[object, ...]]) -> None:
        """Adds rows, as fast as the engine can. table: as it stands in SQL."""

    def columns(self, table: str) -> dict[str, Found]:
        """By name in upper case; none for a table that is not there. table: its plain name."""


class Warehouse(Protocol):
    """Where metrics go."""

    @property
    def engine(self) -> str:
        """`snowflake` or `duckdb`."""

    @property
    def address(self) -> str:
        """Where the table is, for people; nothing secret."""

    @property
    def table_name(self) -> str:
        """Of the table of metrics, with its database and schema."""

    @property
    def tables(self) -> Tables: ...

    @property
    def mend_schema(self) -> str:
        """What a person does who finds that tables are missing or other than they should be."""

    @property
    def mend_views(self) -> str:
        """Likewise of views that are older or newer than this version."""

    def session(self, say: Say = quiet, /) -> AbstractContextManager[Session]:
        """To write. say: is told whom it waits for, and what is made.

        Raises WarehouseUnavailable when it cannot be reached, Held when somebody else is in it.
        """

    def reading(self, say: Say = quiet, /) -> AbstractContextManager[Session | None]:
        """To read: nothing is made or changed. None where nothing has been synced yet."""


@contextmanager
def transaction(session: Session) -> Iterator[None]:
    """All or nothing of what is done within.

    A session that cannot roll back is of no more use: what would be committed by its next
    statement is unknown. After an error that is of one partition alone, which a sync goes on
    after, that raises WarehouseUnavailable, by which it goes on in another session.
    """
    session.execute("BEGIN")
    try:
        yield
    except BaseException as error:
        try:
            session.execute("ROLLBACK")
        except WarehouseError as failed:
            if isinstance(error, ContentError):
                raise WarehouseUnavailable(
                    f"{error}\nThat could not be rolled back: {failed}"
                ) from None
        raise  # what has failed is told, rather than that it could not be rolled back
    session.execute("COMMIT")
