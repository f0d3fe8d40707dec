"""What the API answered, beside what training, the batch flow and time have to say of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, FiniteFloat

from fraud_mlops.contract import CLAIM_ID, EVENT_TIME, MODEL_SCORE
from fraud_mlops.limits import Drift
from fraud_mlops.monitoring.drift import measure_drift
from fraud_mlops.monitoring.drift_report import FeatureDrift
from fraud_mlops.monitoring.performance import PeriodPerformance, performance_by_period

SAME = 1e-3
"""Distance in logits from which on an answer is not the batch's: rounding is a thousandth of it;
what is above has another history behind it, or features that the sender brought."""

LATE = timedelta(days=31)
"""So long after it happened a claim may be scored as one of now: its answer stands in the log by
that time, and is found by the claim's id."""


class ServedReport(BaseModel):
    """Answers on claims of one partition.

    predictions, alerts: all answers whose own event time lies in it; by_model: those of the model
    that the batch scored with, which drift is measured on; unmatched: those with the id of no claim
    of the partition or shortly before, up to the last claim there is. against_training: of the
    model's scores, from those of the training window; against_batch: from the batch's scores of the
    same period. matched: claims of the partition that the model has answered on, be it as ones of
    up to LATE after; compared: those of them that it has answered on as of their own time, since
    later answers have other histories; same_scores, same_decisions: shares of these answers;
    most_apart: greatest distance in logits. performance: of the last answer on each claim, by
    whichever model, joined by claim id to labels as they are known. None where there is nothing to
    measure.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    predictions: int
    alerts: int
    by_model: int
    unmatched: int
    against_training: FeatureDrift | None
    against_batch: FeatureDrift | None
    matched: int
    compared: int
    same_scores: FiniteFloat | None
    same_decisions: FiniteFloat | None
    most_apart: FiniteFloat | None
    performance: PeriodPerformance | None


@dataclass(frozen=True)
class BatchClaims:
    """n claims of one partition as the batch scored them. times: datetime64 in UTC; labels:
    float64, 1 fraud, 0 genuine, nan not known; amounts: float64, or None. end: of the partition;
    earlier: tells of ids those of claims that happened up to LATE before it."""

    claim_ids: pa.ChunkedArray
    times: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    alerts: np.ndarray
    amounts: np.ndarray | None
    end: datetime
    earlier: Callable[[pa.ChunkedArray], pa.ChunkedArray]


def served_report(
    answers: pa.Table,
    batch: BatchClaims,
    *,
    versions: Sequence[str],
    training: np.ndarray | None,
    limits: Drift,
    period: Literal["day", "week", "month"],
) -> ServedReport | None:
    """answers: columns of the prediction log from the partition's start to LATE after its end, in
    order of when they were given; versions: all names of the model that the batch scored with;
    training: scores of its training claims. None without answers.
    """
    claim_ids, times = answers.column(CLAIM_ID), _times(answers)
    place = _places(claim_ids, batch.claim_ids)
    inside = times < np.datetime64(batch.end.replace(tzinfo=None), "us")
    if not (inside | (place >= 0)).any():
        return None
    scores = answers.column("score").to_numpy()
    alerts = answers.column("alert").to_numpy(zero_copy_only=False)
    own = np.asarray(
        pc.is_in(answers.column("model_version"), value_set=pa.array(versions, pa.string()))
    )
    here = own & inside
    foreign = claim_ids.filter(pa.array((place < 0) & (times <= batch.times.max()))).drop_null()
    if len(foreign):
        foreign = foreign.filter(pa.array(_places(foreign, batch.earlier(foreign.unique())) < 0))
    theirs = np.flatnonzero(own & (place >= 0))
    matched = len(np.unique(place[theirs]))
    theirs = theirs[times[theirs] == batch.times[place[theirs]]]
    at = place[theirs]
    apart = np.abs(scores[theirs] - batch.scores[at])
    return ServedReport(
        predictions=int(inside.sum()),
        alerts=int(alerts[inside].sum()),
        by_model=int(here.sum()),
        unmatched=len(foreign),
        against_training=_drift(training, scores[here], limits),
        against_batch=_drift(batch.scores, scores[here], limits),
        matched=matched,
        compared=len(np.unique(at)),
        same_scores=_mean(apart < SAME),
        same_decisions=_mean(alerts[theirs] == batch.alerts[at]),
        most_apart=float(apart.max()) if len(apart) else None,
        performance=_performance(place, scores, alerts, batch, period),
    )


def _times(answers: pa.Table) -> np.ndarray:
    """datetime64 in UTC."""
    moments = pc.cast(answers.column(EVENT_TIME), pa.timestamp("us"))
    return np.asarray(moments.to_numpy(zero_copy_only=False))


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
