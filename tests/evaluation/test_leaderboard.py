"""Which candidate wins, and what the table in the terminal says of it."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from fraud_mlops.errors import TrainingError
from fraud_mlops.evaluation.leaderboard import Leaderboard, LeaderboardRow, rank_candidates


def row(name: str, ap: float = 0.5, auc: float = 0.8, brier: float = 0.05, **given: Any):
    metrics = {"average_precision": ap, "roc_auc": auc, "brier": brier}
    return LeaderboardRow(
        name=name, **({"family": "mlp", "status": "trained"} | given), metrics=metrics
    )


def failed(name: str, error: str) -> LeaderboardRow:
    return LeaderboardRow(name=name, family="tabm", status="failed", error=error)


def order(board: Leaderboard) -> list[tuple[int | None, str]]:
    return [(r.rank, r.name) for r in board.rows]


def test_the_highest_average_precision_wins() -> None:
    board = rank_candidates([row("a", 0.3, auc=0.9), row("b", 0.5, auc=0.7), row("c", 0.4)])
    assert order(board) == [(1, "b"), (2, "c"), (3, "a")]
    assert board.winner == "b"


def test_ties_go_by_roc_auc_then_lower_brier_then_name() -> None:
    rows = [
        row("d", 0.5, 0.8, 0.05),
        row("c", 0.5, 0.8, 0.05),
        row("b", 0.5, 0.8, 0.04),
        row("a", 0.5, 0.9, 0.06),
    ]
    assert [name for _, name in order(rank_candidates(rows))] == ["a", "b", "c", "d"]
    assert rank_candidates(rows) == rank_candidates(rows[::-1])


def test_an_incumbent_has_a_rank_but_does_not_win() -> None:
    board = rank_candidates([row("new", 0.4), row("v7", 0.6, status="incumbent")])
    assert order(board) == [(1, "v7"), (2, "new")]
    assert board.winner == "new"


def test_an_incumbent_that_was_trained_on_the_window_is_shown_without_a_rank() -> None:
    known = row("v7", 0.99, status="incumbent", in_sample=True)
    board = rank_candidates([known, failed("x", "no"), row("new", 0.4)])
    assert order(board) == [(1, "new"), (None, "v7"), (None, "x")]
    assert "incumbent, trained on this window" in board.to_text()


def test_how_each_candidate_ended_is_a_line() -> None:
    ended = row("a", 0.31234, train_seconds=12.4)
    assert ended.in_words == (
        "a (mlp): average precision 0.3123 on the validation window, trained in 12 s"
    )
    board = rank_candidates([ended, row("b", 0.4), failed("x", "Traceback\nMemoryError: 3 GiB")])
    assert board.in_words() == [
        "x (tabm) failed: MemoryError: 3 GiB",
        "b is the best of 2 candidates that were trained",
    ]


def test_a_failed_candidate_does_not_sink_the_others() -> None:
    board = rank_candidates([failed("bad", "Traceback\n  ...\nMemoryError: 3 GiB"), row("good")])
    assert board.winner == "good"
    assert order(board)[-1] == (None, "bad")
    assert "failed: MemoryError: 3 GiB" in board.to_text()


def test_when_none_was_trained_each_failure_is_told() -> None:
    rows = [failed("m1", "loss is nan"), failed("m2", "no memory"), row("v7", status="incumbent")]
    with pytest.raises(TrainingError, match=r"(?s)m1 \(tabm\): loss is nan.*m2.*no memory"):
        rank_candidates(rows)
    with pytest.raises(TrainingError, match="nothing to choose from"):
        rank_candidates([])


def test_metrics_that_are_not_defined_are_left_out_and_rank_last() -> None:
    undefined = row("a", float("nan"))
    assert "average_precision" not in undefined.metrics
    assert order(rank_candidates([undefined, row("b", 0.1)])) == [(1, "b"), (2, "a")]


def test_a_leaderboard_survives_json() -> None:
    best = row("a", float("nan"), params={"width": 32, "bins": [1, 2]}, seed=3, train_seconds=1.5)
    board = rank_candidates([best, failed("b", "no")])
    assert Leaderboard.model_validate_json(board.model_dump_json()) == board


def test_an_unknown_field_is_refused() -> None:
    with pytest.raises(ValidationError, match="auc"):
        LeaderboardRow(name="a", family="mlp", status="trained", auc=0.5)  # type: ignore[call-arg]


def test_the_table_is_aligned_and_marks_the_winner() -> None:
    board = rank_candidates(
        [
            row("tabm-1", 0.512345, train_seconds=12.34, rows_per_second=45678.9),
            row("a-much-longer-name", 0.4),
            failed("x", "y" * 200),
        ]
    )
    header, first, second, third = board.to_text().splitlines()
    assert first.split()[:5] == ["*1", "tabm-1", "mlp", "0.5123", "0.8000"]
    assert first.split()[5:] == ["-", "-", "-", "0.0500", "-", "12.3", "45,679"]
    ends = header.index("AP") + 2
    assert first[:ends].endswith("0.5123")
    assert second[:ends].endswith("0.4000")
    assert third[:ends].endswith("-")
    assert third.endswith("...")
    assert max(map(len, board.to_text().splitlines())) < 200
