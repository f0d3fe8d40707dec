"""What a reader of the lakehouse may rely on: whole partitions, pinned by their content."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from fraud_mlops.errors import LakehouseError
from fraud_mlops.lakehouse.partitions import Lakehouse, Partition
from fraud_mlops.lakehouse.periods import partition_value
from fraud_mlops.lakehouse.stores import absolute

SCHEMA = pa.schema(
    [("claim_id", pa.string()), ("amount", pa.float64()), ("why", pa.list_(pa.string()))]
)


def claims(rows: int, start: int = 0) -> pa.Table:
    ids = [f"c{i}" for i in range(start, start + rows)]
    amounts = [None if i % 7 == 0 else i / 3 for i in range(start, start + rows)]
    why = [[f"r{i % 5}"] * (i % 3) for i in range(start, start + rows)]
    return pa.table([ids, amounts, why], schema=SCHEMA)


def write(lake: Lakehouse, table: pa.Table, value: str = "2024-01", **extra: object) -> Partition:
    return lake.write("raw", "motor", "month", value, table.to_batches(), SCHEMA, **extra)  # type: ignore[arg-type]


@pytest.fixture(params=["local", "memory"])
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Lakehouse:
    return Lakehouse(str(tmp_path) if request.param == "local" else f"memory://{tmp_path.name}")


def test_what_was_written_is_read_back_and_listed(lake: Lakehouse) -> None:
    february = write(lake, claims(3, 100), "2024-02")
    january = write(lake, claims(5), "2024-01")

    assert lake.partitions("raw", "motor") == [january, february]
    assert lake.read([january, february]).equals(pa.concat_tables([claims(5), claims(3, 100)]))
    assert lake.read([january], ["amount"]).column_names == ["amount"]
    assert [b.num_rows for b in lake.batches([january], batch_rows=2)] == [2, 2, 1]


def test_an_empty_zone_has_no_partition(lake: Lakehouse) -> None:
    assert lake.partitions("raw", "motor") == []
    with pytest.raises(LakehouseError, match="no partition to read"):
        lake.read([])


def test_any_parquet_reader_understands_a_partition(tmp_path: Path) -> None:
    write(Lakehouse(str(tmp_path)), claims(5))
    path = tmp_path / "raw" / "motor" / "month=2024-01" / "part-0.parquet"
    assert (
        pq.read_table(path, partitioning=None)["claim_id"].to_pylist()
        == claims(5)["claim_id"].to_pylist()
    )


def test_a_partition_says_which_run_wrote_it_but_its_version_is_its_content(
    lake: Lakehouse,
) -> None:
    first = write(lake, claims(50), metadata={"run": "Flow/1"})
    assert lake.metadata(first)["run"] == "Flow/1"

    again = write(lake, claims(50), metadata={"run": "Flow/2", "more": "x"})
    assert again.data_version == first.data_version
    assert lake.metadata(again)["run"] == "Flow/2"
    assert write(lake, claims(50, 1)).data_version != first.data_version


@hypothesis_settings(max_examples=15, deadline=None)
@given(cuts=st.lists(st.integers(0, 300_000), max_size=8))
def test_the_version_does_not_depend_on_how_rows_were_batched(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int]
) -> None:
    lake = Lakehouse(str(tmp_path_factory.mktemp("lake")))
    schema = pa.schema([("n", pa.int64()), ("t", pa.string())])
    numbers = np.arange(300_000)
    table = pa.table([numbers, pa.array(numbers % 10).cast(pa.string())], schema=schema)
    edges = [0, *sorted(cuts), len(numbers)]
    pieces = [
        batch
        for low, high in pairwise(edges)
        for batch in table.slice(low, high - low).to_batches()
    ]
    cut = lake.write("raw", "cut", "month", "2024-01", pieces, schema)
    whole = lake.write("raw", "whole", "month", "2024-01", table.to_batches(), schema)
    assert cut.data_version == whole.data_version
    lake.verify(cut)


def test_reading_a_partition_that_another_run_replaced_is_refused(lake: Lakehouse) -> None:
    pinned = write(lake, claims(5))
    write(lake, claims(6))
    with pytest.raises(LakehouseError, match="another run has replaced the partition"):
        lake.read([pinned])


def test_a_damaged_partition_is_found(tmp_path: Path) -> None:
    lake = Lakehouse(str(tmp_path))
    partition = write(lake, claims(500))
    path = Path(partition.uri)
    content = bytearray(path.read_bytes())
    content[200] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(LakehouseError, match="does not match its data version"):
        lake.verify(partition)

    path.write_bytes(bytes(content[:-20]))
    with pytest.raises(LakehouseError, match="damaged or truncated Parquet"):
        lake.read([partition])

    path.unlink()
    with pytest.raises(LakehouseError, match="no such partition"):
        lake.read([partition])


def test_a_writer_that_fails_leaves_what_was_there(lake: Lakehouse) -> None:
    before = write(lake, claims(5))

    def broken() -> Iterator[pa.RecordBatch]:
        yield from claims(200_000).to_batches()
        raise OSError("source went away")

    with pytest.raises(OSError, match="source went away"):
        lake.write("raw", "motor", "month", "2024-01", broken(), SCHEMA)
    assert lake.partitions("raw", "motor") == [before]
    assert lake.read([before]).num_rows == 5


def _write_for_ever(root: str) -> None:
    def endless() -> Iterator[pa.RecordBatch]:
        while True:
            yield from claims(50_000).to_batches()

    Lakehouse(root).write("raw", "motor", "month", "2024-01", endless(), SCHEMA)


def test_a_killed_writer_leaves_what_was_there_and_the_next_one_tidies_up(tmp_path: Path) -> None:
    lake = Lakehouse(str(tmp_path))
    before = write(lake, claims(5))
    folder = Path(before.uri).parent
    process = multiprocessing.get_context("spawn").Process(
        target=_write_for_ever, args=(lake.root,)
    )
    process.start()
    deadline = time.monotonic() + 60
    while len(list(folder.iterdir())) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()

    assert len(list(folder.iterdir())) == 2, "the killed writer had begun a temporary file"
    assert lake.read(lake.partitions("raw", "motor")).num_rows == 5
    write(lake, claims(7))
    assert [p.name for p in folder.iterdir()] == ["part-0.parquet"]


def test_sorted_rows_become_one_partition_a_value(lake: Lakehouse) -> None:
    rows = [("a", b) for b in claims(3).to_batches()] + [
        ("b", b) for b in claims(4, 3).to_batches()
    ]
    written = lake.write_sorted("raw", "motor", "month", rows, SCHEMA)
    assert [(p.value, p.rows) for p in written] == [("a", 3), ("b", 4)]
    with pytest.raises(LakehouseError, match="rows of a are not together"):
        lake.write_sorted("raw", "motor", "month", [*rows, rows[0]], SCHEMA)


def test_partition_values_are_days_mondays_and_months() -> None:
    times = pa.array(
        [datetime(2024, 1, 31, 23, 59, tzinfo=UTC), datetime(2024, 2, 5, tzinfo=UTC)],
        pa.timestamp("us", "UTC"),
    )
    assert partition_value(times, "day").to_pylist() == ["2024-01-31", "2024-02-05"]
    assert partition_value(times, "week").to_pylist() == ["2024-01-29", "2024-02-05"]
    assert partition_value(times, "month").to_pylist() == ["2024-01", "2024-02"]


@pytest.mark.parametrize("value", ["../elsewhere", "/etc", "a/../../b"])
def test_a_name_cannot_leave_the_root(lake: Lakehouse, value: str) -> None:
    with pytest.raises(LakehouseError, match="not a name under"):
        lake.uri("raw", value)


@pytest.mark.parametrize(
    ("address", "mend"),
    [
        ("abfss:/claims@account/lake", "abfss://CONTAINER@ACCOUNT"),
        ("abfs://", "abfss://CONTAINER@ACCOUNT"),
        ("ABFSS://claims@account.dfs.core.windows.net/lake", "abfss://CONTAINER@ACCOUNT"),
        ("wasbs://claims@account.blob.core.windows.net/lake", "abfss://CONTAINER@ACCOUNT"),
        ("s3:/bucket/lake", "s3://BUCKET"),
    ],
)
def test_a_mistyped_address_is_no_folder_of_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str, mend: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LakehouseError, match=mend):
        Lakehouse(address).partitions("raw", "motor")
    with pytest.raises(LakehouseError, match=mend):
        absolute(address)
    assert list(tmp_path.iterdir()) == []


def test_a_store_whose_client_is_missing_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "fraud_mlops.lakehouse.adls", raising=False)
    monkeypatch.setitem(sys.modules, "adlfs", None)  # as on a machine without the extra
    with pytest.raises(LakehouseError, match=r"pip install 'fraud-mlops\[azure\]'"):
        Lakehouse("abfss://lake@account.dfs.core.windows.net/x").partitions("raw", "motor")


def test_values_have_a_dictionary_where_they_repeat_themselves(tmp_path: Path) -> None:
    rows = 3000
    table = pa.table(
        {
            "claim_id": [f"c{n}" for n in range(rows)],
            "peril": ["hail", "theft", None] * (rows // 3),
            "reasons": [["amount", "age"]] * rows,
            "unknown": pa.nulls(rows),
            "amount": pa.array(range(rows), pa.float64()),
            "age": pa.array([30.0, 40.0] * (rows // 2)),
        }
    )
    lake = Lakehouse(str(tmp_path))
    written = lake.write("raw", "claims", "month", "2024-01", table.to_batches(), table.schema)
    group = pq.ParquetFile(written.uri).metadata.row_group(0)
    columns = [group.column(n) for n in range(group.num_columns)]
    with_dictionary = {c.path_in_schema for c in columns if c.has_dictionary_page}
    assert with_dictionary == {"peril", "reasons.list.element", "unknown", "age"}
    assert lake.read([written]).equals(table)


def test_a_writer_is_not_stopped_by_who_removes_empty_folders(tmp_path: Path) -> None:
    """As expiry does behind a partition that is gone."""
    lake, ended = Lakehouse(str(tmp_path)), threading.Event()
    folder = tmp_path / "raw/motor/month=2024-01"

    def remove() -> None:
        while not ended.is_set():
            with suppress(OSError):
                folder.rmdir()
            time.sleep(0.001)

    thread = threading.Thread(target=remove)
    thread.start()
    try:
        for _ in range(300):
            partition = write(lake, claims(1))
            assert lake.partitions("raw", "motor") == [partition]
            Path(partition.uri).unlink()
    finally:
        ended.set()
        thread.join()
