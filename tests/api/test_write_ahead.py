"""The write-ahead file of the prediction log gives back every whole entry, wherever it was cut."""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from api_kit import DATASET, Published, as_sent, open_server
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from limited import no_file_larger_than

from fraud_mlops.lakehouse.partitions import Lakehouse
from fraud_mlops.serving.logged import read_predictions
from fraud_mlops.serving.prediction_log import PredictionLog, flush
from fraud_mlops.serving.records import SCHEMA
from fraud_mlops.serving.waiting_files import left_behind, waiting_folder
from fraud_mlops.serving.write_ahead import as_frame, as_lines, read_entries

AT = 1_767_398_340_000_000


def a_record(name: str) -> tuple[Any, ...]:
    return (
        name, None, AT, AT, "champion", "v", 0.5, 0.6, True, None, "hash", ["amount", "é\n"], "s",
        "desk",
    )  # fmt: skip


def a_batch(names: list[str]) -> pa.RecordBatch:
    columns = zip(*map(a_record, names), strict=True)
    arrays = [pa.array(c, field.type) for c, field in zip(columns, SCHEMA, strict=True)]
    return pa.record_batch(arrays, schema=SCHEMA)


entries = st.lists(st.tuples(st.booleans(), st.integers(1, 3)), min_size=1, max_size=6)


@given(entries, st.floats(0, 1))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_file_that_is_cut_anywhere_has_all_entries_before_it(
    tmp_path: Path, kinds: list[tuple[bool, int]], cut: float
) -> None:
    data, ends = b"", {0: 0}
    written: list[str] = []
    for in_columns, rows in kinds:
        names = [f"{len(written) + i}" for i in range(rows)]
        if in_columns:
            data += as_frame(a_batch(names))
        else:
            for i, name in enumerate(names[:-1], 1):
                data += as_lines([a_record(name)])
                ends[len(data)] = len(written) + i
            data += as_lines([a_record(names[-1])])
        written += names
        ends[len(data)] = len(written)
    at = round(cut * len(data))
    (tmp_path / "cut.wal").write_bytes(data[:at])
    found = [
        name
        for batch in read_entries(tmp_path / "cut.wal")
        for name in batch.column("request_id").to_pylist()
    ]
    whole = max(rows for end, rows in ends.items() if end <= at)
    # The last byte of a line is its end, which a record can do without.
    assert found in (written[:whole], written[: whole + 1])
    assert len(found) == whole or at + 1 in ends


RUBBISH = (b"\x00\xff", b"{}", b"[1, 2]", b'{"arrow":3}extra', b'{"role":"champion"}')


@pytest.mark.parametrize("rubbish", RUBBISH)
def test_what_is_no_record_takes_no_other_with_it(tmp_path: Path, rubbish: bytes) -> None:
    before, after = as_lines([a_record("a"), a_record("b")]), as_lines([a_record("c")])
    (tmp_path / "odd.wal").write_bytes(before + rubbish + b"\n" + after + as_frame(a_batch(["d"])))
    found = pa.Table.from_batches(read_entries(tmp_path / "odd.wal"))
    expected = pa.Table.from_batches([a_batch(["a", "b", "c", "d"])])
    assert found.equals(expected)


def other_columns() -> bytes:
    sink, other = pa.BufferOutputStream(), pa.record_batch({"a": [1]})
    with pa.ipc.new_stream(sink, other.schema) as writer:
        writer.write_batch(other)
    data = sink.getvalue().to_pybytes()
    return b'{"arrow":%d}\n' % len(data) + data


@pytest.mark.parametrize(
    "damage", [b'{"arrow":100}\n' + b"\0" * 100, other_columns(), b'{"role":"champion"}\n']
)
def test_a_damaged_entry_stops_no_other_and_is_kept(tmp_path: Path, damage: bytes) -> None:
    lake = Lakehouse(str(tmp_path / "lake"))
    folder = waiting_folder(tmp_path / "log", lake, DATASET)
    folder.mkdir(parents=True)
    left = as_frame(a_batch(["a"])) + damage + as_lines([a_record("b")])
    (folder / "20250101T000000-1-abc.wal").write_bytes(left)
    log = PredictionLog(lake, DATASET, tmp_path / "log", flush_seconds=0.1, sync_seconds=0.05)
    log.write([a_record("c")])
    log.close()
    found = read_predictions(lake, DATASET).column("request_id").to_pylist()
    assert sorted(found) == ["a", "b", "c"]
    (kept,) = folder.iterdir()
    assert kept.name == "20250101T000000-1-abc.wal.damaged"
    assert kept.read_bytes() == left


def test_a_file_that_cannot_be_opened_keeps_no_other_waiting(tmp_path: Path) -> None:
    lake = Lakehouse(str(tmp_path / "lake"))
    folder = waiting_folder(tmp_path / "log", lake, DATASET)
    (folder / "20250101T000000-1-abc.wal").mkdir(parents=True)
    log = PredictionLog(lake, DATASET, tmp_path / "log", flush_seconds=0.1, sync_seconds=0.05)
    log.write([a_record("c")])
    log.close()
    assert read_predictions(lake, DATASET).num_rows == 1
    assert len(list(folder.iterdir())) == 1


def test_records_of_one_lakehouse_never_go_to_another(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Staging's API ended while its store was away; production's is started in that folder."""
    folder, root = tmp_path / "log", tmp_path / "staging"
    staging, production = Lakehouse(str(root)), Lakehouse(str(tmp_path / "production"))
    root.write_text("no folder: every flush fails")
    left = PredictionLog(staging, DATASET, folder)
    left.write([a_record("staging's")])
    left.close()
    log = PredictionLog(production, DATASET, folder)
    log.write([a_record("production's")])
    log.close()
    found = read_predictions(production, DATASET).column("request_id").to_pylist()
    assert found == ["production's"]
    assert f"in {waiting_folder(folder, staging, DATASET)} are of another lakehouse" in caplog.text
    root.unlink()
    PredictionLog(staging, DATASET, folder).close()
    assert read_predictions(staging, DATASET).column("request_id").to_pylist() == ["staging's"]
    assert list(folder.rglob("*.wal")) == []


def test_files_of_a_version_that_did_not_say_of_which_lakehouse_stay_and_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lake, old = Lakehouse(str(tmp_path / "lake")), tmp_path / "log" / DATASET / "old.wal"
    old.parent.mkdir(parents=True)
    old.write_bytes(as_lines([a_record("old")]))
    PredictionLog(lake, DATASET, tmp_path / "log").close()
    assert read_predictions(lake, DATASET).num_rows == 0
    own = waiting_folder(tmp_path / "log", lake, DATASET)
    assert f"1 files in {old.parent}" in caplog.text
    assert f"move them into {own}" in caplog.text
    old.rename(own / old.name)
    PredictionLog(lake, DATASET, tmp_path / "log").close()
    assert read_predictions(lake, DATASET).column("request_id").to_pylist() == ["old"]


def test_an_older_versions_lines_are_taken_over(tmp_path: Path) -> None:
    old = b"".join(json.dumps(a_record(name)).encode() + b"\n" for name in "ab")
    (tmp_path / "old.wal").write_bytes(old + as_lines([a_record("c")]))
    found = pa.Table.from_batches(read_entries(tmp_path / "old.wal"))
    assert found.equals(pa.Table.from_batches([a_batch(["a", "b", "c"])]))


def test_what_a_full_disk_does_not_take_spoils_nothing(tmp_path: Path) -> None:
    lake = Lakehouse(str(tmp_path / "lake"))
    log = PredictionLog(lake, DATASET, tmp_path / "log", flush_seconds=3600)
    log.write([a_record("before")])
    (wal,) = waiting_folder(tmp_path / "log", lake, DATASET).glob("*.wal")
    with no_file_larger_than(wal.stat().st_size + 20):
        with pytest.raises(OSError, match="too large"):
            log.write_batch(a_batch(["lost"]))
        with pytest.raises(OSError, match="too large"):
            log.write([a_record("lost")])
    log.write([a_record("after")])
    log.write_batch(a_batch(["more", "and more"]))
    log.close()
    found = read_predictions(lake, DATASET).column("request_id").to_pylist()
    assert sorted(found) == ["after", "and more", "before", "more"]


def test_where_nothing_was_scored_nothing_is_written(tmp_path: Path) -> None:
    lake = Lakehouse(str(tmp_path / "lake"))
    log = PredictionLog(lake, DATASET, tmp_path / "log", flush_seconds=3600)
    (wal,) = waiting_folder(tmp_path / "log", lake, DATASET).glob("*.wal")
    log.write([])
    log.write_batch(a_batch(["x"]).slice(1))
    assert wal.read_bytes() == b""
    log.close()
    assert read_predictions(lake, DATASET).num_rows == 0


def test_a_batch_is_logged_as_its_claims_would_be_one_by_one(
    own: Published, tmp_path: Path
) -> None:
    claims = as_sent(own.recent(days=2), own.features)
    with open_server(own, tmp_path, process=True) as server:
        for claim in claims:
            assert server.score(claim).status_code == 200
        body = b"".join(json.dumps(claim).encode() + b"\n" for claim in claims)
        media = {"Content-Type": "application/x-ndjson"}
        told = server.post("/v1/score/batch?reasons=all", data=body, headers=media)
        assert told.status_code == 200
    rows = read_predictions(own.lake, DATASET).sort_by("scored_at").to_pylist()
    one_by_one, batch = rows[: len(claims)], rows[len(claims) :]
    batch.sort(key=lambda row: int(row["request_id"].rpartition("-")[2]))
    assert [row["claim_id"] for row in batch] == [row["claim_id"] for row in one_by_one]
    asked = batch[0]["request_id"].rpartition("-")[0]
    assert [row["request_id"] for row in batch] == [f"{asked}-{i}" for i in range(len(claims))]
    for alone, beside in zip(one_by_one, batch, strict=True):
        for name in ("score", "probability"):
            assert beside.pop(name) == pytest.approx(alone.pop(name), abs=1e-6)
        for name in ("request_id", "scored_at"):
            del alone[name], beside[name]
        assert beside == alone


def test_a_file_that_another_worker_takes_before_it_is_locked_is_not_written_into(
    tmp_path: Path,
) -> None:
    lake, stop = Lakehouse(str(tmp_path / "lake")), threading.Event()

    def another_worker() -> None:
        while not stop.is_set():
            for path, held in left_behind(waiting_folder(tmp_path / "log", lake, DATASET)):
                with held:
                    flush(lake, DATASET, path)

    worker, interval = threading.Thread(target=another_worker), sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    worker.start()
    try:
        for i in range(80):
            log = PredictionLog(lake, DATASET, tmp_path / "log", sync_seconds=0.001)
            log.write([a_record(f"{i}")])
            log.close()
    finally:
        sys.setswitchinterval(interval)
        stop.set()
        worker.join()
    assert read_predictions(lake, DATASET).num_rows == 80
