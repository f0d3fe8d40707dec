"""How fraud looks before and after the concept drift, and how often its patterns occur.

Incidence is the share of claims that *show* a pattern, fraudulent or not; strength is the
probability that a claim which shows it fully is fraud. Incidence follows the fraud rate asked
for, strength does not: at 1 % and at 20 % an early theft looks as suspicious.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fraud_mlops.synthetic.perils import PERILS

REFERENCE_RATE = 0.06
"""The fraud rate at which incidences are given."""


def _by_peril(default: float, **changed: float) -> tuple[float, ...]:
    return tuple(changed.get(peril, default) for peril in PERILS)


@dataclass(frozen=True)
class Regime:
    """One stretch of time with a mix of fraud of its own."""

    inflated_incidence: tuple[float, ...]
    inflated_strength: tuple[float, ...]
    early_incidence: float
    early_strength: tuple[float, ...]
    ring_incidence: float
    ring_strength: float
    duplicate_incidence: float
    duplicate_strength: float
    channel_share: tuple[float, ...]
    price_level: float


BEFORE = Regime(
    inflated_incidence=_by_peril(0.010, collision=0.075, theft=0.080),
    inflated_strength=_by_peril(0.02, collision=0.80, theft=0.80),
    early_incidence=0.036,
    early_strength=_by_peril(0.82, glass=0.04, injury=0.04),
    ring_incidence=0.029,
    ring_strength=0.80,
    duplicate_incidence=0.018,
    duplicate_strength=0.78,
    channel_share=(0.26, 0.24, 0.22, 0.12, 0.16),
    price_level=1.0,
)
AFTER = Regime(
    inflated_incidence=_by_peril(0.012, glass=0.100, weather=0.090),
    inflated_strength=_by_peril(0.02, glass=0.80, weather=0.75),
    early_incidence=0.036,
    early_strength=_by_peril(0.30, glass=0.03, injury=0.03),
    ring_incidence=0.038,
    ring_strength=0.78,
    duplicate_incidence=0.024,
    duplicate_strength=0.78,
    channel_share=(0.17, 0.14, 0.23, 0.34, 0.12),
    price_level=1.15,
)
REGIMES = (BEFORE, AFTER)


def by_regime(attribute: str) -> NDArray[np.float32]:
    """float32 [2]: the attribute of each regime."""
    return np.array([getattr(regime, attribute) for regime in REGIMES], np.float32)


def by_regime_and_peril(attribute: str) -> NDArray[np.float32]:
    """float32 [2 * perils]: the attribute at regime * len(PERILS) + peril."""
    return by_regime(attribute).ravel()
