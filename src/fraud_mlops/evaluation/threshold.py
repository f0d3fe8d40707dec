"""From scores to alerts: a threshold on the logit, by budget or by cost."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, FiniteFloat

from fraud_mlops.errors import ContractError
from fraud_mlops.evaluation.metrics import alert_capacity, require_finite
from fraud_mlops.limits import Alerts

_ROUNDING = 1e-6
"""Of a logit, or of 1 if that is larger: so far are the ways apart that score a claim."""


class Threshold(BaseModel):
    """A claim is alerted when its logit is at or above `value`.

    value: half-way from the lowest logit alerted to the next below, so that a claim is decided the
    same by itself and among others, although its logit differs in the last bits. alert_share: of
    the claims the threshold was chosen on. expected_precision: their mean calibrated probability,
    None when none is alerted. detail: how it was chosen, in a sentence.
    silent: why nobody is alerted, by any threshold within the budget or by costs, where that is so.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    value: FiniteFloat
    rule: Literal["budget", "cost"]
    alert_share: float
    expected_precision: float | None
    detail: str
    silent: str | None = None


def choose_threshold(
    logits: np.ndarray,
    labels: np.ndarray,
    probabilities: np.ndarray,
    amounts: np.ndarray | None,
    alerts: Alerts,
) -> Threshold:
    """The threshold for these validation claims.

    logits, labels, probabilities (calibrated) [n]; amounts [n], nan where unknown, or None.

    budget: as many claims as `alerts.budget` allows, never more: when equal logits straddle the
    budget, none of them is alerted. Equal are logits that only rounding tells apart.
    cost, with `alerts.review_cost`: the lowest expected cost within that budget, a review for
    each alert and probability * amount for each claim without one. Expected, not counted on the
    labels, since a few large frauds would decide where the threshold lies. An unknown amount
    counts as the mean of the known, a negative one as nothing.
    Raises ContractError when there is a review cost but no amount, TrainingError when a logit is
    not finite.
    """
    require_finite(logits)
    n, capacity = len(logits), alert_capacity(len(logits), alerts.budget)
    order = np.argsort(-logits, kind="stable")
    ranked = logits[order]
    counts = _alert_counts(ranked, capacity)
    count, costs = counts[-1], ""
    silent = None if counts[-1] else _silent(ranked, capacity, alerts.budget)
    if alerts.review_cost is not None:
        missed = _expected_losses(probabilities, amounts)[order]
        count, costs = _cheapest(counts, missed, alerts.review_cost)
        if not count:
            silent = silent or _not_worth_it(missed[: counts[-1]], alerts.review_cost)
    alerted = order[:count]
    return Threshold(
        value=_cut(ranked, int(count)),
        rule="budget" if alerts.review_cost is None else "cost",
        alert_share=count / n if n else 0.0,
        expected_precision=float(probabilities[alerted].mean()) if count else None,
        detail=(
            f"{count:,} of {n:,} validation claims alerted where the budget allows {capacity:,}; "
            f"{int(labels[alerted].sum()):,} of {int(labels.sum()):,} frauds found{costs}"
        ),
        silent=silent,
    )


def _silent(ranked: np.ndarray, capacity: int, budget: float) -> str:
    n = len(ranked)
    if not capacity:
        return (
            f"no claim will be alerted: alerts.budget = {budget:.2%} allows less than one of "
            f"{n:,} validation claims. Give a larger budget, or take more claims"
        )
    alike = int(_alert_counts(ranked, n)[1])
    return (
        f"next to no claim will be alerted: {alike:,} of {n:,} validation claims share the highest "
        f"score, and alerts.budget = {budget:.2%} allows {capacity:,}. Give a larger budget, from "
        f"{math.ceil(1000 * alike / n) / 1000:.1%} on, or columns that tell these claims apart"
    )


def _not_worth_it(losses: np.ndarray, review_cost: float) -> str:
    """losses: expected ones of the claims that the budget allows to alert."""
    dearest = losses.max()
    worth = "no claim is" if dearest < review_cost else "no set of the first claims is"
    return (
        f"no claim will be alerted: {worth} worth a review at alerts.review_cost = "
        f"{review_cost:,.2f}; the dearest expected loss within the budget is {dearest:,.2f}. Give "
        "what a review costs in the currency of the amounts"
    )


def _alert_counts(ranked: np.ndarray, capacity: int) -> np.ndarray:
    """Numbers of alerts that a threshold can give, from none up to the capacity; int64."""
    apart = ranked[:-1] - ranked[1:] > 2 * _rounding(ranked[:-1])
    boundaries = np.append(np.flatnonzero(apart) + 1, len(ranked))
    return np.asarray(np.unique(np.r_[0, boundaries[boundaries <= capacity]]))


def _expected_losses(probabilities: np.ndarray, amounts: np.ndarray | None) -> np.ndarray:
    """What each claim is expected to cost when it is not alerted, float64 [n]."""
    if amounts is None or np.isnan(amounts).all():
        raise ContractError(
            "alerts.review_cost is given, but there are no amounts to set it against: name the "
            "column of the claimed amount as `amount` in the contract, or leave review_cost out"
        )
    known = np.where(np.isnan(amounts), np.nanmean(amounts), amounts)
    return np.asarray(probabilities * np.maximum(known, 0), dtype=np.float64)


def _cheapest(counts: np.ndarray, missed: np.ndarray, review_cost: float) -> tuple[int, str]:
    """The cheapest of these numbers of alerts, the fewest among equals, and its cost in words."""
    costs = review_cost * counts + missed.sum() - np.r_[0, np.cumsum(missed)][counts]
    words = f"; expected cost {costs.min():,.2f}, without any alert {costs[0]:,.2f}"
    return int(counts[np.argmin(costs)]), words


def _cut(ranked: np.ndarray, count: int) -> float:
    """A number of the logits' own precision, below the first `count` of them and above the others
    by more than rounding."""
    ends = ranked[[0, -1]] if len(ranked) else np.zeros(2, dtype=ranked.dtype)
    highest, lowest = ends + [1, -1] * (4 * _rounding(ends))
    above = ranked[count - 1] if count else highest
    below = ranked[count] if count < len(ranked) else lowest
    return float(ranked.dtype.type((float(above) + float(below)) / 2))


def _rounding(logits: np.ndarray) -> np.ndarray:
    return np.asarray(_ROUNDING * np.maximum(1.0, np.abs(logits)))
