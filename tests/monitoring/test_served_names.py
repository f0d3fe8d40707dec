"""Answers of the model that the batch scored with, under whatever name it gave them, against what
it made of its training claims."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa

from fraud_mlops.limits import Drift
from fraud_mlops.monitoring.served import BatchClaims, served_report

MOMENT, END = datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 2, 1, tzinfo=UTC)


def nobody(claim_ids: pa.ChunkedArray) -> pa.ChunkedArray:
    return claim_ids.slice(0, 0)


def test_answers_are_the_models_under_every_name_it_had() -> None:
    answers = pa.table({
        "claim_id": ["a", "b", "c"], "event_time": [MOMENT] * 3,
        "model_version": ["now", "before", "another"],
        "score": [0.1, 0.2, 0.3], "alert": [False, True, False],
    })  # fmt: skip
    batch = BatchClaims(
        claim_ids=pa.chunked_array([["a", "b", "c"]]),
        times=np.array(["2024-01-01"] * 3, "datetime64[us]"),
        labels=np.array([0.0, 1.0, np.nan]),
        scores=np.array([0.1, 0.2, 9.0]),
        alerts=np.array([False, True, True]),
        amounts=None,
        end=END,
        earlier=nobody,
    )
    for versions, own in ((("now",), 1), (("now", "before"), 2)):
        report = served_report(
            answers, batch, versions=versions, training=None, limits=Drift(), period="month"
        )
        assert report is not None
        assert report.by_model == own
        assert report.same_scores == 1.0


def test_answers_on_claims_scored_later_are_not_held_against_the_batchs_scores() -> None:
    """They have other histories by nature, and count in how the model did."""
    later = datetime(2024, 2, 9, tzinfo=UTC)
    answers = pa.table({
        "claim_id": ["a", "b", "c"], "event_time": [MOMENT, later, later],
        "model_version": ["now"] * 3,
        "score": [0.1, 5.0, 6.0], "alert": [False, True, True],
    })  # fmt: skip
    batch = BatchClaims(
        claim_ids=pa.chunked_array([["a", "b", "c"]]),
        times=np.array(["2024-01-01"] * 3, "datetime64[us]"),
        labels=np.array([0.0, 1.0, 1.0]),
        scores=np.array([0.1, 0.2, 0.3]),
        alerts=np.array([False, False, False]),
        amounts=None,
        end=END,
        earlier=nobody,
    )
    report = served_report(
        answers, batch, versions=["now"], training=None, limits=Drift(), period="month"
    )
    assert report is not None
    assert (report.matched, report.compared, report.unmatched) == (3, 1, 0)
    assert (report.same_scores, report.same_decisions, report.most_apart) == (1.0, 1.0, 0.0)
    assert report.performance is not None
    assert report.performance.alerts == 2


def test_answers_unlike_the_scores_of_training_have_drifted_from_them() -> None:
    draws = np.random.default_rng(0)
    training, now = draws.normal(0, 1, 5_000), draws.normal(2, 1, 800)
    names = [f"c{i}" for i in range(len(now))]
    alert = [False] * len(now)
    answers = pa.table({
        "claim_id": names, "event_time": [MOMENT] * len(now),
        "model_version": ["now"] * len(now), "score": now, "alert": alert,
    })  # fmt: skip
    batch = BatchClaims(
        claim_ids=pa.chunked_array([names]),
        times=np.array(["2024-01-01"] * len(now), "datetime64[us]"),
        labels=np.zeros(len(now)),
        scores=now,
        alerts=np.array(alert),
        amounts=None,
        end=END,
        earlier=nobody,
    )
    report = served_report(
        answers, batch, versions=("now",), training=training, limits=Drift(), period="month"
    )
    assert report is not None
    assert report.against_training is not None
    assert report.against_training.psi > 1
    assert report.against_batch is not None
    assert report.against_batch.psi < 0.01


def test_only_ids_of_no_claim_of_the_partition_are_looked_for_before_it() -> None:
    asked: list[list[str]] = []

    def before(claim_ids: pa.ChunkedArray) -> pa.ChunkedArray:
        asked.append(claim_ids.to_pylist())
        return pa.chunked_array([["old"]])

    def unmatched(*claim_ids: str | None) -> int:
        rows = len(claim_ids)
        answers = pa.table({
            "claim_id": pa.array(claim_ids, pa.string()), "event_time": [MOMENT] * rows,
            "model_version": ["now"] * rows, "score": [0.1] * rows, "alert": [False] * rows,
        })  # fmt: skip
        batch = BatchClaims(
            claim_ids=pa.chunked_array([["a"]]),
            times=np.array(["2024-01-01"], "datetime64[us]"),
            labels=np.array([0.0]),
            scores=np.array([0.1]),
            alerts=np.array([False]),
            amounts=None,
            end=END,
            earlier=before,
        )
        report = served_report(
            answers, batch, versions=["now"], training=None, limits=Drift(), period="month"
        )
        assert report is not None
        return report.unmatched

    assert unmatched("a", None, "a") == 0
    assert asked == []
    assert unmatched("a", "old", "lost", "lost", None) == 2
    assert asked == [["old", "lost"]]
