"""Partitions against plain pyarrow on the same store, listings, push-down, row-group sizes.

    python benchmarks/bench_lakehouse.py [--rows 500000] [--repeat 5] [--partitions 10000]

Plain pyarrow writes and reads the same rows through the same fsspec file system with the same
compression and its own defaults for all else; the two take turns, and medians are compared. Ours
also hashes the content, syncs it to disk and checks what it reads. S3 is moto's server, ADLS is
Azurite (where `azurite-blob` is on PATH), each in a process of its own on this machine.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from lake_servers import stores

from fraud_mlops.lakehouse import content
from fraud_mlops.lakehouse.parquet import batches_of, open_parquet
from fraud_mlops.lakehouse.partitions import Lakehouse, Partition
from fraud_mlops.lakehouse.remote_file import RemoteFile
from fraud_mlops.lakehouse.stores import filesystem
from fraud_mlops.sources import SyntheticSource
from fraud_mlops.synthetic import generate

DATASET = "claims"
SIZES = (1 << 14, 1 << 15, 1 << 16, 1 << 17, 1 << 18, 1 << 20)


def claims(rows: int) -> pa.Table:
    source = SyntheticSource(
        kind="synthetic", claims=rows, start=datetime(2022, 1, 1, tzinfo=UTC),
        end=datetime(2025, 1, 1, tzinfo=UTC),
    )  # fmt: skip
    return pa.Table.from_batches([chunk.claims for chunk in generate(source)])


def seconds(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def in_turns(one: Callable[[], Any], other: Callable[[], Any], repeat: int) -> tuple[float, float]:
    """Medians, after one unmeasured turn of each."""
    times = [(seconds(one), seconds(other)) for _ in range(repeat + 1)][1:]
    return statistics.median(t for t, _ in times), statistics.median(t for _, t in times)


def put(lake: Lakehouse, table: pa.Table, value: str = "2024-01") -> Partition:
    return lake.write("raw", DATASET, "month", value, table.to_batches(), table.schema)


def against_pyarrow(root: str, table: pa.Table, repeat: int) -> str:
    lake = Lakehouse(root)
    fs, path = filesystem(f"{root}/plain.parquet")
    partition = put(lake, table)
    size = partition.bytes / 2**20

    def plain_write() -> None:
        pq.write_table(table, path, filesystem=fs, compression="zstd")

    def plain_read() -> None:
        pq.read_table(path, filesystem=fs)

    wrote, plain_wrote = in_turns(lambda: put(lake, table), plain_write, repeat)
    read, plain_read_in = in_turns(lambda: lake.read([partition]), plain_read, repeat)
    return (
        f"| {size / wrote:,.0f} | {size / plain_wrote:,.0f} | **{plain_wrote / wrote:.0%}** "
        f"| {size / read:,.0f} | {size / plain_read_in:,.0f} | **{plain_read_in / read:.0%}** |"
    )


class Requests(logging.Handler):
    """Counts what the clients of S3 and ADLS say that they send."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.count = 0

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        self.count += text.startswith(("CALL:", "Request URL"))


@contextlib.contextmanager
def requests() -> Iterator[Requests]:
    counter = Requests()
    loggers = [
        (logging.getLogger("s3fs"), logging.DEBUG),
        (logging.getLogger("azure.core.pipeline.policies.http_logging_policy"), logging.INFO),
    ]
    for logger, level in loggers:
        logger.setLevel(level)
        logger.addHandler(counter)
        logger.propagate = False
    try:
        yield counter
    finally:
        for logger, _ in loggers:
            logger.removeHandler(counter)
            logger.setLevel(logging.WARNING)


def listing(root: str, count: int) -> str:
    lake, table = Lakehouse(f"{root}/many"), pa.table({"i": [1]})
    days = [f"{datetime(2000, 1, 1, tzinfo=UTC) + timedelta(i):%F}" for i in range(count)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda day: put(lake, table, day), days))
    with requests() as sent:
        took = seconds(lambda: lake.listed("raw", DATASET))
        listed = sent.count
    opened = seconds(lambda: lake.partitions("raw", DATASET))
    return f"| {took:.2f} | {listed or ''} | {opened:.1f} |"


@contextlib.contextmanager
def bytes_fetched() -> Iterator[list[int]]:
    counted, fetch = [0], RemoteFile._fetch

    def counting(file: RemoteFile, start: int, stop: int) -> bytes:
        found = fetch(file, start, stop)
        counted[0] += len(found)
        return found

    RemoteFile._fetch = counting  # type: ignore[method-assign,assignment]
    try:
        yield counted
    finally:
        RemoteFile._fetch = fetch  # type: ignore[method-assign]


def drain(
    lake: Lakehouse, partition: Partition, columns: list[str] | None, where: list[Any]
) -> None:
    for _ in lake.batches([partition], columns, where=where):
        pass


def push_down(root: str, table: pa.Table) -> list[str]:
    lake = Lakehouse(root)
    partition = put(lake, table.sort_by("event_time"), "2024-02")
    start = datetime(2023, 6, 1, tzinfo=UTC)
    month = [("event_time", ">=", start), ("event_time", "<", start + timedelta(30))]
    asked: list[tuple[str, list[str] | None, list[Any]]] = [
        ("everything", None, []),
        ("two columns", ["claim_id", "amount"], []),
        ("one month of three years", None, month),
        ("two columns of that month", ["claim_id", "amount"], month),
    ]
    lines = []
    for name, columns, where in asked:
        with bytes_fetched() as fetched:
            took = seconds(partial(drain, lake, partition, columns, where))
        share = fetched[0] / partition.bytes
        lines.append(f"| {name} | {fetched[0] / 2**20:.1f} | {share:.0%} | {took:.2f} |")
    return lines


def row_groups(root: str, table: pa.Table, repeat: int) -> list[str]:
    lake, ordered = Lakehouse(root), table.sort_by("event_time")
    start = datetime(2023, 6, 1, tzinfo=UTC)
    week = [("event_time", ">=", start), ("event_time", "<", start + timedelta(7))]
    usual, lines = content.ROW_GROUP, []
    try:
        for size in SIZES:
            content.ROW_GROUP = size
            write = statistics.median(seconds(lambda: put(lake, ordered)) for _ in range(repeat))
            partition = put(lake, ordered)
            work = partial(lake.read, [partition])
            read = statistics.median(seconds(work) for _ in range(repeat))
            with bytes_fetched() as fetched, open_parquet(partition.uri) as (parquet, stream):
                few = seconds(lambda: list(batches_of(parquet, stream, 1 << 17, None, week)))
            share = fetched[0] / partition.bytes
            mark = "**" if size == usual else ""
            lines.append(
                f"| {mark}{size:,}{mark} | {partition.bytes / 2**20:.1f} | {write:.2f} "
                f"| {read:.2f} | {few:.2f} | {share:.0%} |"
            )
    finally:
        content.ROW_GROUP = usual
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--partitions", type=int, default=10_000)
    parser.add_argument("--stores", nargs="+", default=["local", "s3", "adls"])
    given = parser.parse_args()
    table = claims(given.rows)
    print(
        f"{table.num_rows:,} rows of {table.num_columns} columns, load {os.getloadavg()[0]:.1f}\n"
    )
    with stores(given.stores) as roots:
        print("| store | write, MiB/s | plain pyarrow | | read, MiB/s | plain pyarrow | |")
        print("|---|---:|---:|---:|---:|---:|---:|")
        for name, root in roots.items():
            print(f"| {name} {against_pyarrow(root, table, given.repeat)}", flush=True)
        print(f"\n| store | {given.partitions:,} partitions listed, s | requests "
              "| each opened, s |\n|---|---:|---:|---:|")  # fmt: skip
        for name, root in roots.items():
            print(f"| {name} {listing(root, given.partitions)}", flush=True)
        remote = next((root for name, root in roots.items() if name != "local"), None)
        if remote is not None:
            print("\n| read | MiB fetched | of the object | s |\n|---|---:|---:|---:|")
            print("\n".join(push_down(remote, table)), flush=True)
            print("\n| rows a group | MiB | write, s | read, s | one week of three years, s "
                  "| of the object |\n|---|---:|---:|---:|---:|---:|")  # fmt: skip
            print("\n".join(row_groups(remote, table, max(1, given.repeat // 2))), flush=True)
    print(f"\nload at the end {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
