"""Metrics of a ranking of claims, of alerts within a budget, and of probabilities.

Every metric also takes weights of the claims, so that a bootstrap sorts once and then only
changes weights (`bootstrap`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fraud_mlops.errors import TrainingError

CALIBRATION_BINS = 10

_TOLERANCE = 1e-9
"""0.29 * 100 is a little less than 29; shares of a count are compared with this slack."""


@dataclass(frozen=True)
class RankingCurve:
    """Groups of equal score that hold a fraud, from the highest score down.

    What lies between them only lengthens the list of claims, so these are all a metric needs.

    frauds, above, size: weight of the group's frauds, of all claims above the group, and of all
    claims in the group; float64 [groups]. claims: weight of all claims.
    """

    frauds: np.ndarray
    above: np.ndarray
    size: np.ndarray
    claims: float

    @property
    def all_frauds(self) -> float:
        return float(self.frauds.sum())

    def average_precision(self) -> float:
        """Precision at each fraud, averaged; a group of equal scores counts as one step.

        As `sklearn.metrics.average_precision_score`. nan without frauds.
        """
        if not (total := self.all_frauds):
            return math.nan
        alerted = self.above + self.size
        found = np.cumsum(self.frauds)
        precision = np.divide(found, alerted, out=np.zeros_like(found), where=alerted > 0)
        return float(self.frauds @ precision / total)

    def roc_auc(self) -> float:
        """Share of pairs of fraud and genuine claim in the right order; equal scores count half.

        nan when there is only one class.
        """
        frauds, genuine = self.all_frauds, self.claims - self.all_frauds
        if frauds <= 0 or genuine <= 0:
            return math.nan
        below = genuine - self._false_alerts() + (self.size - self.frauds) / 2
        return float(self.frauds @ below / (frauds * genuine))

    def recall_at_fpr(self, limit: float) -> float:
        """Highest recall of a threshold whose false-positive rate is at most `limit`.

        Points of the ROC curve only, nothing interpolated. nan when there is only one class.
        """
        frauds, genuine = self.all_frauds, self.claims - self.all_frauds
        if frauds <= 0 or genuine <= 0:
            return math.nan
        allowed = limit * genuine + _TOLERANCE
        steps = np.searchsorted(self._false_alerts(), allowed, side="right")
        return float(self.frauds[:steps].sum() / frauds)

    def frauds_within(self, capacity: float) -> float:
        """Weight of the frauds among the `capacity` highest scored claims.

        Where the cut goes through a group of equal scores: the mean over all orders of the group.
        """
        size = np.where(self.size > 0, self.size, 1)
        return float(self.frauds @ np.clip((capacity - self.above) / size, 0, 1))

    def _false_alerts(self) -> np.ndarray:
        """Genuine claims at or above each group's score."""
        return np.asarray(self.above + self.size - np.cumsum(self.frauds))


class Ranking:
    """Claims sorted by falling score, once.

    labels [n] 1 or True for fraud; scores [n], higher is more suspicious.
    Raises TrainingError when a score is not finite.
    """

    def __init__(self, labels: np.ndarray, scores: np.ndarray) -> None:
        labels, scores = np.asarray(labels), np.asarray(scores)
        if scores.dtype.kind != "f":
            scores = scores.astype(np.float64)
        require_finite(scores)
        if labels.shape != scores.shape or labels.ndim != 1:
            raise ValueError(f"{labels.shape} labels do not go with {scores.shape} scores")
        self.order: np.ndarray = np.argsort(-scores, kind="stable")
        ranked = scores[self.order]
        starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]][: len(ranked)])
        ends = np.append(starts[1:], len(ranked))
        self._positions = np.flatnonzero(labels[self.order])
        groups = np.searchsorted(starts, self._positions, side="right") - 1
        self._first = np.flatnonzero(np.r_[True, groups[1:] != groups[:-1]][: len(groups)])
        self._starts, self._ends = starts[groups[self._first]], ends[groups[self._first]]

    def curve(self, weights: np.ndarray | None = None) -> RankingCurve:
        """weights [n]: of the claims in ranked order (`weights[ranking.order]`); 1 each if None."""
        n = len(self.order)
        before = np.zeros(n + 1)
        np.cumsum(np.ones(n) if weights is None else weights, out=before[1:])
        fraud_weights = (
            np.ones(len(self._positions))
            if weights is None
            else weights[self._positions].astype(np.float64)
        )
        above = before[self._starts]
        frauds = np.add.reduceat(fraud_weights, self._first) if len(self._first) else np.empty(0)
        return RankingCurve(frauds, above, before[self._ends] - above, float(before[-1]))


def require_finite(scores: np.ndarray) -> None:
    """Raises TrainingError when a score is not finite: the model that gave it has diverged."""
    if bad := int((~np.isfinite(scores)).sum()):
        raise TrainingError(
            f"{bad:,} of {len(scores):,} claims have a score that is not finite; the model has "
            "diverged. Train it with a lower learning rate, or drop the candidate."
        )


def alert_capacity(claims: float, budget: float) -> int:
    """Whole claims that a share `budget` of `claims` may alert."""
    return math.floor(budget * claims + _TOLERANCE)


def ranking_metrics(curve: RankingCurve, budget: float) -> dict[str, float]:
    """The metrics that depend on the order of the claims alone."""
    capacity = alert_capacity(curve.claims, budget)
    frauds, found = curve.all_frauds, curve.frauds_within(capacity)
    return {
        "average_precision": curve.average_precision(),
        "roc_auc": curve.roc_auc(),
        "recall_at_1pct_fpr": curve.recall_at_fpr(0.01),
        "recall_at_5pct_fpr": curve.recall_at_fpr(0.05),
        "precision_at_budget": found / capacity if capacity else math.nan,
        "recall_at_budget": found / frauds if frauds else math.nan,
        "prevalence": frauds / curve.claims if curve.claims else math.nan,
    }


def evaluate(
    labels: np.ndarray,
    scores: np.ndarray,
    *,
    budget: float,
    probabilities: np.ndarray | None = None,
) -> dict[str, float]:
    """All metrics of one model on labelled claims; nan where one is not defined.

    labels [n] 1 or True for fraud; scores [n]; budget: share of claims that may be alerted;
    probabilities [n] calibrated, for brier and calibration_error, which are left out without.

    average_precision, roc_auc, recall_at_1pct_fpr, recall_at_5pct_fpr: see `RankingCurve`.
    precision_at_budget, recall_at_budget: of the floor(budget * n) highest scored claims, the
    mean over all orders of equal scores; precision is nan when the budget allows no alert.
    brier: mean squared error of the probabilities (Brier 1950).
    Raises TrainingError when a score is not finite.
    """
    metrics = ranking_metrics(Ranking(labels, scores).curve(), budget)
    if probabilities is not None:
        residuals = np.asarray(probabilities, dtype=np.float64) - np.asarray(labels)
        bins = equal_mass_bins(probabilities)
        metrics |= probability_metrics(residuals, bins, np.ones(len(residuals)))
    return metrics


def probability_metrics(
    residuals: np.ndarray, bins: np.ndarray, weights: np.ndarray
) -> dict[str, float]:
    """brier and calibration_error of weighted claims.

    residuals [n]: probability minus label; bins [n] of `equal_mass_bins`; weights [n].
    calibration_error: expected calibration error over bins of equal mass, that is the mean over
    claims of |mean probability - fraud rate| of their bin. Naeini et al. 2015 have bins of equal
    width; of equal mass, as in Nixon et al. 2019, they are not nearly empty where fraud is.
    """
    if not (total := float(weights.sum())):
        return {"brier": math.nan, "calibration_error": math.nan}
    weighted = weights * residuals
    gaps = np.bincount(bins, weights=weighted, minlength=CALIBRATION_BINS)
    return {
        "brier": float(weighted @ residuals / total),
        "calibration_error": float(np.abs(gaps).sum() / total),
    }


def equal_mass_bins(probabilities: np.ndarray, bins: int = CALIBRATION_BINS) -> np.ndarray:
    """Bin of each claim, 0 to bins - 1 by rising probability, as many claims in each; int64 [n].

    Equal probabilities share a bin, that in which their middle falls, so bins can be empty.
    """
    _, group, sizes = np.unique(probabilities, return_inverse=True, return_counts=True)
    middle = np.cumsum(sizes) - sizes / 2
    of_group = np.minimum(middle * bins / max(len(group), 1), bins - 1).astype(np.int64)
    return np.asarray(of_group[group])
