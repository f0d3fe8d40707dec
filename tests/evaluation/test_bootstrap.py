"""How sure a metric is."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from fraud_mlops.errors import SplitError
from fraud_mlops.evaluation.bootstrap import Interval, bootstrap_intervals, paired_gain
from fraud_mlops.evaluation.metrics import evaluate


def scored(n: int, seed: int = 0, strength: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """A fifth of the claims is fraud, their scores higher by `strength` standard deviations."""
    rng = np.random.default_rng(seed)
    labels = rng.random(n) < 0.2
    return labels, rng.normal(size=n) + strength * labels


def test_every_metric_has_its_interval_around_its_value() -> None:
    labels, scores = scored(2000)
    probabilities = 1 / (1 + np.exp(-scores))
    values = evaluate(labels, scores, budget=0.1, probabilities=probabilities)
    intervals = bootstrap_intervals(
        labels, scores, budget=0.1, probabilities=probabilities, resamples=200
    )
    assert {name: i.value for name, i in intervals.items()} == values
    assert all(i.low < i.high for i in intervals.values())
    assert all(i.low < i.value < i.high for n, i in intervals.items() if n != "calibration_error")


def test_a_ranking_is_no_worse_for_there_being_less_fraud() -> None:
    """Half of the frauds away: average precision falls, and does not at the rate there was."""
    labels, scores = scored(8000)
    frauds = np.flatnonzero(labels)
    fewer = np.delete(np.arange(len(labels)), frauds[::2])
    before, raw, told = (
        bootstrap_intervals(labels[rows], scores[rows], budget=0.1, rate=rate, resamples=100)
        for rows, rate in [(slice(None), None), (fewer, None), (fewer, float(labels.mean()))]
    )
    assert raw["average_precision"].high < before["average_precision"].low
    found = told["average_precision"]
    assert found.low < before["average_precision"].value < found.high
    assert told["roc_auc"].value == pytest.approx(raw["roc_auc"].value)
    assert told["prevalence"] == raw["prevalence"]


def test_it_agrees_with_evaluating_claims_drawn_one_by_one() -> None:
    labels, scores = scored(400)
    probabilities = 1 / (1 + np.exp(-scores))
    rng = np.random.default_rng(5)
    drawn = [rng.integers(0, 400, 400) for _ in range(2000)]
    naive = [
        evaluate(labels[d], scores[d], budget=0.1, probabilities=probabilities[d]) for d in drawn
    ]
    fast = bootstrap_intervals(
        labels, scores, budget=0.1, probabilities=probabilities, resamples=2000
    )
    for name in set(fast) - {"calibration_error"}:  # whose bins are kept
        low, high = np.quantile([m[name] for m in naive], [0.025, 0.975])
        tolerance = 0.1 * (high - low)
        assert (fast[name].low, fast[name].high) == pytest.approx((low, high), abs=tolerance), name


def test_nineteen_of_twenty_intervals_hold_the_true_value() -> None:
    true_auc = 0.7602  # of two normal distributions one standard deviation apart
    intervals = [
        bootstrap_intervals(*scored(300, seed), budget=0.1, resamples=100, seed=seed)["roc_auc"]
        for seed in range(150)
    ]
    assert 0.90 <= np.mean([i.low <= true_auc <= i.high for i in intervals]) <= 0.99


def test_more_claims_or_less_confidence_make_it_narrower() -> None:
    def width(n: int, confidence: float = 0.95) -> float:
        found = bootstrap_intervals(*scored(n), budget=0.1, resamples=200, confidence=confidence)[
            "average_precision"
        ]
        return found.high - found.low

    assert width(8000) < 0.7 * width(2000)
    assert width(2000, 0.5) < 0.6 * width(2000)


def test_a_seed_fixes_the_interval() -> None:
    labels, scores = scored(300)
    one, same, other = (
        bootstrap_intervals(labels, scores, budget=0.1, resamples=50, seed=seed)
        for seed in (1, 1, 2)
    )
    assert one == same != other


def test_undefined_metrics_are_left_out_and_rare_frauds_cost_only_resamples() -> None:
    none = bootstrap_intervals(np.zeros(50), np.arange(50.0), budget=0.1, resamples=20)
    assert set(none) == {"precision_at_budget", "prevalence"}
    one = bootstrap_intervals(np.arange(50) == 40, np.arange(50.0), budget=0.1, resamples=100)
    assert 0 < one["roc_auc"].low <= one["roc_auc"].high <= 1
    assert Interval.model_validate_json(one["roc_auc"].model_dump_json()) == one["roc_auc"]


def test_memory_does_not_grow_with_the_number_of_resamples() -> None:
    labels, scores = scored(50_000)
    tracemalloc.start()
    bootstrap_intervals(labels, scores, budget=0.1, resamples=100)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10e6  # all 100 vectors of weights together would be 40 MB


def test_a_model_has_no_gain_over_itself() -> None:
    labels, scores = scored(500)
    gain = paired_gain(labels, scores, scores.copy(), resamples=100, seed=0)
    assert (gain.gain.low, gain.gain.value, gain.gain.high, gain.probability) == (0, 0, 0, 0)


def test_a_better_model_gains_and_the_worse_one_loses_as_much() -> None:
    labels, good = scored(1000)
    poor = good + np.random.default_rng(9).normal(size=1000)
    gain = paired_gain(labels, good, poor, resamples=200, seed=0)
    loss = paired_gain(labels, poor, good, resamples=200, seed=0)
    assert gain.probability > 0.99
    assert loss.probability < 0.01
    assert gain.gain.value == pytest.approx(-loss.gain.value)
    assert (gain.gain.low, gain.gain.high) == pytest.approx((-loss.gain.high, -loss.gain.low))


def test_the_gain_asked_for_lowers_the_probability() -> None:
    labels, good = scored(1000)
    poor = good + np.random.default_rng(9).normal(size=1000)
    found = paired_gain(labels, good, poor, resamples=200, seed=0).gain.value
    asked = paired_gain(labels, good, poor, resamples=200, seed=0, min_gain=found)
    assert 0.3 < asked.probability < 0.7


def test_pairing_sees_a_difference_that_two_intervals_hide() -> None:
    labels, good = scored(4000)
    slightly_worse = good + np.random.default_rng(9).normal(0, 0.4, 4000)
    one, other = (
        bootstrap_intervals(labels, s, budget=0.1, resamples=200)["average_precision"]
        for s in (good, slightly_worse)
    )
    assert one.low < other.high  # the intervals overlap
    assert paired_gain(labels, good, slightly_worse, resamples=200, seed=0).gain.low > 0


def test_without_frauds_there_is_nothing_to_compare() -> None:
    with pytest.raises(SplitError, match=r"without a fraud.*split\.oot"):
        paired_gain(np.zeros(9), np.arange(9.0), np.arange(9.0), resamples=10, seed=0)
