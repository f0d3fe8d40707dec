"""Inputs that recipes of `bench_recipes.py` add to what the library gives a network."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
import pyarrow as pa

from fraud_mlops.pipeline.windows import labels_of

_STRENGTH = 30.0
"""Claims of the overall fraud rate that a category's own rate is mixed with."""

RISING: dict[str, tuple[str, ...]] = {
    "Days_Policy_Accident": ("more than 30", "15 to 30", "8 to 15", "1 to 7", "none"),
    "Days_Policy_Claim": ("more than 30", "15 to 30", "8 to 15", "none"),
    "AddressChange_Claim": (
        *("no change", "4 to 8 years", "2 to 3 years", "1 year", "under 6 months"),
    ),
    "AgeOfVehicle": (
        *("more than 7", "7 years", "6 years", "5 years", "4 years", "3 years", "2 years", "new"),
    ),
}
"""What an investigator holds to be ever more suspicious: young policy, fresh address, new car."""


def with_target_statistics(
    learnt: pa.Table, judged: pa.Table, categorical: Sequence[str]
) -> tuple[pa.Table, pa.Table, list[str]]:
    """Each category's smoothed fraud rate beside it: tables, and names of the new columns.

    A claim of training counts only claims before it (ordered target statistics, Prokhorenkova et
    al. 2018, with time as the order), so that its own label is not in its input; judged claims
    count all of training. Training claims must be in order of time.
    """
    labels = pd.Series(labels_of(learnt).astype("float64"))
    rate = float(labels.mean())
    names = []
    for name in categorical:
        keys = learnt.column(name).to_pandas().astype("object").fillna("")
        by = labels.groupby(keys.to_numpy())
        before, seen = by.cumsum() - labels, by.cumcount()
        ordered = (before + _STRENGTH * rate) / (seen + _STRENGTH)
        sums, counts = by.sum(), by.count()
        whole = (sums + _STRENGTH * rate) / (counts + _STRENGTH)
        new = judged.column(name).to_pandas().astype("object").fillna("")
        names.append(f"{name}:rate")
        learnt = learnt.append_column(names[-1], pa.array(_logit(ordered.to_numpy())))
        there = new.map(whole).fillna(rate).to_numpy(dtype="float64")
        judged = judged.append_column(names[-1], pa.array(_logit(there)))
    return learnt, judged, names


def _logit(rates: np.ndarray) -> np.ndarray:
    clipped = np.clip(rates, 1e-4, 1 - 1e-4)
    return np.asarray(np.log(clipped / (1 - clipped)))


def riskier(claims: pa.Table) -> list[pa.Table]:
    """For each feature of RISING the same claims, one level more suspicious in that feature."""
    tables = []
    for name, levels in RISING.items():
        if name not in claims.column_names:
            continue
        after = dict(pairwise(levels))
        values = claims.column(name).to_pylist()
        column = pa.array([after.get(value, value) for value in values], pa.string())
        tables.append(claims.set_column(claims.column_names.index(name), name, column))
    return tables
