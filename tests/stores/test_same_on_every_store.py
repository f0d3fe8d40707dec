"""A lakehouse does the same on a folder, in memory, on S3 and on ADLS."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from registry_kit import DATASET, files, publish, write

from dagster_metaflow.ledger import LaunchRecord, Ledger, now
from dagster_metaflow.listing import list_reports, read_files
from dagster_metaflow.reports import Check, Materialization, read_reports, write_report
from dagster_metaflow.watcher import Watcher
from fraud_mlops.claims.quarantine import SCHEMA as QUARANTINED
from fraud_mlops.claims.quarantine import Quarantine
from fraud_mlops.errors import BundleError, LakehouseError, RegistryError
from fraud_mlops.lakehouse.partitions import Lakehouse, Partition
from fraud_mlops.lakehouse.stores import (
    delete,
    exists,
    list_children,
    list_files,
    open_input,
    read_bytes,
    write_bytes,
)
from fraud_mlops.registry.bundle import list_versions, load_bundle
from fraud_mlops.registry.going_back import rollback
from fraud_mlops.registry.pointers import (
    history,
    promote,
    read_pointer,
    set_challenger,
    withdraw,
)

SCHEMA = pa.schema([("claim_id", pa.string()), ("amount", pa.float64()), ("noise", pa.binary(64))])
MOVED = {"by": "Flow/1", "reason": "better"}


def claims(rows: int, start: int = 0) -> pa.Table:
    """What does not compress, so that sizes are what they seem."""
    noise = pa.py_buffer(np.random.default_rng(start).bytes(64 * rows))
    blocks = pa.FixedSizeBinaryArray.from_buffers(pa.binary(64), rows, [None, noise])
    numbers = pa.array(range(start, start + rows))
    ids = pc.binary_join_element_wise("c", numbers.cast(pa.string()), "")
    return pa.table([ids, numbers.cast(pa.float64()), blocks], schema=SCHEMA)


def large(seed: int = 0) -> pa.Table:
    """70 MB, so that Azure's client uploads it in blocks."""
    noise = pa.py_buffer(np.random.default_rng(seed).bytes(1000 * 70_000))
    return pa.table({"noise": pa.FixedSizeBinaryArray.from_buffers(pa.binary(1000), 70_000,
                                                                   [None, noise])})  # fmt: skip


def put(root: str, table: pa.Table, value: str = "2024-01") -> Partition:
    return Lakehouse(root).write("raw", "motor", "month", value, table.to_batches(), table.schema)


def test_partitions_are_written_listed_read_and_replaced(root: str) -> None:
    lake = Lakehouse(root)
    assert lake.partitions("raw", "motor") == []
    january, february = put(root, claims(5)), put(root, claims(3, 100), "2024-02")
    write_bytes(lake.uri("raw", "motor_two", "month=2024-01", "part-0.parquet"), b"of another")

    assert lake.partitions("raw", "motor") == [january, february]
    assert [(p.value, p.bytes) for p in lake.listed("raw", "motor")] == [
        ("2024-01", january.bytes), ("2024-02", february.bytes)]  # fmt: skip
    assert lake.read([january, february]).equals(pa.concat_tables([claims(5), claims(3, 100)]))
    lake.verify(january)

    again = put(root, claims(7))
    assert lake.partition("raw", "motor", "month", "2024-01") == again
    with pytest.raises(LakehouseError, match="another run has replaced the partition"):
        lake.read([january])
    with pytest.raises(LakehouseError, match=r"2024-03.*no such partition"):
        lake.partition("raw", "motor", "month", "2024-03")


def test_a_large_partition_is_read_by_the_columns_and_rows_that_are_asked_for(root: str) -> None:
    """About 12 MB in several row groups, more than comes in one request."""
    table = claims(300_000).drop_columns(["noise"])
    partition = put(root, table.append_column("i", pa.array(range(300_000))))
    lake = Lakehouse(root)
    assert lake.read([partition], ["i"])["i"].to_pylist() == list(range(300_000))
    late = list(lake.batches([partition], ["claim_id"], where=[("i", ">=", 299_990)]))
    assert [b.column_names for b in late] == [["claim_id"]]
    assert late[0]["claim_id"].to_pylist() == [f"c{i}" for i in range(299_990, 300_000)]
    assert sum(b.num_rows for b in lake.batches([partition])) == 300_000


def test_a_writer_that_fails_leaves_what_was_there(root: str) -> None:
    before = put(root, claims(5))

    def broken() -> Iterator[pa.RecordBatch]:
        yield from claims(1000).to_batches()
        raise OSError("source went away")

    with pytest.raises(OSError, match="source went away"):
        Lakehouse(root).write("raw", "motor", "month", "2024-01", broken(), SCHEMA)
    assert Lakehouse(root).partitions("raw", "motor") == [before]


def test_files_and_folders_come_and_go(root: str) -> None:
    uri = f"{root}/a/b/one.json"
    assert not exists(uri)
    assert list_children(f"{root}/a") == []
    assert list_files(f"{root}/a") == []
    with pytest.raises(FileNotFoundError):
        read_bytes(uri)
    delete(uri)

    write_bytes(uri, b"1")
    write_bytes(f"{root}/a/two.json", b"22")
    assert exists(uri)
    assert list_children(f"{root}/a") == ["b", "two.json"]
    assert [(f.path, f.bytes) for f in list_files(f"{root}/a")] == [
        ("b/one.json", 1),
        ("two.json", 2),
    ]
    with open_input(uri) as stream:
        assert (stream.read(), stream.read()) == (b"1", b"")
    delete(f"{root}/a")
    assert list_files(root) == []


def test_models_are_published_loaded_promoted_and_rolled_back(root: str) -> None:
    models = f"{root}/models"
    a, b = publish(models, "a"), publish(models, "b")
    assert {a, b} == set(list_versions(models, DATASET))
    assert load_bundle(models, DATASET, a).files == files(b"weights of a")
    write(models, files(b"weights of a"), a)  # a retry

    promote(models, DATASET, a, expected=None, **MOVED)
    set_challenger(models, DATASET, b, by="Flow/2", reason="hold")
    with pytest.raises(RegistryError, match=f"the champion is {a}"):
        promote(models, DATASET, b, expected=b, **MOVED)
    promote(models, DATASET, b, expected=a, **MOVED)
    assert read_pointer(models, DATASET, "challenger") is None
    assert rollback(models, DATASET, **MOVED).version == a
    set_challenger(models, DATASET, b, by="Flow/3", reason="hold")
    withdraw(models, DATASET, b, role="challenger", **MOVED)
    assert [(m.role, m.version) for m in history(models, DATASET)] == [
        ("champion", a), ("challenger", b), ("challenger", b), ("champion", b), ("champion", a),
        ("challenger", b), ("challenger", b),
    ]  # fmt: skip

    write_bytes(f"{models}/{DATASET}/{b}/weights.safetensors", b"tampered with")
    with pytest.raises(BundleError, match=r"weights\.safetensors"):
        promote(models, DATASET, b, expected=a, **MOVED)


def test_reports_are_written_found_and_read(root: str) -> None:
    made = [Materialization(data_version="1", partition="2024-01", metadata={"rows": 3})]
    checks = [Check(name="ok", passed=True)]

    def report_again() -> str:
        key = ["motor", "raw"]
        return write_report(root, "IngestFlow", "one", key, made, checks, run="IngestFlow/1")

    uri = report_again()
    assert uri.startswith(root)
    (report,) = read_reports(root, "IngestFlow", "one")
    assert [m["method"] for m in report.messages] == [
        "report_asset_materialization", "report_asset_check"]  # fmt: skip
    before = read_bytes(uri)
    report_again()
    assert read_bytes(uri) == before, "a retry that says the same writes nothing"

    (file,) = list_reports(root)
    assert read_files(root, [file]) == [before]


def test_launches_are_found_until_they_have_ended_well(root: str) -> None:
    ledger = Ledger(root)
    record = LaunchRecord(
        launch_id="abc-1", flow="IngestFlow", code_version="1", backend="local", handle={},
        dagster_run_id="d", chain="d", watcher=Watcher.this_process(), launched=now(),
    )  # fmt: skip
    ledger.begin(record)
    assert ledger.of_identity("IngestFlow", "abc") == [record]
    assert list_reports(root) == []
    done = record.model_copy(update={"outcome": "succeeded"})
    ledger.settle(done)
    assert ledger.of_identity("IngestFlow", "abc") == []
    assert ledger.record("IngestFlow", "abc-1") == done


def test_of_many_that_go_on_with_a_launch_at_once_one_does(root: str) -> None:
    ledger = Ledger(root)
    record = LaunchRecord(
        launch_id="abc-1", flow="IngestFlow", code_version="1", backend="local", handle={},
        dagster_run_id="d", chain="d", watcher=Watcher.this_process(), launched=now(), turn=1,
    )  # fmt: skip
    ledger.begin(record)
    them = [record.model_copy(update={"dagster_run_id": f"run-{n}"}) for n in range(8)]
    with ThreadPoolExecutor(8) as pool:
        holders = list(pool.map(ledger.take, them))
    (winner,) = [mine for mine, holder in zip(them, holders, strict=True) if holder is None]
    assert {h.dagster_run_id for h in holders if h} == {winner.dagster_run_id}
    assert ledger.take(record.model_copy(update={"turn": 2})) is None, "the next turn is free"
    ledger.settle(record.model_copy(update={"turn": 2, "outcome": "succeeded"}))
    assert ledger.take(record) is None, "nothing of it is left"


def test_bad_rows_are_kept_and_gone_when_a_retry_finds_none(root: str, tmp_path: Path) -> None:
    uri = f"{root}/quarantine/motor/one.parquet"
    bad = Quarantine(tmp_path / "bad.parquet")
    row = {"file": "a.csv", "row": 3, "column": "amount", "value": "x", "reason": "no number",
           "record": "{}"}  # fmt: skip
    bad._write([row])
    assert bad.publish(uri) == uri
    with open_input(uri) as stream:
        assert pq.read_table(stream).equals(pa.Table.from_pylist([row], schema=QUARANTINED))
    assert Quarantine(tmp_path / "none.parquet").publish(uri) is None
    assert not exists(uri)
