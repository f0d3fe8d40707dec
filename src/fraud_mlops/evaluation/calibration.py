"""From a logit to the probability of fraud: Platt scaling or isotonic regression."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

from fraud_mlops.errors import SplitError
from fraud_mlops.evaluation.metrics import require_finite

ISOTONIC_FRAUDS = 200
"""Frauds, and genuine claims, from which isotonic regression is tried. Niculescu-Mizil and Caruana
2005 see it overfit and lose to Platt scaling on small sets; its steps are as fine as the rarer
class allows, so it is that class which is counted."""
FOLDS = 5

_FARTHEST = 30.0
"""Logits beyond this are cut: the sigmoid stays inside (0, 1) in float64."""

Slope = Annotated[FiniteFloat, Field(ge=0)]
Probability = Annotated[float, Field(gt=0, lt=1)]


class Calibration(BaseModel):
    """A non-decreasing function from logit to probability.

    platt: sigmoid(slope * logit + intercept), coefficients = (slope, intercept).
    isotonic: straight lines between knots (logit, probability), level beyond the outermost.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["platt", "isotonic"]
    coefficients: tuple[Slope, FiniteFloat] | None = None
    knots: tuple[tuple[FiniteFloat, Probability], ...] = ()

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.coefficients is None) == (self.kind == "platt"):
            raise ValueError("platt calibration has coefficients, isotonic has none")
        if bool(self.knots) != (self.kind == "isotonic"):
            raise ValueError("isotonic calibration has knots, platt has none")
        logits, probabilities = np.array(self.knots).reshape(-1, 2).T
        if (np.diff(logits) <= 0).any() or (np.diff(probabilities) < 0).any():
            raise ValueError("knots must rise")
        return self

    def apply(self, logits: np.ndarray) -> np.ndarray:
        """Probability of fraud of each logit [n], strictly between 0 and 1, float64 [n]."""
        wide = np.asarray(logits, dtype=np.float64)
        if self.coefficients is None:
            return _between(np.array(self.knots), wide)
        slope, intercept = self.coefficients
        return _sigmoid(slope * wide + intercept)


def _between(knots: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """Linear interpolation that never falls: `np.interp` can round past the next knot."""
    x, y = knots.T
    following = np.searchsorted(x, logits, side="right")
    lower, upper = y[np.maximum(following - 1, 0)], y[np.minimum(following, len(y) - 1)]
    return np.asarray(np.clip(np.interp(logits, x, y), lower, upper))


def choose_calibration(logits: np.ndarray, labels: np.ndarray, *, seed: int = 0) -> Calibration:
    """The calibration with the lower log loss, 5-fold cross-validated; fitted on all claims.

    logits [n], labels [n] 1 or True for fraud, of claims the model was not trained on. Below
    200 frauds or genuine claims it is always Platt scaling. seed: of the folds.
    Raises SplitError without a fraud or without a genuine claim, TrainingError when a logit is
    not finite.
    """
    logits, frauds = np.asarray(logits, dtype=np.float64), np.asarray(labels).astype(bool)
    require_finite(logits)
    rarer = min(frauds.sum(), (~frauds).sum())
    if not rarer:
        raise SplitError(
            f"probabilities cannot be calibrated on {len(frauds):,} claims, {frauds.sum():,} of "
            "them fraud: both fraud and genuine claims are needed. Move split.validation, or take "
            "more claims."
        )
    if rarer < ISOTONIC_FRAUDS:
        return fit_platt(logits, frauds)
    folds = _stratified_folds(frauds, seed)
    platt, isotonic = (
        _cross_validated(f, logits, frauds, folds) for f in (fit_platt, fit_isotonic)
    )
    return fit_isotonic(logits, frauds) if isotonic < platt else fit_platt(logits, frauds)


def fit_platt(logits: np.ndarray, frauds: np.ndarray) -> Calibration:
    """Platt scaling (Platt 1999): logistic regression of smoothed targets on the logit.

    logits [n] float64, frauds [n] bool, both classes present. The targets (N+ + 1) / (N+ + 2) and
    1 / (N- + 2) in place of 1 and 0 keep the fit finite when the classes are separated. A
    slope below zero, of a model that ranks worse than chance, becomes zero: the base rate.
    """
    positives = int(frauds.sum())
    negatives = len(frauds) - positives
    targets = np.where(frauds, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    centre, scale = logits.mean(), logits.std()
    if not scale:
        return _level(targets)
    slope, intercept = _logistic_regression((logits - centre) / scale, targets)
    if slope <= 0:
        return _level(targets)
    slope /= scale
    return Calibration(kind="platt", coefficients=(slope, float(intercept - slope * centre)))


def _level(targets: np.ndarray) -> Calibration:
    rate = targets.mean()
    return Calibration(kind="platt", coefficients=(0.0, float(np.log(rate / (1 - rate)))))


def _logistic_regression(x: np.ndarray, targets: np.ndarray) -> tuple[float, float]:
    """Slope and intercept by Newton's method with backtracking (Lin, Lin and Weng 2007)."""
    inputs = np.stack([x, np.ones_like(x)])
    beta = np.array([0.0, np.log(targets.mean() / (1 - targets.mean()))])
    loss = _log_loss(beta @ inputs, targets)
    for _ in range(100):
        probabilities = _sigmoid(beta @ inputs)
        gradient = inputs @ (probabilities - targets) / len(x)
        curvature = (inputs * (probabilities * (1 - probabilities))) @ inputs.T / len(x)
        step = np.linalg.solve(curvature + 1e-12 * np.eye(2), gradient)
        length = 1.0
        while length > 1e-10 and _log_loss((beta - length * step) @ inputs, targets) > loss:
            length /= 2
        beta = beta - length * step
        previous, loss = loss, _log_loss(beta @ inputs, targets)
        if previous - loss < 1e-12:
            break
    return float(beta[0]), float(beta[1])


def fit_isotonic(logits: np.ndarray, frauds: np.ndarray) -> Calibration:
    """Isotonic regression of fraud on the logit, each step tilted so that claims keep their order.

    logits [n] float64, frauds [n] bool. A step is tilted about the mean logit of its claims, so
    that their mean probability stays their fraud rate, and at most half way to its neighbours,
    so that it still rises. Probabilities are kept between 1 / (n + 2) and (n + 1) / (n + 2): no
    claim is certain.
    """
    from scipy.optimize import isotonic_regression

    values, group, counts = np.unique(logits, return_inverse=True, return_counts=True)
    fit = isotonic_regression(np.bincount(group, weights=frauds) / counts, weights=counts)
    starts, ends = fit.blocks[:-1], fit.blocks[1:]
    first, last = values[starts], values[ends - 1]
    means = np.add.reduceat(counts * values, starts) / np.add.reduceat(counts, starts)
    limits = 1 / (len(logits) + 2), (len(logits) + 1) / (len(logits) + 2)
    steps = np.clip(fit.x[starts], *limits)
    bounds = np.r_[limits[0], (steps[1:] + steps[:-1]) / 2, limits[1]]
    left, right = _tilted(steps, means - first, last - means, bounds[:-1], bounds[1:])
    knots = np.stack([first, left, last, right], axis=1).reshape(-1, 2)
    knots = knots[np.r_[True, np.diff(knots[:, 0]) > 0]]  # a step of one logit is one knot
    return Calibration(kind="isotonic", knots=tuple((x, y) for x, y in knots.tolist()))


def _tilted(
    steps: np.ndarray, before: np.ndarray, after: np.ndarray, low: np.ndarray, high: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities at both ends of each step, as far apart as low and high allow.

    before, after: distances from the step's mean logit to its ends. The ends move as these
    distances do, which is what keeps the mean.
    """
    wide = (before > 0) & (after > 0)
    before, after = np.where(wide, before, 1), np.where(wide, after, 1)
    slope = np.where(wide, np.minimum((steps - low) / before, (high - steps) / after), 0)
    return np.maximum(steps - slope * before, low), np.minimum(steps + slope * after, high)


def _cross_validated(
    fit: Callable[[np.ndarray, np.ndarray], Calibration],
    logits: np.ndarray,
    frauds: np.ndarray,
    folds: np.ndarray,
) -> float:
    """Mean log loss of claims that the calibration was not fitted on."""
    probabilities = np.empty(len(logits))
    for fold in range(FOLDS):
        held_out = folds == fold
        calibration = fit(logits[~held_out], frauds[~held_out])
        probabilities[held_out] = calibration.apply(logits[held_out])
    return -float(np.log(np.where(frauds, probabilities, 1 - probabilities)).mean())


def _stratified_folds(frauds: np.ndarray, seed: int) -> np.ndarray:
    """Fold of each claim, each with its part of the frauds and of the genuine claims."""
    rng = np.random.default_rng(seed)
    folds = np.empty(len(frauds), dtype=np.int64)
    for members in (np.flatnonzero(frauds), np.flatnonzero(~frauds)):
        folds[rng.permutation(members)] = np.arange(len(members)) % FOLDS
    return folds


def _log_loss(logits: np.ndarray, targets: np.ndarray) -> float:
    return float((np.logaddexp(0, logits) - targets * logits).mean())


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -_FARTHEST, _FARTHEST))))
