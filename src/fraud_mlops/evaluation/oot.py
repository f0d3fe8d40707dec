"""What a model does on the out-of-time window: metrics, slices, calibration, alerts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, FiniteFloat

from fraud_mlops.contract import Window
from fraud_mlops.errors import SplitError
from fraud_mlops.evaluation.bootstrap import Interval, bootstrap_intervals
from fraud_mlops.evaluation.metrics import CALIBRATION_BINS, Ranking, equal_mass_bins

MIN_SLICE_CLAIMS = 100
MIN_SLICE_CLASS = 10
"""A slice with fewer claims, frauds or genuine claims gets counts and rates, but no metrics: with
10 frauds, recall still has a standard error of up to 16 points."""
MAX_SLICE_VALUES = 20
MISSING = "(missing)"
"""Value of the slice of claims in which a category is not known."""

TOP_PARTS = 5
"""The top tenth of the probabilities, where alerts come from, is looked at in so many parts."""

_Z = 1.959964
"""Standard score of a 95 % interval."""


class _Report(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Slice(_Report):
    """Claims of one month, or of one value of a categorical feature.

    fraud_rate, mean_probability: means over the slice, to be compared. None where not defined,
    and in small slices.
    """

    kind: Literal["category", "month"]
    feature: str
    value: str
    rows: int
    frauds: int
    alerts: int
    average_precision: FiniteFloat | None
    roc_auc: FiniteFloat | None
    precision_of_alerts: FiniteFloat | None
    recall_of_alerts: FiniteFloat | None
    mean_probability: FiniteFloat
    fraud_rate: FiniteFloat


class ReliabilityBin(_Report):
    """Claims of similar probability: a tenth of the window, of its top tenth a fifth; equal
    probabilities together.

    probability_low, probability_high: least and greatest in the bin. fraud_rate_low,
    fraud_rate_high: 95 % interval of the fraud rate (Wilson 1927).
    """

    rows: int
    frauds: int
    probability_low: FiniteFloat
    probability_high: FiniteFloat
    mean_probability: FiniteFloat
    fraud_rate: FiniteFloat
    fraud_rate_low: FiniteFloat
    fraud_rate_high: FiniteFloat


class OotReport(_Report):
    """The out-of-time window in figures; None, or left out of metrics, where not defined.

    metrics: of `evaluate`, with 95 % bootstrap intervals. alerts: claims at or above the
    threshold. value_detected: share of the amount of all frauds that was alerted.
    """

    window: Window
    rows: int
    frauds: int
    metrics: dict[str, Interval]
    slices: tuple[Slice, ...]
    reliability: tuple[ReliabilityBin, ...]
    alerts: int
    alert_share: FiniteFloat
    precision_of_alerts: FiniteFloat | None
    recall_of_alerts: FiniteFloat | None
    value_detected: FiniteFloat | None


@dataclass(frozen=True)
class _Scored:
    """Labelled claims with what the model makes of them; frauds and alerted are bool [n]."""

    frauds: np.ndarray
    logits: np.ndarray
    probabilities: np.ndarray
    alerted: np.ndarray

    def of(self, claims: np.ndarray) -> _Scored:
        return _Scored(*(getattr(self, name)[claims] for name in self.__dataclass_fields__))

    @property
    def precision(self) -> float | None:
        return _ratio(self.frauds[self.alerted].sum(), self.alerted.sum())

    @property
    def recall(self) -> float | None:
        return _ratio(self.alerted[self.frauds].sum(), self.frauds.sum())


def validate_oot(
    labels: np.ndarray,
    logits: np.ndarray,
    probabilities: np.ndarray,
    *,
    times: np.ndarray | pd.DatetimeIndex,
    categories: Mapping[str, Sequence[str | None] | np.ndarray],
    amounts: np.ndarray | None,
    threshold: float,
    budget: float,
    window: Window,
    seed: int,
    resamples: int = 500,
) -> OotReport:
    """Judges a calibrated model on the labelled claims of the window.

    labels [n] 1 or True for fraud; logits, probabilities [n]; times [n] datetime64 in UTC, or a
    DatetimeIndex; categories: values [n] of each categorical feature, None where missing;
    amounts [n], nan where unknown, or None; threshold: on the logit.

    Slices are all months, in order, and of each feature the 20 values with the most claims.
    Raises SplitError when the window has no labelled claim.
    """
    if not len(labels):
        raise SplitError(
            f"the out-of-time window from {window.start:%F} to {window.end:%F} has no labelled "
            "claim; move split.oot, or take more claims"
        )
    scored = _Scored(np.asarray(labels).astype(bool), logits, probabilities, logits >= threshold)
    return OotReport(
        window=window,
        rows=len(labels),
        frauds=int(scored.frauds.sum()),
        metrics=bootstrap_intervals(
            scored.frauds,
            logits,
            budget=budget,
            probabilities=probabilities,
            resamples=resamples,
            seed=seed,
        ),
        slices=(*_months(scored, times), *_categories(scored, categories)),
        reliability=_reliability(scored),
        alerts=int(scored.alerted.sum()),
        alert_share=float(scored.alerted.mean()),
        precision_of_alerts=scored.precision,
        recall_of_alerts=scored.recall,
        value_detected=None if amounts is None else _value_detected(scored, amounts),
    )


def _value_detected(scored: _Scored, amounts: np.ndarray) -> float | None:
    """Unknown and negative amounts count as nothing."""
    at_stake = np.maximum(np.nan_to_num(amounts), 0) * scored.frauds
    return _ratio(at_stake[scored.alerted].sum(), at_stake.sum())


def _months(scored: _Scored, times: np.ndarray | pd.DatetimeIndex) -> Iterator[Slice]:
    months = np.asarray(times, dtype="datetime64[us]").astype("datetime64[M]")
    for month in np.unique(months):
        yield _slice("month", "event_month", str(month), scored.of(months == month))


def _categories(
    scored: _Scored, categories: Mapping[str, Sequence[str | None] | np.ndarray]
) -> Iterator[Slice]:
    for feature, values in categories.items():
        codes, known = pd.factorize(np.asarray(values, dtype=object))
        names = [*map(str, known), MISSING]  # code -1 is missing, and so is the last name
        found, sizes = np.unique(codes, return_counts=True)
        for code in found[np.argsort(-sizes, kind="stable")][:MAX_SLICE_VALUES]:
            yield _slice("category", feature, names[code], scored.of(codes == code))


def _slice(kind: Literal["category", "month"], feature: str, value: str, part: _Scored) -> Slice:
    rows, frauds = len(part.frauds), int(part.frauds.sum())
    judged = rows >= MIN_SLICE_CLAIMS and MIN_SLICE_CLASS <= frauds <= rows - MIN_SLICE_CLASS
    curve = Ranking(part.frauds, part.logits).curve() if judged else None
    return Slice(
        kind=kind,
        feature=feature,
        value=value,
        rows=rows,
        frauds=frauds,
        alerts=int(part.alerted.sum()),
        average_precision=curve.average_precision() if curve else None,
        roc_auc=curve.roc_auc() if curve else None,
        precision_of_alerts=part.precision if judged else None,
        recall_of_alerts=part.recall if judged else None,
        mean_probability=float(part.probabilities.mean()),
        fraud_rate=frauds / rows,
    )


def _reliability(scored: _Scored) -> tuple[ReliabilityBin, ...]:
    """Bins by rising probability; those left empty by equal probabilities are left out."""
    parts = CALIBRATION_BINS * TOP_PARTS
    fine = equal_mass_bins(scored.probabilities, parts)
    bins = np.where(fine < parts - TOP_PARTS, fine // TOP_PARTS * TOP_PARTS, fine)
    return tuple(_reliability_bin(scored.of(bins == place)) for place in np.unique(bins))


def _reliability_bin(part: _Scored) -> ReliabilityBin:
    rows, frauds = len(part.frauds), int(part.frauds.sum())
    low, high = wilson_interval(frauds, rows)
    return ReliabilityBin(
        rows=rows,
        frauds=frauds,
        probability_low=float(part.probabilities.min()),
        probability_high=float(part.probabilities.max()),
        mean_probability=float(part.probabilities.mean()),
        fraud_rate=frauds / rows,
        fraud_rate_low=low,
        fraud_rate_high=high,
    )


def wilson_interval(hits: int, n: int) -> tuple[float, float]:
    """95 % score interval of a share of n (Wilson 1927); inside [0, 1] for any hits, n > 0."""
    share, spread = hits / n, _Z**2 / n
    centre = (share + spread / 2) / (1 + spread)
    half = (spread * (share * (1 - share) + spread / 4)) ** 0.5 / (1 + spread)
    return max(0.0, centre - half), min(1.0, centre + half)


def _ratio(part: Any, whole: Any) -> float | None:
    return float(part / whole) if whole else None
