"""Metrics in a lakehouse, and warehouses to have them in: a DuckDB file, a Snowflake of the test's.

The Snowflake is fakesnow's server, to which Snowflake's own connector speaks HTTP; a proxy stands
between, which has the faults that networks and servers have.
"""

from __future__ import annotations

import itertools
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import SecretStr

from fraud_mlops.lakehouse.partitions import Lakehouse, Partition
from fraud_mlops.pipeline.metrics import METRICS
from fraud_mlops.warehouse.engine import Warehouse
from fraud_mlops.warehouse.names import Tables
from fraud_mlops.warehouse.options import SnowflakeOptions
from fraud_mlops.warehouse.schema import for_snowflake, statements

DATASET = "motor"
MODEL, LATER_MODEL = "20240301-aaaa", "20240601-bbbb"
MONTHS = ("2024-04", "2024-05", "2024-06")
Row = tuple[str, str, str, float | None, float | None, float | None]


def kpis(claims: int, alerts: int, frauds: int, caught: int) -> list[Row]:
    """What a month of scores leaves; all alerts have a label, half of the claims."""
    found = {
        "rows": claims,
        "labelled": claims // 2,
        "frauds": frauds,
        "alerts": alerts,
        "labelled_alerts": alerts,
        "precision_of_alerts": caught / alerts,
        "recall_of_alerts": caught / frauds,
        "value_detected": 0.1 + 0.2,  # no short decimal
        "average_precision": 2 / 3,
    }
    return [("partition", "all", name, float(value), None, None) for name, value in found.items()]


def drift(psi: float, verdict: float | None, window: str = "drift_partition") -> list[Row]:
    """As a contract with wide limits judges it. verdict: None, as it was before there was one."""
    judged: list[Row] = [
        (window, "all", "psi_warn", 0.2, None, None),
        (window, "all", "psi_alert", 0.5, None, None),
        (window, "all", "verdict", verdict, None, None),
        (window, "feature=amount", "psi_noise", 0.02, None, None),
        (window, "feature=amount", "verdict", verdict, None, None),
    ]
    return [
        *(judged if verdict is not None else []),
        (window, "all", "classifier_auc", 0.61, None, None),
        (window, "all", "drifted_share", 0.25, None, None),
        (window, "feature=amount", "psi", psi, None, None),
        (window, "feature=amount", "missing_current", 0.0, None, None),
        (window, 'feature=it\'s; "odd" = ünï', "psi", 0.01, None, None),
    ]


def judged(window: str, value: float, low: float, high: float) -> list[Row]:
    return [(window, "all", "average_precision", value, low, high)]


@dataclass
class Lake:
    """A lakehouse with a metrics zone."""

    root: Path

    @property
    def lakehouse(self) -> Lakehouse:
        return Lakehouse(str(self.root))

    def put(
        self,
        value: str,
        rows: Sequence[Row],
        *,
        key: str = "month",
        model: str = MODEL,
        dataset: str = DATASET,
        without: str | None = None,
    ) -> Partition:
        """without: a column that it lacks."""
        names = ("window", "slice", "metric", "value", "low", "high")
        usual = {"dataset": dataset, "partition": value, "model_version": model}
        table = pa.Table.from_pylist(
            [usual | dict(zip(names, row, strict=True)) for row in rows], schema=METRICS
        )
        if without is not None:
            table = table.drop_columns(without)
        return self.lakehouse.write(
            "metrics", dataset, key, value, table.to_batches(), table.schema
        )

    def fill(self) -> None:
        """Three months: the last of them of a later model, and drifted; the first as an old version
        wrote it, without a verdict."""
        self.put(
            MONTHS[0], [*kpis(100, 10, 8, 4), *drift(0.15, None), *judged("oot", 0.7, 0.6, 0.8)]
        )
        self.put(
            MONTHS[1],
            [*kpis(200, 20, 10, 5), *drift(0.3, 0), *judged("after_oot", 0.5, 0.4, 0.55)],
        )
        self.put(MONTHS[2], [*kpis(300, 30, 12, 6), *drift(0.3, 2)], model=LATER_MODEL)


def table_of(warehouse: Warehouse, dataset: str = DATASET) -> list[tuple[Any, ...]]:
    """All that the warehouse holds of a dataset, in order."""
    with warehouse.session() as session:
        return session.execute(
            'SELECT "PARTITION_KEY", "WINDOW_NAME", "SLICE", "METRIC", "MODEL_VERSION", '
            f'"METRIC_VALUE", "INTERVAL_LOW", "INTERVAL_HIGH" FROM {warehouse.tables.metrics} '
            'WHERE "DATASET" = ? ORDER BY 1, 2, 3, 4, 5',
            [dataset],
        )


def zone_of(lake: Lake, dataset: str = DATASET) -> list[tuple[Any, ...]]:
    """The same of the lakehouse."""
    table = lake.lakehouse.read(lake.lakehouse.partitions("metrics", dataset))
    names = ("partition", "window", "slice", "metric", "model_version", "value", "low", "high")
    rows = zip(*(table[name].to_pylist() for name in names), strict=True)
    return sorted(rows, key=lambda row: [part.encode() for part in row[:5]])


def answer(warehouse: Warehouse, sql: str, *values: object) -> list[tuple[Any, ...]]:
    with warehouse.session() as session:
        return session.execute(sql, values)


_numbers = itertools.count(1)
# What an emulator of tables has no objects for. The documented way to have fakesnow pass over it.
NO_OBJECTS = ["CREATE WAREHOUSE", "CREATE ROLE", "GRANT"]


def snowflake_options(port: int, **given: Any) -> SnowflakeOptions:
    """A database of its own on the server behind `port`."""
    usual: dict[str, Any] = {
        "account": "test-account",
        "user": "loader",
        "password": SecretStr("s3cret-w0rd"),
        "warehouse": "FRAUD_WH",
        "database": f"FRAUD_{os.getpid()}_{next(_numbers)}",
        "schema": "METRICS",
        "tables": Tables(),
        "host": "127.0.0.1",
        "port": port,
        "protocol": "http",
        "network_seconds": 4,
    }
    return SnowflakeOptions(**usual | given)


def variables(options: SnowflakeOptions) -> dict[str, str]:
    """The environment that says the same."""
    assert options.password is not None
    return {
        "SNOWFLAKE_ACCOUNT": options.account,
        "SNOWFLAKE_USER": options.user,
        "SNOWFLAKE_PASSWORD": options.password.get_secret_value(),
        "SNOWFLAKE_WAREHOUSE": options.warehouse,
        "SNOWFLAKE_DATABASE": options.database,
        "SNOWFLAKE_SCHEMA": options.schema,
        "SNOWFLAKE_HOST": "127.0.0.1",
        "SNOWFLAKE_PORT": str(options.port),
        "SNOWFLAKE_PROTOCOL": "http",
    }


def run_schema(options: SnowflakeOptions) -> list[str]:
    """infra/snowflake/schema.sql as an administrator would run it, a statement at a time."""
    from snowflake.connector import connect

    given = options.further() | {"session_parameters": {"nop_regexes": NO_OBJECTS}}
    administrator = {"account": options.account, "user": "admin", "password": "x"}
    made = statements(for_snowflake(options))
    with connect(**administrator, **given) as connection, connection.cursor() as cursor:
        for statement in made:
            cursor.execute(statement)
    return made


@contextmanager
def fakesnow_server() -> Iterator[int]:
    """Its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("snow_server.py")), str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(port, process)
        yield port
    finally:
        process.terminate()
        process.wait(20)


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None, "fakesnow has ended"
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError("fakesnow does not answer")


def end_session(port: int, authorization: str) -> None:
    """As Snowflake ends the session of a client that is gone: its transaction is rolled back."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/session?delete=true",
        data=json.dumps({}).encode(),
        headers={"Authorization": authorization},
    )
    with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310 - likewise
        assert response.status == 200
