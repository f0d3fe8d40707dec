"""Whoever is killed, and whatever the network does: each content is there once, and whole."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from snow_proxy import Proxy
from warehouse_kit import (
    DATASET,
    MONTHS,
    Lake,
    end_session,
    kpis,
    table_of,
    variables,
    zone_of,
)

from fraud_mlops.errors import WarehouseError, WarehouseUnavailable
from fraud_mlops.lakehouse.partitions import Lakehouse, Partition
from fraud_mlops.warehouse.columns import rows_of
from fraud_mlops.warehouse.duckdb_engine import DuckDBWarehouse
from fraud_mlops.warehouse.engine import Held, Warehouse
from fraud_mlops.warehouse.marks import mark_of
from fraud_mlops.warehouse.moving import Move, Overtaken, drop
from fraud_mlops.warehouse.names import Tables
from fraud_mlops.warehouse.options import SnowflakeOptions
from fraud_mlops.warehouse.parity import compare
from fraud_mlops.warehouse.snowflake_engine import SnowflakeWarehouse
from fraud_mlops.warehouse.sync import SyncResult, sync

# In the second partition: rows staged, its turn taken, rows merged, rows deleted, watermark
# written; and the first partition committed, with the second untouched.
POINTS = {
    "staged": ("SELECT COUNT(*)", 2),
    "its turn taken": ('UPDATE "FRAUD_MODEL_METRICS_LOCK"', 2),
    "merged": ("MERGE", 2),
    "marked": ('INSERT INTO "FRAUD_MODEL_METRICS_SYNC"', 2),
    "committed": ("COMMIT", 1),
}


def killed(lake: Lake, where: str, start: str, number: int, **environment: str) -> None:
    script = Path(__file__).with_name("killed_sync.py")
    done = subprocess.run(
        [sys.executable, str(script), str(lake.root), where, start, str(number)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


def moved(done: SyncResult) -> list[str]:
    return [p.partition for p in done.partitions if p.moved]


@pytest.mark.parametrize("point", POINTS)
def test_a_sync_that_is_killed_is_gone_on_with_duckdb(
    lake: Lake, tmp_path: Path, point: str
) -> None:
    file = tmp_path / "killed.duckdb"
    killed(lake, str(file), *POINTS[point])
    warehouse = DuckDBWarehouse(file, Tables())
    behind = compare(lake.lakehouse, warehouse, DATASET)  # reads what was left as it was left
    assert [one.partition for one in behind.differences] == list(MONTHS[1:])
    assert {row[0] for row in table_of(warehouse)} == {MONTHS[0]}
    assert moved(sync(lake.lakehouse, warehouse, DATASET)) == list(MONTHS[1:])
    assert table_of(warehouse) == zone_of(lake)


@pytest.mark.parametrize("point", ["staged", "merged", "marked", "committed"])
def test_a_sync_that_is_killed_is_gone_on_with_snowflake(
    lake: Lake, snow: Proxy, options: SnowflakeOptions, point: str
) -> None:
    before = len(snow.sessions)
    killed(lake, "snowflake", *POINTS[point], **variables(options))
    for authorization in snow.sessions[before:]:
        end_session(snow.target, authorization)
    warehouse = SnowflakeWarehouse(options)
    assert {row[0] for row in table_of(warehouse)} == {MONTHS[0]}
    assert moved(sync(lake.lakehouse, warehouse, DATASET)) == list(MONTHS[1:])
    assert table_of(warehouse) == zone_of(lake)


def test_two_syncs_at_once_end_as_one(lake: Lake, warehouse: Warehouse) -> None:
    found: list[SyncResult] = []
    failed: list[Exception] = []
    ready = threading.Barrier(2)

    def one() -> None:
        try:
            ready.wait(10)
            found.append(sync(lake.lakehouse, warehouse, DATASET))
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=one) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert failed == []
    assert table_of(warehouse) == zone_of(lake)
    written = [partition for done in found for partition in moved(done)]
    assert sorted(written) == sorted(MONTHS)  # by one or the other, never by both


def test_a_partition_that_another_sync_has_renewed_is_looked_at_again(
    lake: Lake, warehouse: Warehouse
) -> None:
    """Old content that was read before never replaces new content that is there."""
    sync(lake.lakehouse, warehouse, DATASET)
    old = lake.put(MONTHS[0], kpis(1, 1, 1, 1))
    rows = rows_of(old, lake.lakehouse.read([old]))
    lake.put(MONTHS[0], kpis(2, 1, 1, 1))
    with warehouse.session() as session:
        seen = mark_of(session, warehouse.tables, DATASET, MONTHS[0])
        sync(lake.lakehouse, warehouse, DATASET)
        with pytest.raises(Overtaken):
            Move(warehouse, old, "late", seen).make(session, rows)
    assert table_of(warehouse) == zone_of(lake)


class Late(Lakehouse):
    """Between its listing and what comes after it, somebody else writes and syncs a partition."""

    def __init__(self, lake: Lake, warehouse: Warehouse, month: str) -> None:
        super().__init__(str(lake.root))
        self.lake, self.warehouse, self.month = lake, warehouse, month

    def partitions(self, *asked: Any, **more: Any) -> list[Partition]:
        found = super().partitions(*asked, **more)
        self.lake.put(self.month, kpis(2, 1, 1, 1))
        sync(self.lake.lakehouse, self.warehouse, DATASET)
        return found


def test_what_another_sync_has_written_since_the_listing_is_not_pruned(
    lake: Lake, warehouse: Warehouse
) -> None:
    sync(Late(lake, warehouse, "2024-07"), warehouse, DATASET, prune=True)
    assert table_of(warehouse) == zone_of(lake)
    assert "2024-07" in {row[0] for row in table_of(warehouse)}


def test_what_another_sync_has_renewed_since_its_mark_was_read_is_not_pruned(
    lake: Lake, warehouse: Warehouse
) -> None:
    sync(lake.lakehouse, warehouse, DATASET)
    with warehouse.session() as session:
        seen = mark_of(session, warehouse.tables, DATASET, MONTHS[0])
        assert seen is not None
        sync(lake.lakehouse, warehouse, DATASET, force=True)
        with pytest.raises(Overtaken):
            drop(session, warehouse, "late", DATASET, MONTHS[0], seen)
    assert table_of(warehouse) == zone_of(lake)


def test_a_commit_whose_answer_is_lost_counts_once(
    lake: Lake, snow: Proxy, options: SnowflakeOptions
) -> None:
    snow.lose = ["COMMIT"]
    done = sync(lake.lakehouse, SnowflakeWarehouse(options), DATASET)
    assert snow.lose == []
    assert moved(done) == list(MONTHS)
    assert table_of(SnowflakeWarehouse(options)) == zone_of(lake)


@pytest.mark.parametrize("asked", [None, MONTHS])
def test_a_removal_whose_answer_is_lost_is_a_removal(
    lake: Lake, snow: Proxy, options: SnowflakeOptions, asked: tuple[str, ...] | None
) -> None:
    warehouse = SnowflakeWarehouse(options)
    sync(lake.lakehouse, warehouse, DATASET)
    for listed in lake.lakehouse.listed("metrics", DATASET):
        (lake.root / listed.uri).unlink()
    lake.put("2024-01", kpis(2, 1, 1, 1), dataset="other")
    snow.lose = ["COMMIT"]
    done = sync(lake.lakehouse, warehouse, DATASET, partitions=asked, prune=True)
    assert snow.lose == []
    assert (done.gone, done.pruned, table_of(warehouse)) == (MONTHS, MONTHS, [])


def test_rows_that_arrive_twice_in_the_staging_table_are_sent_again(
    lake: Lake, snow: Proxy, options: SnowflakeOptions
) -> None:
    """The connector repeats a request whose answer it has lost."""
    snow.lose = ['INSERT INTO "FRAUD_MODEL_METRICS_STAGE"']
    said: list[str] = []
    sync(lake.lakehouse, SnowflakeWarehouse(options), DATASET, say=said.append)
    assert snow.lose == []
    assert re.match(r"2024-04: (\d+) rows arrived of (\d+)\nTrying again", said[0])
    assert table_of(SnowflakeWarehouse(options)) == zone_of(lake)


def test_what_comes_out_otherwise_than_it_went_in_is_not_kept(
    lake: Lake, snow: Proxy, options: SnowflakeOptions
) -> None:
    """As behind a masking policy, which changes what is read and not what is written."""
    warehouse = SnowflakeWarehouse(options)
    snow.mask = {'"METRIC_VALUE", "INTERVAL_LOW"': 'ROUND("METRIC_VALUE", 1), "INTERVAL_LOW"'}
    with pytest.raises(WarehouseError, match=r"came out as.*masking or a row access policy"):
        sync(lake.lakehouse, warehouse, DATASET)
    snow.mask = {}
    assert table_of(warehouse) == []
    sync(lake.lakehouse, warehouse, DATASET)
    assert table_of(warehouse) == zone_of(lake)


def test_a_session_that_cannot_roll_back_is_ended(
    lake: Lake, snow: Proxy, options: SnowflakeOptions, environment: Callable[..., None]
) -> None:
    """Its next statement might commit what was not to be kept."""
    environment(FRAUD_STORE_RETRIES=0)
    before = len(snow.sessions)
    snow.mask = {'"METRIC_VALUE", "INTERVAL_LOW"': 'ROUND("METRIC_VALUE", 1), "INTERVAL_LOW"'}
    snow.refuse = {"ROLLBACK": {"data": {}, "code": "3001", "message": "no", "success": False}}
    with pytest.raises(WarehouseUnavailable, match=r"(?s)came out as.*could not be rolled back"):
        sync(lake.lakehouse, SnowflakeWarehouse(options), DATASET)
    assert snow.statements[-1] == "ROLLBACK"
    for authorization in snow.sessions[before:]:  # fakesnow lets no connector end one
        end_session(snow.target, authorization)


def test_a_server_that_is_busy_is_tried_again(
    lake: Lake, snow: Proxy, options: SnowflakeOptions
) -> None:
    snow.busy = 2
    sync(lake.lakehouse, SnowflakeWarehouse(options), DATASET)
    assert snow.busy == 0
    assert compare(lake.lakehouse, SnowflakeWarehouse(options), DATASET).holds


def test_who_has_the_file_open_is_told_at_once_and_waited_for(lake: Lake, tmp_path: Path) -> None:
    file = tmp_path / "held.duckdb"
    holder = subprocess.Popen(
        [sys.executable, "-c", f"import duckdb; c = duckdb.connect({str(file)!r}); input('open')"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert holder.stdout is not None
        assert holder.stdout.read(4) == b"open"
        impatient = DuckDBWarehouse(file, Tables(), wait_seconds=0.3)
        who = rf"process {holder.pid} \(python[\d.]*\)"
        for ask in (sync, compare):
            said: list[str] = []
            with pytest.raises(Held, match=f"{who} still has it open after 0.3 s; close it there"):
                ask(lake.lakehouse, impatient, DATASET, say=said.append)
            assert len(said) == 1  # not begun again: it has been waited for
            assert re.search(f"{who} has it open.*Waiting up to 0.3 s; close it there", said[0])
        waiting = DuckDBWarehouse(file, Tables(), wait_seconds=20)
        sync(lake.lakehouse, waiting, DATASET, say=lambda _: holder.kill())
    finally:
        holder.kill()
        holder.communicate()
    assert table_of(DuckDBWarehouse(file, Tables())) == zone_of(lake)
