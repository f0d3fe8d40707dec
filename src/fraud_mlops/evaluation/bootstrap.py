"""How sure the metrics are: percentile intervals, and a paired comparison of two models.

Resampling with replacement is the same as counting how often each claim was drawn (Efron 1979),
so the claims are sorted once and each resample is a vector of multinomial counts: claims are
drawn from all claims alike, not class by class, since the number of frauds is chance as well.
One resample is in memory at a time. Claims are taken to be independent; where a ring files many,
the true uncertainty is larger.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from pydantic import BaseModel, ConfigDict, FiniteFloat

from fraud_mlops.errors import SplitError
from fraud_mlops.evaluation.metrics import (
    Ranking,
    equal_mass_bins,
    evaluate,
    probability_metrics,
    ranking_metrics,
)


class Interval(BaseModel):
    """A metric on all claims, and the percentiles of its resamples."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    value: FiniteFloat
    low: FiniteFloat
    high: FiniteFloat


class PairedGain(BaseModel):
    """What the challenger has over the champion on the same claims.

    gain: difference in average precision, 95 % interval. probability: share of resamples in
    which it is above the least gain asked for.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    gain: Interval
    probability: FiniteFloat


def bootstrap_intervals(
    labels: np.ndarray,
    scores: np.ndarray,
    *,
    budget: float,
    probabilities: np.ndarray | None = None,
    rate: float | None = None,
    resamples: int = 500,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, Interval]:
    """The metrics of `evaluate`, each with its percentile bootstrap interval.

    Arguments as of `evaluate`. A metric that is not defined on all claims is left out; resamples
    on which one is not defined do not count. calibration_error keeps the bins of all claims and,
    as any distance, comes out larger on a resample: its interval lies high.
    rate: of fraud, 0 < rate < 1, that the ranking is judged at: genuine claims are weighted so that
    frauds are this share. Precision depends on it, however good the ranking. `prevalence` stays
    the claims' own, and probabilities are not judged by it.
    Raises TrainingError when a score is not finite.
    """
    values = evaluate(labels, scores, budget=budget, probabilities=probabilities)
    ranking = Ranking(labels, scores)
    shares = _at_rate(labels, rate)[ranking.order]

    def ranked(weights: np.ndarray) -> dict[str, float]:
        found = ranking_metrics(ranking.curve(weights), budget)
        if rate is None:
            return found
        own = found["prevalence"]
        return ranking_metrics(ranking.curve(weights * shares), budget) | {"prevalence": own}

    if rate is not None:
        values |= ranked(np.ones(len(shares)))
    residuals, bins = np.empty(0), np.empty(0, dtype=np.int64)
    if probabilities is not None:
        residuals = (np.asarray(probabilities, np.float64) - np.asarray(labels))[ranking.order]
        bins = equal_mass_bins(probabilities)[ranking.order]
    draws: dict[str, list[float]] = {name: [] for name in values}
    for weights in _resamples(len(ranking.order), resamples, seed):
        metrics = ranked(weights)
        if probabilities is not None:
            metrics |= probability_metrics(residuals, bins, weights)
        for name, value in metrics.items():
            draws[name].append(value)
    return {
        name: _interval(value, np.array(draws[name]), confidence)
        for name, value in values.items()
        if np.isfinite(value)
    }


def _at_rate(labels: np.ndarray, rate: float | None) -> np.ndarray:
    """Weight of each claim at that fraud rate: 1 of a fraud."""
    fraud = np.asarray(labels) == 1
    if rate is None or fraud.all() or not fraud.any():
        return np.ones(len(fraud))
    return np.where(fraud, 1.0, fraud.sum() / (~fraud).sum() * (1 - rate) / rate)


def paired_gain(
    labels: np.ndarray,
    challenger: np.ndarray,
    champion: np.ndarray,
    *,
    resamples: int,
    seed: int,
    min_gain: float = 0.0,
) -> PairedGain:
    """Average precision of challenger minus champion, both on the same resamples.

    labels [n]; challenger, champion: their scores of the same claims [n].
    Raises SplitError without frauds, TrainingError when a score is not finite.
    """
    rankings = Ranking(labels, challenger), Ranking(labels, champion)
    value = _difference(rankings, np.ones(len(labels)))
    if not np.isfinite(value):
        raise SplitError(
            f"two models cannot be compared on {len(labels):,} claims without a fraud; move "
            "split.oot, or take more claims"
        )
    draws = np.array([_difference(rankings, w) for w in _resamples(len(labels), resamples, seed)])
    usable = draws[np.isfinite(draws)]
    return PairedGain(
        gain=_interval(value, draws, 0.95),
        probability=float((usable > min_gain).mean()) if len(usable) else 0.0,
    )


def _resamples(claims: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """How often each claim is drawn, resample after resample: int64 [claims]."""
    rng = np.random.default_rng(seed)
    for _ in range(resamples):
        drawn = rng.integers(0, claims, claims, dtype=np.int32 if claims < 2**31 else np.int64)
        yield np.bincount(drawn, minlength=claims)


def _difference(rankings: tuple[Ranking, Ranking], weights: np.ndarray) -> float:
    challenger, champion = (r.curve(weights[r.order]).average_precision() for r in rankings)
    return challenger - champion


def _interval(value: float, draws: np.ndarray, confidence: float) -> Interval:
    """Without a single usable resample the interval is the value alone."""
    usable = draws[np.isfinite(draws)] if np.isfinite(draws).any() else np.array([value])
    low, high = np.quantile(usable, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(value=value, low=float(low), high=float(high))
