"""What `evaluate` says of a model, held against scikit-learn and against counting by hand."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fraud_mlops.errors import TrainingError
from fraud_mlops.evaluation.metrics import Ranking, equal_mass_bins, evaluate, ranking_metrics

quick = settings(max_examples=60, deadline=None)


@st.composite
def ranked_claims(draw: st.DrawFn, max_size: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Both classes, and scores of which many are equal."""
    n = draw(st.integers(2, max_size))
    labels = draw(st.lists(st.integers(0, 1), min_size=n, max_size=n))
    scores = draw(st.lists(st.integers(-5, 5), min_size=n, max_size=n))
    labels[0], labels[1] = 0, 1
    return np.array(labels, np.int8), np.array(scores, np.float32) / 4


@quick
@given(ranked_claims())
def test_ranking_metrics_are_those_of_scikit_learn(claims: tuple[np.ndarray, np.ndarray]) -> None:
    from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

    labels, scores = claims
    metrics = evaluate(labels, scores, budget=0.1)
    fpr, tpr, _ = roc_curve(labels, scores, drop_intermediate=False)
    assert metrics["average_precision"] == pytest.approx(average_precision_score(labels, scores))
    assert metrics["roc_auc"] == pytest.approx(roc_auc_score(labels, scores))
    assert metrics["recall_at_1pct_fpr"] == pytest.approx(tpr[fpr <= 0.01].max())
    assert metrics["recall_at_5pct_fpr"] == pytest.approx(tpr[fpr <= 0.05].max())
    assert metrics["prevalence"] == pytest.approx(labels.mean())


def test_they_agree_on_many_claims_without_ties_too() -> None:
    from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

    rng = np.random.default_rng(1)
    labels = rng.random(20_000) < 0.05
    scores = rng.normal(size=20_000) + labels
    metrics = evaluate(labels, scores, budget=0.05)
    fpr, tpr, _ = roc_curve(labels, scores, drop_intermediate=False)
    assert metrics["average_precision"] == pytest.approx(average_precision_score(labels, scores))
    assert metrics["roc_auc"] == pytest.approx(roc_auc_score(labels, scores))
    assert metrics["recall_at_5pct_fpr"] == pytest.approx(tpr[fpr <= 0.05].max())
    alerted = np.argsort(-scores)[:1000]
    assert metrics["precision_at_budget"] == pytest.approx(labels[alerted].mean())
    assert metrics["recall_at_budget"] == pytest.approx(labels[alerted].sum() / labels.sum())


@settings(max_examples=25, deadline=None)
@given(ranked_claims(max_size=6), st.sampled_from([0.34, 0.5, 0.84]))
def test_within_the_budget_equal_scores_count_by_their_mean_over_all_orders(
    claims: tuple[np.ndarray, np.ndarray], budget: float
) -> None:
    labels, scores = claims
    capacity = int(len(labels) * budget)
    found = [
        labels[np.array(order)][np.argsort(-scores[np.array(order)], kind="stable")][
            :capacity
        ].sum()
        for order in permutations(range(len(labels)))
    ]
    metrics = evaluate(labels, scores, budget=budget)
    assert metrics["recall_at_budget"] == pytest.approx(np.mean(found) / labels.sum())
    if capacity:
        assert metrics["precision_at_budget"] == pytest.approx(np.mean(found) / capacity)


def test_a_budget_of_29_percent_of_100_claims_is_29_claims() -> None:
    labels = np.arange(100) < 29
    metrics = evaluate(labels, -np.arange(100.0), budget=0.29)
    assert metrics["precision_at_budget"] == 1.0
    assert metrics["recall_at_budget"] == 1.0


def test_a_budget_below_one_claim_has_no_precision_and_finds_nothing() -> None:
    metrics = evaluate(np.array([1, 0, 0]), np.array([3.0, 2.0, 1.0]), budget=0.05)
    assert np.isnan(metrics["precision_at_budget"])
    assert metrics["recall_at_budget"] == 0.0


@pytest.mark.parametrize("labels", [np.zeros(4), np.ones(4), np.zeros(0)])
def test_what_one_class_cannot_tell_is_nan_and_no_error(labels: np.ndarray) -> None:
    scores = np.arange(float(len(labels)))
    metrics = evaluate(labels, scores, budget=0.5, probabilities=scores / 10)
    assert np.isnan(metrics["roc_auc"])
    assert np.isnan(metrics["recall_at_5pct_fpr"])
    if not labels.any():
        assert np.isnan(metrics["average_precision"])


@quick
@given(ranked_claims(), st.randoms(use_true_random=False))
def test_the_order_in_which_claims_come_does_not_matter(claims, random) -> None:
    labels, scores = claims
    order = np.array(random.sample(range(len(labels)), len(labels)))
    probabilities = 1 / (1 + np.exp(-scores))
    one = evaluate(labels, scores, budget=0.2, probabilities=probabilities)
    other = evaluate(labels[order], scores[order], budget=0.2, probabilities=probabilities[order])
    assert one == pytest.approx(other, nan_ok=True)


@quick
@given(ranked_claims(max_size=20), st.data())
def test_a_weighted_claim_counts_as_often_as_its_weight(claims, data) -> None:
    labels, scores = claims
    draws = st.lists(st.integers(0, 3), min_size=len(labels), max_size=len(labels))
    weights = np.array(data.draw(draws))
    ranking = Ranking(labels, scores)
    repeated = evaluate(np.repeat(labels, weights), np.repeat(scores, weights), budget=0.2)
    assert ranking_metrics(ranking.curve(weights[ranking.order]), 0.2) == pytest.approx(
        repeated, nan_ok=True
    )


def test_brier_and_calibration_error_come_only_with_probabilities() -> None:
    labels, scores = np.array([0, 1, 0, 1]), np.array([0.1, 0.9, 0.3, 0.4])
    assert not {"brier", "calibration_error"} & set(evaluate(labels, scores, budget=0.5))
    metrics = evaluate(labels, scores, budget=0.5, probabilities=scores)
    assert metrics["brier"] == pytest.approx((0.01 + 0.01 + 0.09 + 0.36) / 4)


def test_calibration_error_is_the_mean_gap_of_ten_bins_of_equal_mass() -> None:
    probabilities = np.repeat(np.linspace(0.05, 0.95, 10), 20)
    honest = np.concatenate([np.arange(20) < 20 * p for p in np.linspace(0.05, 0.95, 10)])
    assert evaluate(honest, probabilities, budget=0.1, probabilities=probabilities)[
        "calibration_error"
    ] == pytest.approx(0, abs=1e-12)
    boastful = np.clip(probabilities + 0.04, 0, 1)
    assert evaluate(honest, boastful, budget=0.1, probabilities=boastful)[
        "calibration_error"
    ] == pytest.approx(0.04)


def test_bins_hold_equally_many_claims_and_never_part_equal_probabilities() -> None:
    rng = np.random.default_rng(0)
    skewed = rng.beta(0.2, 4, 1000)
    assert np.bincount(equal_mass_bins(skewed)).tolist() == [100] * 10
    assert (np.diff(equal_mass_bins(skewed)[np.argsort(skewed)]) >= 0).all()
    rounded = np.round(skewed, 1)
    bins = equal_mass_bins(rounded)
    assert all(len(set(bins[rounded == value])) == 1 for value in np.unique(rounded))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_score_that_is_not_finite_is_named_a_diverged_model(bad: float) -> None:
    with pytest.raises(TrainingError, match=r"1 of 3 claims .* diverged"):
        evaluate(np.array([0, 1, 0]), np.array([0.0, bad, 1.0]), budget=0.5)


def test_scores_may_be_whole_numbers_without_a_sign() -> None:
    metrics = evaluate(np.array([0, 1, 0]), np.array([0, 2, 1], np.uint8), budget=0.5)
    assert metrics["average_precision"] == 1.0
