"""A sync that kills itself, as the machine would, at the n-th statement that begins like this.

python killed_sync.py LAKEHOUSE (FILE | snowflake) STATEMENT N
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fraud_mlops.lakehouse.partitions import Lakehouse
from fraud_mlops.settings import settings
from fraud_mlops.warehouse.choice import warehouse_of
from fraud_mlops.warehouse.duckdb_engine import DuckDBWarehouse
from fraud_mlops.warehouse.engine import Say, Session, Warehouse
from fraud_mlops.warehouse.names import Tables
from fraud_mlops.warehouse.sync import sync


@dataclass
class Killing:
    """A session, and how many statements are left of the kind that is the last."""

    session: Session
    start: str
    left: list[int]

    def execute(self, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        found = self.session.execute(sql, values)
        if sql.startswith(self.start):
            self.left[0] -= 1
            if not self.left[0]:
                os.kill(os.getpid(), signal.SIGKILL)
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self.session, name)


@dataclass
class Doomed:
    """A warehouse whose sessions kill."""

    warehouse: Warehouse
    start: str
    left: list[int] = field(default_factory=list)

    @contextmanager
    def session(self, say: Say, /) -> Iterator[Any]:
        with self.warehouse.session(say) as session:
            yield Killing(session, self.start, self.left)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.warehouse, name)


def main() -> None:
    root, where, start, number = sys.argv[1:]
    warehouse = (
        warehouse_of(settings(), root)
        if where == "snowflake"
        else DuckDBWarehouse(Path(where), Tables())
    )
    doomed: Any = Doomed(warehouse, start, [int(number)])
    sync(Lakehouse(root), doomed, "motor")


if __name__ == "__main__":
    main()
