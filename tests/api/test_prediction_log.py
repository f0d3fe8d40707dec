"""Every score that was given is found again in the lakehouse, whatever becomes of the process."""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from api_kit import DATASET, Published, Server, as_sent, open_server

from fraud_mlops.lakehouse.partitions import Lakehouse
from fraud_mlops.registry.pointers import set_challenger, withdraw
from fraud_mlops.serving.logged import read_predictions
from fraud_mlops.serving.prediction_log import (
    PredictionLog,
    flush,
    pause,
)
from fraud_mlops.serving.records import SCHEMA
from fraud_mlops.serving.shadow import in_share
from fraud_mlops.serving.waiting_files import ours_to_count, waiting_folder
from fraud_mlops.serving.write_ahead import as_lines

AT = int(datetime(2026, 1, 2, 23, 59, tzinfo=UTC).timestamp() * 1e6)


def a_record(name: str, scored_at: int = AT) -> tuple[Any, ...]:
    return (
        name, "CLM-1", AT, scored_at, "champion", "v", 0.5, 0.6, True, 0.1, "hash", ["amount"],
        None, "desk",
    )  # fmt: skip


def logged(lake: Lakehouse) -> pa.Table:
    return read_predictions(lake, DATASET)


def given(server: Server, claims: list[dict[str, Any]]) -> dict[str, Any]:
    return {(told := server.score(claim).json())["request_id"]: told for claim in claims}


def test_what_was_answered_is_in_the_log_after_a_clean_stop(
    own: Published,
    tmp_path: Path,
) -> None:
    claims = as_sent(own.recent(days=2), own.features)
    with open_server(own, tmp_path, process=True) as server:
        answers = given(server, claims)
        batch = b"{}\n{}\n"
        server.post("/v1/score/batch", data=batch, headers={"Content-Type": "application/x-ndjson"})
    found = logged(own.lake)
    assert found.schema.equals(SCHEMA, check_metadata=False)
    assert found.num_rows == len(claims) + 2
    for row in found.to_pylist():
        if row["request_id"] not in answers:
            continue
        told = answers[row["request_id"]]
        for name in ("claim_id", "score", "probability", "alert", "model_version"):
            assert row[name] == told[name]
        assert row["reasons"] == [reason["feature"] for reason in told["reasons"]]
        assert (row["client"], row["role"], len(row["features_sha256"])) == ("open", "champion", 32)
    assert list((tmp_path / "waiting").rglob("*.wal")) == []


def test_a_stop_waits_for_a_store_that_comes_back(tmp_path: Path) -> None:
    lake, folder = Lakehouse(str(tmp_path / "lake")), tmp_path / "waiting"
    in_the_way = tmp_path / "lake" / "prediction_log"
    in_the_way.parent.mkdir()
    in_the_way.touch()
    log = PredictionLog(lake, DATASET, folder)
    log.write([a_record("kept")])
    back = threading.Timer(1, in_the_way.unlink)
    back.start()
    log.close()
    assert logged(lake)["request_id"].to_pylist() == ["kept"]
    assert list(folder.rglob("*.wal")) == []


def test_a_stop_that_cannot_wait_longer_says_what_stays_and_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("fraud_mlops.serving.prediction_log.CLOSE_SECONDS", 0.5)
    lake, folder = Lakehouse(str(tmp_path / "lake")), tmp_path / "waiting"
    in_the_way = tmp_path / "lake" / "prediction_log"
    in_the_way.parent.mkdir()
    in_the_way.touch()
    log = PredictionLog(lake, DATASET, folder)
    log.write([a_record("a"), a_record("b")])
    log.close()
    told = [one for one in caplog.records if one.levelname == "ERROR"]
    assert len(told) == 1
    assert f"2 records stay in {waiting_folder(folder, lake, DATASET)}" in told[0].getMessage()
    in_the_way.unlink()
    PredictionLog(lake, DATASET, folder).close()
    assert sorted(logged(lake)["request_id"].to_pylist()) == ["a", "b"]


def test_what_was_made_up_to_see_what_would_change_is_no_answer_on_a_claim(
    own: Published, tmp_path: Path
) -> None:
    """Else what the page tries, later than its answer, would be what the claim was decided by."""
    claim = {"claim_id": "CLM-1", "amount": 90000}
    lines = {"Content-Type": "application/x-ndjson"}
    with open_server(own, tmp_path) as server:
        counted = counters(server)
        server.post("/v1/score/batch?what_if=true", data=json.dumps(claim), headers=lines)
        told = server.post("/v1/score?what_if=true", json=claim)
        assert server.post("/v1/score?what_if=1", json=claim).status_code == 422
        assert server.post("/v1/score?whatif=true", json=claim).status_code == 422
        assert counters(server) == counted
    assert told.json()["claim_id"] == "CLM-1"
    rows = logged(own.lake).to_pylist()
    assert [(row["role"], row["claim_id"]) for row in rows] == [("what_if", None)] * 2


def counters(server: Server) -> list[str]:
    names = ("fraud_claims_scored_total", "fraud_claim_warnings_total")
    return [line for line in server.get("/metrics").text.splitlines() if line.startswith(names)]


def test_no_personal_field_is_in_it(own: Published, tmp_path: Path) -> None:
    claim = own.claim()
    with open_server(own, tmp_path) as server:
        server.score(claim)
    text = str(logged(own.lake).to_pylist())
    for entity in ("policyholder", "provider", "agent"):
        assert claim[entity] not in text


def test_a_killed_server_loses_no_answered_claim(
    own: Published,
    tmp_path: Path,
) -> None:
    claims = as_sent(own.recent(days=2), own.features)
    with open_server(own, tmp_path, process=True) as server:
        answers = given(server, claims)
        server.process.kill()
        server.process.wait()
    assert logged(own.lake).num_rows == 0
    with open_server(own, tmp_path) as server:
        server.until(lambda: logged(own.lake).num_rows > 0)
    assert set(logged(own.lake)["request_id"].to_pylist()) == set(answers)


def test_the_log_is_flushed_while_the_server_runs(
    own: Published,
    tmp_path: Path,
) -> None:
    with open_server(own, tmp_path, FRAUD_API_FLUSH_ROWS="2") as server:
        given(server, [own.claim()] * 3)
        server.until(lambda: logged(own.lake).num_rows >= 2)
        assert server.get("/readyz").status_code == 200


def test_the_challenger_looks_on_beside_the_requests(
    own: Published,
    tmp_path: Path,
) -> None:
    second = own.versions["second"]
    set_challenger(own.models, DATASET, second, by="test", reason="test")
    claims = as_sent(own.recent(days=2), own.features)
    with open_server(own, tmp_path, FRAUD_API_SHADOW_SHARE="0.5") as server:
        answers = given(server, claims)
        assert {told["model_version"] for told in answers.values()} == {own.versions["first"]}
        for claim in claims[:8]:
            server.post("/v1/score?what_if=true", json=claim)
    rows = logged(own.lake).to_pylist()
    shadow = {row["request_id"]: row for row in rows if row["role"] == "challenger"}
    assert set(shadow) == {name for name in answers if in_share(name, 0.5)}
    assert 0 < len(shadow) < len(answers)
    for row in shadow.values():
        assert row["model_version"] == second
        expected = own.score_of("second", row["claim_id"])
        assert row["probability"] == pytest.approx(expected["probability"], abs=1e-6)
    withdraw(own.models, DATASET, second, role="challenger", by="test", reason="test")


def test_a_flush_that_was_killed_half_way_is_repeated_without_a_double(tmp_path: Path) -> None:
    lake = Lakehouse(str(tmp_path / "lake"))
    path = tmp_path / "20260101T000000-1-abc.wal"
    log = PredictionLog(lake, DATASET, tmp_path / "log", flush_seconds=0.1, sync_seconds=0.05)
    log.write([a_record("a"), a_record("b", AT + 120_000_000)])
    (wal,) = waiting_folder(tmp_path / "log", lake, DATASET).glob("*.wal")
    path.write_bytes(wal.read_bytes() + b'["cut of')
    log.close()
    before = logged(lake).num_rows
    for _ in range(2):
        path_again = path.with_name("20260101T000000-1-abd.wal")
        path_again.write_bytes(path.read_bytes())
        assert flush(lake, DATASET, path_again) == 2
    assert logged(lake).num_rows == before == 2  # the same answers in another file count once
    days = sorted((tmp_path / "lake" / "prediction_log" / DATASET).iterdir())
    assert [day.name for day in days] == ["day=2026-01-02", "day=2026-01-03"]
    assert [len(list(day.iterdir())) for day in days] == [2, 2]  # the log's own, and the repeated
    assert read_predictions(lake, DATASET, ("2026-01-03", "2026-01-03")).num_rows == 1


def test_writers_at_once_lose_nothing_while_the_store_comes_and_goes(tmp_path: Path) -> None:
    root = tmp_path / "lake"
    root.write_text("no folder: every flush fails")
    log = PredictionLog(
        Lakehouse(str(root)), DATASET, tmp_path / "log", flush_seconds=0.05, sync_seconds=0.02
    )

    def write(thread: int) -> None:
        for i in range(200):
            log.write([a_record(f"{thread}-{i}")])

    threads = [threading.Thread(target=write, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    time.sleep(0.2)
    root.unlink()
    log.close()
    found = logged(Lakehouse(str(root)))
    assert len(set(found["request_id"].to_pylist())) == found.num_rows == 800


def test_what_a_store_that_is_away_has_not_got_is_counted(tmp_path: Path) -> None:
    root, failures = tmp_path / "lake", []
    root.write_text("no folder: every flush fails")
    log = PredictionLog(
        Lakehouse(str(root)), DATASET, tmp_path / "log", flush_seconds=0.05, sync_seconds=0.02,
        failed=lambda: failures.append(1),
    )  # fmt: skip
    log.write([a_record("a"), a_record("b")])
    deadline = time.monotonic() + 30
    while not failures:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    log.write([a_record("c")])
    assert log.waiting == 3
    root.unlink()
    log.close()
    assert log.waiting == 0
    assert logged(Lakehouse(str(root))).num_rows == 3


def test_what_processes_that_are_gone_have_left_is_counted_and_told_of_at_a_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("fraud_mlops.serving.prediction_log.CLOSE_SECONDS", 0.5)
    root, folder = tmp_path / "lake", tmp_path / "log"
    root.write_text("no folder: every flush fails")
    lake = Lakehouse(str(root))
    there = waiting_folder(folder, lake, DATASET)
    there.mkdir(parents=True)
    for name, records in (("19990101T000000-1-a", "ab"), ("19990101T000000-2-b", "c")):
        (there / f"{name}.wal").write_bytes(as_lines([a_record(one) for one in records]))
    log = PredictionLog(lake, DATASET, folder, sync_seconds=0.02)
    deadline = time.monotonic() + 30
    while log.waiting < 3:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    log.write([a_record("d")])
    assert log.waiting == 4
    log.close()
    (told,) = [one.getMessage() for one in caplog.records if one.levelname == "ERROR"]
    assert f"4 records stay in {there}" in told
    root.unlink()
    again = PredictionLog(lake, DATASET, folder)
    again.close()
    assert (again.waiting, logged(lake).num_rows) == (0, 4)


def test_of_several_workers_one_counts_what_was_left(tmp_path: Path) -> None:
    """Its metric is the sum over all of them."""
    by_5, by_7 = tmp_path / "t-5-open.wal", tmp_path / "t-7-open.wal"
    for name in ("5-closed", "7-closed", "7-of-one-before", "6-gone", "99-gone"):
        (tmp_path / f"t-{name}.wal").touch()
    with by_5.open("xb") as one, by_7.open("xb") as other:
        for held in (one, other):
            fcntl.flock(held, fcntl.LOCK_EX)
        first = {path.stem for path in ours_to_count(tmp_path, by_5)}
        second = {path.stem for path in ours_to_count(tmp_path, by_7)}
    assert first == {"t-5-closed", "t-6-gone", "t-99-gone"}
    assert second == {"t-7-closed", "t-7-of-one-before"}


def test_a_file_that_is_being_flushed_is_of_nobody_who_lives(tmp_path: Path) -> None:
    own, flushed = tmp_path / "t-7-open.wal", tmp_path / "t-5-gone.wal"
    for path in (own, flushed):
        path.touch()
    with flushed.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert ours_to_count(tmp_path, own) == []
        assert ours_to_count(tmp_path, own, {flushed}) == [flushed]


def test_what_was_left_goes_over_to_a_worker_with_its_number_that_starts_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container that is begun again: its workers have the numbers of those before."""
    root, folder = tmp_path / "lake", tmp_path / "log"
    root.write_text("no folder: every flush fails")
    monkeypatch.setattr("fraud_mlops.serving.prediction_log.pause", lambda _: 0.02)
    lake = Lakehouse(str(root))
    there = waiting_folder(folder, lake, DATASET)
    there.mkdir(parents=True)
    later = os.getpid() + 1
    (there / f"19990101T000000-{later}-a.wal").write_bytes(as_lines([a_record("a")]))
    log = PredictionLog(lake, DATASET, folder, sync_seconds=0.02)
    within_30_s(lambda: log.waiting == 1)
    with (there / f"20000101T000000-{later}-b.wal").open("xb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        within_30_s(lambda: log.waiting == 0)
    root.unlink()
    log.close()


def within_30_s(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_store_that_is_away_for_days_is_tried_every_minute() -> None:
    assert [pause(n) for n in (1, 2, 5)] == [2, 4, 32]
    assert pause(6) == pause(1_024) == pause(100_000) == 60
