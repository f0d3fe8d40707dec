"""The probability that a claim is fraud, given what it shows, and the label thrown from it.

Kinds of fraud compete: p = 1 - (1 - p_0) prod_k (1 - p_k(x)) = 1 - exp(-sum_k h_k) with the
hazards h_k = -log(1 - p_k). A fraudulent claim's kind is drawn in proportion to the hazards.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fraud_mlops.synthetic.draws import Floats

KINDS = ("none", "opportunistic", "inflated", "early_policy", "ring", "duplicate")
NONE, OPPORTUNISTIC, INFLATED, EARLY, RING, DUPLICATE = range(len(KINDS))

# By position in a burst: the first claims of a ring look like any other, and mostly are.
_RAMP = np.array([0.10, 0.45, 0.90, 1.0], np.float32)
_RATIO_MIDDLE, _RATIO_WIDTH = 1.55, 0.04
_EARLY_MIDDLE, _EARLY_WIDTH = 45.0, 3.0
_WELL_DOCUMENTED = 4


@dataclass(frozen=True)
class Signals:
    """What the probability is made from; [rows] each, `*_strength` by regime and peril."""

    background: float
    """The hazard of a claim that shows nothing."""
    amount_to_guide: Floats
    documents: Floats
    inflated_strength: Floats
    policy_age_days: Floats
    remote_channel: NDArray[np.bool_]
    early_strength: Floats
    ring_row: NDArray[np.int64]
    ring_position: NDArray[np.int64]
    ring_strength: Floats
    duplicate_row: NDArray[np.int64]
    duplicate_strength: Floats


def _sigmoid(x: Floats) -> Floats:
    odds: Floats = np.exp(-x)
    odds += 1
    return np.reciprocal(odds, out=odds)


def hazards(signals: Signals) -> Floats:
    """float32 [len(KINDS) - 1, rows]: the hazard of each kind but `none`, before calibration."""
    rows = len(signals.amount_to_guide)
    hazard = np.zeros((len(KINDS) - 1, rows), np.float32)
    hazard[OPPORTUNISTIC - 1] = signals.background

    seen = np.flatnonzero(signals.amount_to_guide > _RATIO_MIDDLE - 8 * _RATIO_WIDTH)
    p = _sigmoid((signals.amount_to_guide[seen] - _RATIO_MIDDLE) * np.float32(1 / _RATIO_WIDTH))
    p *= signals.inflated_strength[seen]
    p *= np.where(signals.documents[seen] < _WELL_DOCUMENTED, np.float32(1), np.float32(0.15))
    hazard[INFLATED - 1, seen] = -np.log1p(-p)

    seen = np.flatnonzero(signals.policy_age_days < _EARLY_MIDDLE + 8 * _EARLY_WIDTH)
    p = _sigmoid((_EARLY_MIDDLE - signals.policy_age_days[seen]) * np.float32(1 / _EARLY_WIDTH))
    p *= signals.early_strength[seen]
    p *= np.where(signals.remote_channel[seen], np.float32(1), np.float32(0.25))
    hazard[EARLY - 1, seen] = -np.log1p(-p)

    p = _RAMP.take(signals.ring_position, mode="clip") * signals.ring_strength
    hazard[RING - 1, signals.ring_row] = -np.log1p(-p)
    hazard[DUPLICATE - 1, signals.duplicate_row] = -np.log1p(-signals.duplicate_strength)
    return hazard


def probability(total_hazard: NDArray[np.floating], scale: float) -> NDArray[np.float64]:
    """float64 [rows]: 1 - exp(-scale * hazard)."""
    return -np.expm1(-scale * total_hazard.astype(np.float64))


def calibrated_scale(total_hazard: NDArray[np.floating], fraud_rate: float) -> float:
    """The factor on hazards under which the probability's mean is `fraud_rate`, by bisection."""
    low, high = -12.0, 12.0
    for _ in range(60):
        middle = (low + high) / 2
        if probability(total_hazard, float(np.exp(middle))).mean() < fraud_rate:
            low = middle
        else:
            high = middle
    return float(np.exp(high))


def throw_labels(
    rng: np.random.Generator, hazard: Floats, p: NDArray[np.float64]
) -> tuple[NDArray[np.int8], NDArray[np.uint8]]:
    """label int8 [rows] and the position in KINDS of what it came from, uint8 [rows]."""
    label = rng.random(len(p)) < p
    kind = np.zeros(len(p), np.uint8)
    frauds = np.flatnonzero(label)
    climbing = np.cumsum(hazard[:, frauds], axis=0)
    thrown = rng.random(len(frauds)) * climbing[-1]
    kind[frauds] = 1 + np.minimum((thrown > climbing).sum(axis=0), len(hazard) - 1)
    return label.view(np.int8), kind
