"""What happens to a vehicle, when in the year, and what it costs."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from fraud_mlops.synthetic.draws import Bits, Floats, shares_table

PERILS = ("collision", "theft", "glass", "fire", "injury", "weather", "vandalism")
COLLISION, THEFT, GLASS, FIRE, INJURY, WEATHER, VANDALISM = range(len(PERILS))

_SHARE = (0.38, 0.07, 0.20, 0.02, 0.12, 0.12, 0.09)
# How far a peril's share swings over the year, and the month (0 = January) of its peak.
_SWING = (0.15, 0.10, 0.25, 0.30, 0.10, 0.60, 0.10)
_PEAK_MONTH = (0, 6, 1, 6, 0, 6, 9)

_MEDIAN = (3_200.0, 9_000.0, 450.0, 7_000.0, 5_200.0, 1_500.0, 1_100.0)
_SIGMA = (0.55, 0.50, 0.35, 0.80, 0.70, 0.60, 0.50)
# An injury does not cost more in a dearer car.
_BY_VALUE = (0.4, 0.8, 0.2, 0.8, 0.0, 0.3, 0.2)
_TYPICAL_VALUE = 16_000.0

_LEVELS = 1 << 12


@lru_cache(maxsize=1)
def _by_month() -> NDArray[np.uint8]:
    tables = []
    for month in range(12):
        season = np.cos(2 * np.pi * (month - np.array(_PEAK_MONTH)) / 12)
        weights = np.array(_SHARE) * (1 + np.array(_SWING) * season)
        tables.append(shares_table(tuple(weights.tolist()), _LEVELS))
    return np.concatenate(tables)


def draw_perils(bits: Bits, month: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Positions in PERILS; `month` counts from 0."""
    cell = month.astype(np.int32) * _LEVELS
    cell += bits >> np.uint16(4)
    return _by_month().take(cell)


def guide_cost(peril: NDArray[np.uint8], vehicle_value: Floats, z: Floats) -> Floats:
    """What a claim of this peril should cost: lognormal about a median set by peril and value."""
    log_cost = np.log(np.array(_MEDIAN, np.float32)).take(peril)
    log_cost += np.array(_SIGMA, np.float32).take(peril) * z
    log_value = np.log(vehicle_value * np.float32(1 / _TYPICAL_VALUE))
    log_cost += np.array(_BY_VALUE, np.float32).take(peril) * log_value
    return np.exp(log_cost)
