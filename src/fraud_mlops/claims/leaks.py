"""Features that alone almost tell the label, as what is only known afterwards does."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fraud_mlops.claims.staging import Staging
from fraud_mlops.contract import AMOUNT, Contract
from fraud_mlops.words import counted

# What is told has this ROC-AUC or more, on so many claims of either kind at least.
_TELLS_ALL = 0.98
_LEAST = 20

Numbers = npt.NDArray[np.float64]


def leaks(contract: Contract, staging: Staging) -> Iterator[str]:
    """A note on every feature that alone tells fraud from genuine claims."""
    amount = [AMOUNT] if contract.amount else []
    for name in (*amount, *(contract.numeric or ()), *(contract.categorical or ())):
        values = staging.labels_by_value(name)
        frauds = _column(values, "fraud0") + _column(values, "fraud1")
        genuine = _column(values, "genuine0") + _column(values, "genuine1")
        if min(frauds.sum(), genuine.sum()) < _LEAST:
            return
        area = max(_ranked(values, frauds, genuine), _rated(values))
        if area >= _TELLS_ALL:
            source = contract.amount if name == AMOUNT else name
            mend = _left_out_by(contract, name)
            claims = counted(int(frauds.sum() + genuine.sum()), "labelled claim")
            yield (
                f"column {source!r} alone tells fraud from genuine (ROC-AUC {area:.3f} on "
                f"{claims}): if it is only known after the claim is scored, {mend}"
            )


def _left_out_by(contract: Contract, name: str) -> str:
    """A contract does not let a column with another role be ignored."""
    if name == AMOUNT:
        return "take it out of `amount`"
    if name in contract.entities.values():
        return "take it out of `categorical`"
    if name in contract.event_time.columns():
        return "list `numeric` and `categorical` without it"
    return "`ignore` it"


def _column(values: pa.Table, name: str) -> Numbers:
    return np.asarray(values.column(name).to_numpy(), dtype=np.float64)


def _ranked(values: pa.Table, frauds: Numbers, genuine: Numbers) -> float:
    """By the size of numbers, missing ones below or above all others."""
    if not pa.types.is_floating(values.schema.field("value").type):
        return 0.5
    sizes = values.column("value").to_numpy()
    ends = (np.nan_to_num(sizes, nan=end, posinf=np.inf) for end in (-np.inf, np.inf))
    areas = [_area(ordered, frauds, genuine) for ordered in ends]
    return max(*areas, *(1 - area for area in areas))


def _rated(values: pa.Table) -> float:
    """By the fraud rate of each value, missing being one, in the other half of the claims.

    A value that the other half does not have has the rate of all of it: values that name claims
    tell nothing.
    """
    frauds = [_column(values, f"fraud{half}") for half in (0, 1)]
    genuine = [_column(values, f"genuine{half}") for half in (0, 1)]
    areas = []
    for here, there in ((0, 1), (1, 0)):
        usual = frauds[there].sum() / max(1.0, (frauds[there] + genuine[there]).sum())
        rates = (frauds[there] + usual) / (frauds[there] + genuine[there] + 1)
        areas.append(_area(rates, frauds[here], genuine[here]))
    return sum(areas) / 2


def _area(scores: Numbers, frauds: Numbers, genuine: Numbers) -> float:
    """ROC-AUC of groups of claims [n] that have one score each."""
    _, group = np.unique(scores, return_inverse=True)
    f, g = np.bincount(group, frauds), np.bincount(group, genuine)
    pairs = f.sum() * g.sum()
    return float(f @ (np.cumsum(g) - g / 2) / pairs) if pairs else 0.5
