"""What the API answered, beside what training, the batch flow and time have to say of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, FiniteFloat

from fraud_mlops.contract import CLAIM_ID, MODEL_SCORE
from fraud_mlops.limits import Drift
from fraud_mlops.monitoring.drift import FeatureDrift, measure_drift
from fraud_mlops.monitoring.performance import PeriodPerformance, performance_by_period

SAME = 1e-3
"""Distance in logits from which on an answer is not the batch's: rounding is a thousandth of it;
what is above has another history behind it, or features that the sender brought."""


class ServedReport(BaseModel):
    """Answers on claims of one partition.

    predictions, alerts: all answers; by_model: those of the model that the batch scored with, which
    drift is measured on. against_training: of their scores, from those of the training window;
    against_batch: from the batch's scores of the same period. matched: claims of them that the
    batch has scored too; same_scores, same_decisions: shares of those; most_apart: greatest
    distance in logits. performance: of the last answer on each claim, by whichever model, joined by
    claim id to labels as they are known. None where there is nothing to measure.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    predictions: int
    alerts: int
    by_model: int
    against_training: FeatureDrift | None
    against_batch: FeatureDrift | None
    matched: int
    same_scores: FiniteFloat | None
    same_decisions: FiniteFloat | None
    most_apart: FiniteFloat | None
    performance: PeriodPerformance | None


@dataclass(frozen=True)
class BatchClaims:
    """n claims of one partition as the batch scored them. times: datetime64 in UTC; labels:
    float64, 1 fraud, 0 genuine, nan not known; amounts: float64, or None."""

    claim_ids: pa.ChunkedArray
    times: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    alerts: np.ndarray
    amounts: np.ndarray | None


def served_report(
    answers: pa.Table,
    batch: BatchClaims,
    *,
    versions: Sequence[str],
    training: np.ndarray | None,
    limits: Drift,
    period: Literal["day", "week", "month"],
) -> ServedReport | None:
    """answers: columns of the prediction log, in order of when they were given; versions: all
    names of the model that the batch scored with; training: scores of its training claims. None
    without answers.
    """
    if not answers.num_rows:
        return None
    scores = answers.column("score").to_numpy()
    alerts = answers.column("alert").to_numpy(zero_copy_only=False)
    own = np.asarray(
        pc.is_in(answers.column("model_version"), value_set=pa.array(versions, pa.string()))
    )
    place = _places(answers.column(CLAIM_ID), batch.claim_ids)
    at, theirs = place[own & (place >= 0)], np.flatnonzero(own & (place >= 0))
    apart = np.abs(scores[theirs] - batch.scores[at])
    return ServedReport(
        predictions=len(scores),
        alerts=int(alerts.sum()),
        by_model=int(own.sum()),
        against_training=_drift(training, scores[own], limits),
        against_batch=_drift(batch.scores, scores[own], limits),
        matched=len(np.unique(at)),
        same_scores=_mean(apart < SAME),
        same_decisions=_mean(alerts[theirs] == batch.alerts[at]),
        most_apart=float(apart.max()) if len(apart) else None,
        performance=_performance(place, scores, alerts, batch, period),
    )


def _places(claim_ids: pa.ChunkedArray, of: pa.ChunkedArray) -> np.ndarray:
    """Where each claim stands among others, -1 for nowhere."""
    found = pc.index_in(claim_ids, value_set=of.combine_chunks(), skip_nulls=True)
    return np.asarray(pc.fill_null(found, -1))


def _drift(reference: np.ndarray | None, scores: np.ndarray, limits: Drift) -> FeatureDrift | None:
    if reference is None or not len(scores):
        return None
    before, now = (pa.table({MODEL_SCORE: values}) for values in (reference, scores))
    return measure_drift(
        before, now, numeric=(), categorical=(), limits=limits, classifier=False
    ).score


def _performance(
    place: np.ndarray,
    scores: np.ndarray,
    alerts: np.ndarray,
    batch: BatchClaims,
    period: Literal["day", "week", "month"],
) -> PeriodPerformance | None:
    known = np.flatnonzero(place >= 0)
    claims, last = np.unique(place[known][::-1], return_index=True)
    if not len(claims):
        return None
    answer = known[len(known) - 1 - last]  # what was said last is what was acted on
    found = performance_by_period(
        batch.times[claims],
        batch.labels[claims],
        scores[answer],
        alerts[answer],
        None if batch.amounts is None else batch.amounts[claims],
        period=period,
    )
    return found[0]


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None
