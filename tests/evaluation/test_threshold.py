"""Which claims are alerted, by budget and by cost."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fraud_mlops.errors import ContractError, TrainingError
from fraud_mlops.evaluation.threshold import Threshold, choose_threshold
from fraud_mlops.limits import Alerts

tied_logits = st.lists(st.integers(-6, 6), min_size=1, max_size=60).map(
    lambda values: np.array(values, np.float32) / 3
)


def chosen(logits: np.ndarray, alerts: Alerts, amounts: np.ndarray | None = None) -> Threshold:
    probabilities = 1 / (1 + np.exp(-logits.astype(np.float64)))
    labels = (np.arange(len(logits)) % 3 == 0).astype(np.int8)
    return choose_threshold(logits, labels, probabilities, amounts, alerts)


@settings(max_examples=100, deadline=None)
@given(tied_logits, st.floats(0.01, 0.99))
def test_the_budget_is_used_as_far_as_it_goes_and_never_exceeded(logits, budget) -> None:
    threshold = chosen(logits, Alerts(budget=budget))
    alerted = logits >= threshold.value
    assert threshold.rule == "budget"
    assert alerted.mean() == threshold.alert_share <= budget
    below = logits[~alerted]
    if len(below):  # the next lower threshold would be too low
        assert (logits >= below.max()).mean() > budget


@settings(max_examples=100, deadline=None)
@given(tied_logits, st.floats(0.01, 0.99), st.integers(0, 99))
def test_no_claim_is_decided_by_rounding(logits, budget, seed) -> None:
    """A claim's logit differs in its last bits by how many claims are scored beside it."""
    bits = np.random.default_rng(seed).integers(-2, 3, (2, len(logits)))
    chosen_on, served = (logits + np.spacing(np.maximum(logits, 1)) * bits).astype(np.float32)
    threshold = chosen(chosen_on, Alerts(budget=budget))
    assert threshold.value == np.float32(threshold.value)
    alerted = chosen_on >= threshold.value
    assert alerted.mean() == threshold.alert_share <= budget
    assert ((served >= threshold.value) == alerted).all()


def test_expected_precision_is_the_mean_probability_of_the_alerted_claims() -> None:
    logits = np.arange(-50, 50) / 10
    threshold = chosen(logits, Alerts(budget=0.1))
    probabilities = 1 / (1 + np.exp(-logits))
    assert threshold.value == pytest.approx((logits[89] + logits[90]) / 2)
    assert threshold.expected_precision == pytest.approx(probabilities[90:].mean())
    assert "10 of 100 validation claims" in threshold.detail
    assert "4 of 34 frauds" in threshold.detail


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_when_equal_logits_straddle_the_budget_none_of_them_is_alerted(dtype: type) -> None:
    logits = np.full(40, 0.1, dtype)
    threshold = chosen(logits, Alerts(budget=0.5))
    assert not (logits >= threshold.value).any()
    assert threshold.alert_share == 0
    assert threshold.expected_precision is None
    assert Threshold.model_validate_json(threshold.model_dump_json()) == threshold


def test_a_threshold_that_alerts_nobody_says_why_and_what_to_do() -> None:
    few = chosen(np.arange(180, dtype=np.float32), Alerts(budget=0.005)).silent
    assert few is not None
    assert "0.50% allows less than one of 180 validation claims. Give a larger budget" in few
    tied = np.repeat([2.0, 1.0, 0.0], [40, 60, 900]).astype(np.float32)
    alike = chosen(tied, Alerts(budget=0.03)).silent
    assert alike is not None
    assert "40 of 1,000 validation claims share the highest score" in alike
    assert "Give a larger budget, from 4.0% on" in alike
    assert chosen(tied, Alerts(budget=0.04)).silent is None


def test_costs_that_ask_for_no_review_are_told_with_the_dearest_loss() -> None:
    """A review cost of another currency, or of a thousand, would else look like a calm month."""
    dear = chosen(np.arange(90) / 10, Alerts(budget=0.5, review_cost=500), np.full(90, 10.0))
    assert dear.alert_share == 0
    assert dear.silent is not None
    assert "no claim is worth a review at alerts.review_cost = 500.00; the dearest" in dear.silent
    assert "expected loss within the budget is 10.00" in dear.silent
    cheap = chosen(np.arange(90) / 10, Alerts(budget=0.5, review_cost=5), np.full(90, 10.0))
    assert cheap.silent is None
    amounts = np.where(np.arange(90) == 60, 600.0, 1.0)  # the 30th, behind 29 not worth a review
    behind = chosen(np.arange(90) / 10, Alerts(budget=0.5, review_cost=500), amounts)
    assert behind.silent is not None
    assert "no set of the first claims is worth a review at" in behind.silent


@settings(max_examples=100, deadline=None)
@given(tied_logits, st.floats(0.05, 0.95), st.floats(1, 500), st.integers(0, 99))
def test_with_a_review_cost_no_threshold_within_the_budget_is_cheaper(
    logits, budget, review_cost, seed
) -> None:
    amounts = np.random.default_rng(seed).lognormal(4, 1, len(logits))
    threshold = chosen(logits, Alerts(budget=budget, review_cost=review_cost), amounts)
    probabilities = 1 / (1 + np.exp(-logits.astype(np.float64)))

    def cost(value: float) -> float:
        alerted = logits >= value
        return review_cost * alerted.sum() + (probabilities * amounts)[~alerted].sum()

    allowed = [v for v in [*logits, np.inf] if (logits >= v).mean() <= budget]
    assert threshold.rule == "cost"
    assert threshold.alert_share <= budget
    assert cost(threshold.value) == pytest.approx(min(cost(v) for v in allowed))


def test_reviews_that_cost_more_than_fraud_are_not_made() -> None:
    logits, amounts = np.linspace(-3, 3, 100), np.full(100, 50.0)
    threshold = chosen(logits, Alerts(budget=0.5, review_cost=1000), amounts)
    assert threshold.alert_share == 0
    assert threshold.value > 3


def test_reviews_that_cost_next_to_nothing_fill_the_budget() -> None:
    logits, amounts = np.linspace(-3, 3, 100), np.full(100, 50.0)
    assert chosen(logits, Alerts(budget=0.2, review_cost=0.01), amounts).alert_share == 0.2


def test_an_unknown_amount_counts_as_the_mean_and_a_negative_one_as_nothing() -> None:
    logits, alerts = np.linspace(-3, 3, 100), Alerts(budget=0.5, review_cost=30)
    known = np.tile([20.0, 60.0], 50)
    unknown, mean, negative, zero = known.copy(), known.copy(), known.copy(), known.copy()
    unknown[90:], mean[90:] = np.nan, known[:90].mean()
    negative[90:], zero[90:] = -1e6, 0.0
    assert chosen(logits, alerts, unknown) == chosen(logits, alerts, mean)
    assert chosen(logits, alerts, negative) == chosen(logits, alerts, zero)


@pytest.mark.parametrize("amounts", [None, np.full(10, np.nan)])
def test_a_review_cost_without_amounts_names_the_fields_of_the_contract(amounts) -> None:
    with pytest.raises(ContractError, match=r"alerts\.review_cost.*`amount`"):
        chosen(np.arange(10.0), Alerts(review_cost=30), amounts)


def test_logits_that_are_not_numbers_are_refused() -> None:
    with pytest.raises(TrainingError, match="not finite"):
        chosen(np.array([0.0, np.nan]), Alerts())
