"""From logits to probabilities that mean what they say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from fraud_mlops.errors import SplitError, TrainingError
from fraud_mlops.evaluation.calibration import (
    Calibration,
    choose_calibration,
    fit_isotonic,
    fit_platt,
)
from fraud_mlops.evaluation.metrics import evaluate


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def drawn(n: int, curve, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits of n claims, and frauds with probability curve(logit)."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, n)
    return logits, rng.random(n) < curve(logits)


def stairs(logits: np.ndarray) -> np.ndarray:
    """Three levels: nothing a sigmoid can follow."""
    return np.select([logits > 3, logits > -1], [0.9, 0.2], 0.01)


def log_loss(calibration: Calibration, logits: np.ndarray, frauds: np.ndarray) -> float:
    p = calibration.apply(logits)
    return float(-np.log(np.where(frauds, p, 1 - p)).mean())


def test_a_sigmoid_stretched_and_shifted_is_found_again() -> None:
    logits, frauds = drawn(50_000, lambda x: sigmoid(0.6 * x - 2))
    slope, intercept = fit_platt(logits, frauds).coefficients
    assert slope == pytest.approx(0.6, abs=0.03)
    assert intercept == pytest.approx(-2, abs=0.05)


def test_platt_scaling_is_the_logistic_regression_of_platts_targets() -> None:
    from sklearn.linear_model import LogisticRegression

    logits, frauds = drawn(400, lambda x: sigmoid(x - 3))
    up, down = (frauds.sum() + 1) / (frauds.sum() + 2), 1 / ((~frauds).sum() + 2)
    targets = np.where(frauds, up, down)
    reference = LogisticRegression(C=1e10, tol=1e-10).fit(
        np.r_[logits, logits][:, None],
        np.r_[np.ones(400), np.zeros(400)],
        sample_weight=np.r_[targets, 1 - targets],
    )
    slope, intercept = fit_platt(logits, frauds).coefficients
    assert slope == pytest.approx(reference.coef_[0, 0], rel=1e-4)
    assert intercept == pytest.approx(reference.intercept_[0], rel=1e-4)


def test_a_logit_that_is_a_sigmoid_already_keeps_platt() -> None:
    assert choose_calibration(*drawn(4000, lambda x: sigmoid(x - 2))).kind == "platt"


def test_what_no_sigmoid_follows_is_given_to_isotonic_and_comes_out_better() -> None:
    logits, frauds = drawn(8000, stairs)
    chosen = choose_calibration(logits, frauds)
    assert chosen.kind == "isotonic"
    fresh = drawn(8000, stairs, seed=1)
    assert log_loss(chosen, *fresh) < log_loss(fit_platt(logits, frauds), *fresh) - 0.01
    error = evaluate(fresh[1], fresh[0], budget=0.1, probabilities=chosen.apply(fresh[0]))
    assert error["calibration_error"] < 0.02


def test_below_200_frauds_isotonic_is_not_tried() -> None:
    logits, frauds = drawn(3000, stairs)
    kept = ~frauds
    kept[np.flatnonzero(frauds)[:199]] = True
    assert choose_calibration(logits[kept], frauds[kept]).kind == "platt"


@pytest.mark.parametrize("frauds", [1, 2, 5])
def test_a_handful_of_frauds_is_enough(frauds: int) -> None:
    logits = np.linspace(-6, 2, 500)
    labels = np.arange(500) >= 500 - frauds
    calibration = choose_calibration(logits, labels)
    probabilities = calibration.apply(logits)
    assert 0.5 * frauds < probabilities.sum() < 2.5 * frauds
    assert probabilities[-1] < 0.999  # separated, and still not certain


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_alone_is_a_clear_error(label: int) -> None:
    with pytest.raises(SplitError, match=r"300 claims.*both fraud and genuine.*split\.validation"):
        choose_calibration(np.arange(300.0), np.full(300, label))


def test_logits_that_are_not_numbers_are_refused() -> None:
    with pytest.raises(TrainingError, match="not finite"):
        choose_calibration(np.array([0.0, np.nan]), np.array([0, 1]))


@pytest.mark.parametrize("logits", [-np.arange(100.0), np.zeros(100)])
def test_a_model_no_better_than_chance_gives_every_claim_the_base_rate(logits: np.ndarray) -> None:
    calibration = choose_calibration(logits, np.arange(100) >= 90)
    assert calibration.apply(np.array([-5.0, 0.0, 5.0])) == pytest.approx(0.1, abs=0.02)


def test_the_same_seed_gives_the_same_calibration() -> None:
    logits, frauds = drawn(4000, stairs)
    assert choose_calibration(logits, frauds, seed=3) == choose_calibration(logits, frauds, seed=3)


@pytest.mark.parametrize("curve", [stairs, lambda x: sigmoid(x - 2)])
def test_isotonic_has_the_steps_of_scikit_learn_on_average(curve) -> None:
    from sklearn.isotonic import IsotonicRegression

    logits, frauds = drawn(2000, curve)
    probabilities = fit_isotonic(logits, frauds).apply(logits)
    reference = IsotonicRegression().fit(logits, frauds).predict(logits).round(9)
    for step in np.unique(reference):
        expected = np.clip(step, 1 / 2002, 2001 / 2002)
        assert probabilities[reference == step].mean() == pytest.approx(expected)
    assert probabilities.mean() == pytest.approx(frauds.mean(), abs=1e-3)


def test_isotonic_keeps_the_order_of_claims_within_a_step() -> None:
    logits, frauds = drawn(4000, lambda x: sigmoid(x - 2))
    calibration = fit_isotonic(logits, frauds)
    assert len(calibration.knots) < 150  # far fewer steps than claims
    probabilities = calibration.apply(np.sort(logits))
    uncertain = (probabilities > 1 / 4002) & (probabilities < 4001 / 4002)
    assert uncertain.mean() > 0.7
    assert (np.diff(probabilities[uncertain]) > 0).mean() > 0.99


finite = st.floats(-1e6, 1e6, width=32)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.tuples(finite, st.booleans()), min_size=2, max_size=40).filter(
        lambda claims: len({fraud for _, fraud in claims}) == 2
    ),
    st.lists(finite | st.sampled_from([-1e300, 1e300]), min_size=2, max_size=40),
    st.sampled_from([fit_platt, fit_isotonic]),
)
def test_probabilities_never_fall_as_the_logit_rises_and_are_never_certain(claims, asked, fit):
    logits = np.array([logit for logit, _ in claims])
    calibration = fit(logits, np.array([fraud for _, fraud in claims]))
    probabilities = calibration.apply(np.sort(np.r_[asked, logits]))
    assert probabilities.dtype == np.float64
    assert (np.diff(probabilities) >= 0).all()
    assert ((probabilities > 0) & (probabilities < 1)).all()
    assert Calibration.model_validate_json(calibration.model_dump_json()) == calibration


@pytest.mark.parametrize(
    "damaged",
    [
        '{"kind": "platt"}',
        '{"kind": "platt", "coefficients": [-1, 0]}',
        '{"kind": "isotonic"}',
        '{"kind": "isotonic", "coefficients": [1, 0], "knots": [[0, 0.5]]}',
        '{"kind": "isotonic", "knots": [[0, 0.5], [1, 0.4]]}',
        '{"kind": "isotonic", "knots": [[1, 0.4], [0, 0.5]]}',
        '{"kind": "isotonic", "knots": [[0, 0.5], [1, 1.0]]}',
    ],
)
def test_a_damaged_calibration_is_refused(damaged: str) -> None:
    with pytest.raises(ValidationError):
        Calibration.model_validate_json(damaged)
