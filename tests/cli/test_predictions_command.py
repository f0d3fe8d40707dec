"""`predictions`: what the API has answered, for whoever has no Python at hand."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fraud_mlops.serving.logged import logged_days, read_predictions
from fraud_mlops.serving.prediction_log import PredictionLog
from fraud_mlops.serving.records import SCHEMA, Record

DATASET = "motor"
FIRST = datetime(2026, 1, 30, 8, tzinfo=UTC)


def answer(i: int, at: datetime) -> Record:
    moment = int(at.timestamp() * 1e6)
    told = (f"r{i}", f"C{i}", moment, moment, "champion", "v1", i / 2, i / 10, i > 2, 1.25)
    return (*told, "0" * 64, ["amount", "peril"] if i > 2 else [], "s1", "claims-desk")


@pytest.fixture
def answered(shell, tmp_path: Path) -> Callable[..., str]:
    log = PredictionLog(shell.lake, DATASET, tmp_path / "waiting")
    log.write([answer(0, FIRST)])
    log.write([answer(i, FIRST + timedelta(days=1, minutes=i)) for i in range(1, 5)])
    log.close()
    return lambda *more: shell.says("predictions", "--dataset", DATASET, *more)


def test_the_newest_days_answers_are_shown_the_latest_last(answered) -> None:
    text = answered()
    assert [line.split()[2] for line in text.splitlines() if "claims-desk" in line] == [
        "C1", "C2", "C3", "C4",
    ]  # fmt: skip
    assert "2026-01-31 08:04:00" in text
    assert "4 of 4 answers of 2026-01-31" in text


def test_another_day_only_alerts_or_fewer_are_shown_when_asked_for(answered) -> None:
    assert "1 of 1 answer of 2026-01-30" in answered("--day", "2026-01-30")
    text = answered("--alerts", "--last", "1")
    assert "C4" in text
    assert "C3" not in text
    assert "1 of 4 answers" in text


def test_a_day_without_answers_is_told_with_those_that_have_some(shell, answered) -> None:
    text = shell.fails("predictions", "--dataset", DATASET, "--day", "2025-01-01")
    assert "has no day '2025-01-01', only 2026-01-30 to 2026-01-31" in text
    assert "no answer is logged" in shell.fails("predictions", "--dataset", "other")


def test_a_file_that_is_none_of_the_logs_is_told_by_its_address(shell, answered) -> None:
    half = shell.root / "prediction_log" / DATASET / "day=2026-01-31" / "half.parquet"
    half.write_bytes(b"PAR1")
    assert "half.parquet: is no file of the" in shell.fails("predictions", "--dataset", DATASET)


def test_the_documentation_names_every_column(shell, answered) -> None:
    table = read_predictions(shell.lake, DATASET, ("2026-01-30", "2026-01-30"))
    assert table.schema == SCHEMA
    assert table["claim_id"].to_pylist() == ["C0"]
    assert logged_days(shell.lake, DATASET) == ["2026-01-30", "2026-01-31"]
    page = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
    log = page.partition("## Prediction log")[2].partition("## Running it")[0]
    assert [name for name in SCHEMA.names if f"`{name}`" not in log] == []
