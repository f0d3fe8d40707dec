"""The prediction log is kept in order by those who read it: a file a day, and not for ever."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from limited import no_file_opens

from fraud_mlops.errors import StoreError
from fraud_mlops.lakehouse.partitions import Lakehouse
from fraud_mlops.maintenance import predictions
from fraud_mlops.maintenance.predictions import tidy_predictions
from fraud_mlops.serving.logged import LoggedScores, read_predictions, readable
from fraud_mlops.serving.prediction_log import ZONE, PredictionLog
from fraud_mlops.serving.records import SCHEMA

NAME = "claims"
DAYS = [datetime(2026, 1, day, 12, tzinfo=UTC) for day in (1, 2, 3)]
NOW = datetime(2026, 1, 3, 18, tzinfo=UTC)
KEEP = timedelta(days=30)


def a_record(name: str, at: datetime) -> tuple[Any, ...]:
    moment = int(at.timestamp() * 1e6)
    return (
        name, f"CLM-{name}", moment, moment, "champion", "v", 0.5, 0.6, True, 0.1, "hash",
        ["amount"], None, "desk",
    )  # fmt: skip


@pytest.fixture
def lake(tmp_path: Path) -> Lakehouse:
    """Three files a day, as three servers have written them."""
    lakehouse = Lakehouse(str(tmp_path / "lake"))
    for server in range(3):
        log = PredictionLog(lakehouse, NAME, tmp_path / "waiting")
        log.write([a_record(f"{server}-{day.day}-{i}", day) for day in DAYS for i in range(2)])
        log.close()
    return lakehouse


def files(lakehouse: Lakehouse, day: datetime) -> list[str]:
    folder = Path(lakehouse.uri(ZONE, NAME, f"day={day:%Y-%m-%d}"))
    return sorted(path.name for path in folder.glob("*.parquet"))


def requests(lakehouse: Lakehouse) -> list[str]:
    return sorted(read_predictions(lakehouse, NAME)["request_id"].to_pylist())


def test_days_that_are_over_become_one_file_each(lake: Lakehouse) -> None:
    before = requests(lake)
    done = tidy_predictions(lake, NAME, keep=KEEP, now=NOW)
    assert [(d.day, d.files, d.rows) for d in done] == [("2026-01-01", 3, 6), ("2026-01-02", 3, 6)]
    assert [len(files(lake, day)) for day in DAYS] == [1, 1, 3]
    assert requests(lake) == before
    assert tidy_predictions(lake, NAME, keep=KEEP, now=NOW) == []


def test_what_is_past_its_retention_goes(lake: Lakehouse) -> None:
    done = tidy_predictions(lake, NAME, keep=timedelta(days=1), now=NOW)
    assert [(d.day, d.rows) for d in done] == [("2026-01-01", 0), ("2026-01-02", 6)]
    assert [len(files(lake, day)) for day in DAYS] == [0, 1, 3]


def test_a_compaction_that_was_killed_half_way_counts_nothing_twice(
    lake: Lakehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = requests(lake)

    def killed(uri: str) -> None:
        raise KeyboardInterrupt(uri)

    with monkeypatch.context() as patched:
        patched.setattr(predictions, "delete", killed)
        with pytest.raises(KeyboardInterrupt):
            tidy_predictions(lake, NAME, keep=KEEP, now=NOW)
    assert len(files(lake, DAYS[0])) == 4
    assert requests(lake) == before
    day = LoggedScores(lake, NAME).between(DAYS[0], DAYS[1])
    assert sorted(day["request_id"].to_pylist()) == [r for r in before if "-1-" in r]
    tidy_predictions(lake, NAME, keep=KEEP, now=NOW)
    assert len(files(lake, DAYS[0])) == 1
    assert requests(lake) == before


def test_answers_that_share_a_request_id_and_a_moment_are_each_kept(tmp_path: Path) -> None:
    lake = Lakehouse(str(tmp_path / "lake"))
    one = dict(zip(SCHEMA.names, a_record("job-1", DAYS[0]), strict=True))
    together = [{**one, "claim_id": None, "features_sha256": name} for name in ("a", "b", "c")]
    for _ in range(2):  # the second file is a copy, as a compaction leaves it that was killed
        log = PredictionLog(lake, NAME, tmp_path / "waiting")
        log.write([tuple(record.values()) for record in together])
        log.close()
    assert read_predictions(lake, NAME)["features_sha256"].to_pylist() == ["a", "b", "c"]
    assert LoggedScores(lake, NAME).between(DAYS[0], DAYS[1]).num_rows == 3
    tidy_predictions(lake, NAME, keep=KEEP, now=NOW)
    assert read_predictions(lake, NAME).num_rows == 3


def test_a_file_that_is_altered_meanwhile_is_not_brought_back(
    lake: Lakehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody erases a person while the day is being compacted."""
    erased = Path(lake.uri(ZONE, NAME, "day=2026-01-01", files(lake, DAYS[0])[0]))
    join = predictions.once

    def meanwhile(table: pa.Table) -> pa.Table:
        erased.unlink(missing_ok=True)
        return join(table)

    monkeypatch.setattr(predictions, "once", meanwhile)
    done = tidy_predictions(lake, NAME, keep=KEEP, now=NOW)
    assert [d.day for d in done] == ["2026-01-02"]
    assert len(requests(lake)) == 16
    assert len(files(lake, DAYS[0])) == 2


def half_a_file(whole: bytes) -> dict[str, bytes]:
    """Of what a copy that broke off leaves, and others put there."""
    other = io.BytesIO()
    pq.write_table(pa.table({"a": [1]}), other)
    middle = whole[:100] + bytes(200) + whole[300:]
    return {"cut": whole[:200], "empty": b"", "text": b"notes", "other": other.getvalue(),
            "damaged": middle}  # fmt: skip


def test_a_file_that_cannot_be_read_is_left_out_and_its_day_stays(lake: Lakehouse) -> None:
    folder = Path(lake.uri(ZONE, NAME, "day=2026-01-01"))
    whole, before = (folder / files(lake, DAYS[0])[0]).read_bytes(), requests(lake)
    put = half_a_file(whole)
    for name, content in put.items():
        (folder / f"{name}.parquet").write_bytes(content)
    log = LoggedScores(lake, NAME)
    found = log.between(DAYS[0], DAYS[1])["request_id"].to_pylist()
    assert sorted(found) == [r for r in before if "-1-" in r]
    assert log.unreadable == {f"day=2026-01-01/{name}.parquet" for name in put}
    done = tidy_predictions(lake, NAME, keep=KEEP, now=NOW)
    assert [d.day for d in done] == ["2026-01-02"]
    for name, content in put.items():
        path = folder / f"{name}.parquet"
        assert path.read_bytes() == content
        path.unlink()
    assert requests(lake) == before


def test_a_store_that_does_not_answer_is_no_file_that_cannot_be_read() -> None:
    def silent() -> None:
        raise StoreError("s3://lake: does not answer")

    with pytest.raises(StoreError):
        readable("s3://lake/a.parquet", silent)


def test_what_the_machine_cannot_read_is_no_broken_file(lake: Lakehouse) -> None:
    """Too many files are open, say: the log is whole, and its figures would be wrong."""
    log = LoggedScores(lake, NAME)
    with no_file_opens(), pytest.raises(StoreError, match="Too many open files"):
        log.between(DAYS[0], DAYS[1])
    assert not log.unreadable
    assert log.between(DAYS[0], DAYS[1]).num_rows == 6


@pytest.mark.parametrize("error", [pa.ArrowMemoryError("malloc"), OSError(5, "I/O error")])
def test_a_disk_or_a_memory_that_fails_while_a_file_is_read_is_told(error: Exception) -> None:
    def failing() -> None:
        raise error

    with pytest.raises(type(error)) as told:
        readable("/lake/a.parquet", failing)
    assert told.value is error
