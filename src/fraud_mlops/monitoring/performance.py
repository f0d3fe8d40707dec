"""How the alerts turned out, once labels are known.

Labels arrive after their delay: nan is a claim whose label is not known yet. It counts among
rows and alerts, and nowhere else.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, FiniteFloat

from fraud_mlops.evaluation.metrics import Ranking
from fraud_mlops.lakehouse.periods import partition_value

Times = np.ndarray | pd.DatetimeIndex


class _Report(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PeriodPerformance(_Report):
    """One day, week or month of scored claims.

    period: as a partition is named: 2024-01-31, the Monday 2024-01-29 of a week, or 2024-01.
    rows, alerts: of all claims; all else of the labelled ones. labelled_alerts: what precision is
    a share of. value_detected: share of the amount of all frauds that was alerted. None where not
    defined: without a labelled alert, a fraud, an amount.
    """

    period: str
    rows: int
    labelled: int
    frauds: int
    alerts: int
    labelled_alerts: int
    precision_of_alerts: FiniteFloat | None
    recall_of_alerts: FiniteFloat | None
    value_detected: FiniteFloat | None
    average_precision: FiniteFloat | None


class DayPrecision(_Report):
    """precision: frauds among the `reviewed` highest scored labelled claims; None without any."""

    day: str
    rows: int
    labelled: int
    reviewed: int
    precision: FiniteFloat | None


class DailyPrecision(_Report):
    """mean: of the days that have a labelled claim, each day counting the same; None without."""

    mean: FiniteFloat | None
    days: tuple[DayPrecision, ...]


def performance_by_period(
    times: Times,
    labels: np.ndarray,
    scores: np.ndarray,
    alerts: np.ndarray,
    amounts: np.ndarray | None,
    *,
    period: Literal["day", "week", "month"],
) -> tuple[PeriodPerformance, ...]:
    """Performance of each period that has claims, in order.

    times: [n] datetime64 in UTC, or a DatetimeIndex; labels: float64 [n], 1 fraud, 0 genuine, nan
    not known; scores: [n], higher is more suspicious; alerts: bool [n]; amounts: [n], nan where
    unknown, or None. Unknown and negative amounts count as nothing.
    Raises TrainingError when the score of a labelled claim is not finite.
    """
    labels, alerts = np.asarray(labels, dtype=np.float64), np.asarray(alerts, dtype=bool)
    return tuple(
        _performance(
            name,
            labels[claims],
            scores[claims],
            alerts[claims],
            None if amounts is None else amounts[claims],
        )
        for name, claims in _periods(times, period)
    )


def _performance(
    name: str,
    labels: np.ndarray,
    scores: np.ndarray,
    alerts: np.ndarray,
    amounts: np.ndarray | None,
) -> PeriodPerformance:
    known = ~np.isnan(labels)
    frauds = labels == 1
    caught = frauds & alerts
    labelled_alerts = int((alerts & known).sum())
    average_precision = Ranking(frauds[known], scores[known]).curve().average_precision()
    value = None
    if amounts is not None:
        at_stake = np.maximum(np.nan_to_num(np.asarray(amounts, dtype=np.float64)), 0)
        value = _ratio(at_stake[caught].sum(), at_stake[frauds].sum())
    return PeriodPerformance(
        period=name,
        rows=len(labels),
        labelled=int(known.sum()),
        frauds=int(frauds.sum()),
        alerts=int(alerts.sum()),
        labelled_alerts=labelled_alerts,
        precision_of_alerts=_ratio(caught.sum(), labelled_alerts),
        recall_of_alerts=_ratio(caught.sum(), frauds.sum()),
        value_detected=value,
        average_precision=average_precision if math.isfinite(average_precision) else None,
    )


def daily_precision_at_budget(
    times: Times, labels: np.ndarray, scores: np.ndarray, *, budget: float
) -> DailyPrecision:
    """Precision of a team that looks into the same share of the claims every day.

    Arguments as of `performance_by_period`; budget: share of claims. Each day the k highest
    scored labelled claims count, k = max(1, round(budget * labelled claims)); equal scores at the
    cut count by the mean over their orders. k is counted on labelled claims alone: a day of which
    little is known yet would otherwise be searched deeper than the budget. Known as card
    precision top-k (Dal Pozzolo et al. 2018, Credit Card Fraud Detection).
    Raises TrainingError when the score of a labelled claim is not finite.
    """
    labels = np.asarray(labels, dtype=np.float64)
    days = tuple(
        _day(name, labels[claims], scores[claims], budget)
        for name, claims in _periods(times, "day")
    )
    return DailyPrecision(mean=mean_precision(days), days=days)


def mean_precision(days: Iterable[DayPrecision]) -> float | None:
    """Of the days that have a labelled claim, each day counting the same; None without any."""
    known = [day.precision for day in days if day.precision is not None]
    return sum(known) / len(known) if known else None


def _day(name: str, labels: np.ndarray, scores: np.ndarray, budget: float) -> DayPrecision:
    known = ~np.isnan(labels)
    labelled = int(known.sum())
    reviewed = max(1, math.floor(budget * labelled + 0.5)) if labelled else 0
    found = Ranking(labels[known] == 1, scores[known]).curve().frauds_within(reviewed)
    return DayPrecision(
        day=name,
        rows=len(labels),
        labelled=labelled,
        reviewed=reviewed,
        precision=found / reviewed if reviewed else None,
    )


def _periods(
    times: Times, period: Literal["day", "week", "month"]
) -> Iterator[tuple[str, np.ndarray]]:
    """Name and claims, as positions, of each period that has any, in order."""
    days, of_day = np.unique(np.asarray(times, dtype="datetime64[D]"), return_inverse=True)
    moments = pa.array(days.astype("datetime64[us]"), pa.timestamp("us", "UTC"))
    names, of_period = np.unique(
        np.asarray(partition_value(moments, period).to_pylist(), dtype=object), return_inverse=True
    )
    codes = of_period[of_day]
    order = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[order], np.arange(len(names) + 1))
    for name, (start, end) in zip(names, pairwise(starts), strict=True):
        yield str(name), order[start:end]


def _ratio(part: float, whole: float) -> float | None:
    return float(part / whole) if whole else None
