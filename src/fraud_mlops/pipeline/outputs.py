"""Rows of ml_outputs: what a model says of claims, the same by either engine."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from fraud_mlops.contract import CLAIM_ID, EVENT_TIME
from fraud_mlops.models.reasons import attributions, reason_texts

if TYPE_CHECKING:
    from fraud_mlops.models.fraud_model import FraudModel

OUTPUTS = pa.schema(
    [
        pa.field(CLAIM_ID, pa.string(), nullable=False),
        pa.field(EVENT_TIME, pa.timestamp("us", "UTC"), nullable=False),
        pa.field("score", pa.float64(), nullable=False),
        pa.field("probability", pa.float64(), nullable=False),
        pa.field("alert", pa.bool_(), nullable=False),
        pa.field("reasons", pa.list_(pa.string()), nullable=False),
        pa.field("model_version", pa.string(), nullable=False),
    ]
)
"""score: the model's logit, by which claims are ranked; probability: calibrated; reasons: of
alerted claims, strongest first."""

_BATCH_ROWS = 1 << 16


def of_one_size(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The rows in batches of one size, but for the last."""
    waiting: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        waiting.append(batch)
        rows += batch.num_rows
        while rows >= _BATCH_ROWS:
            table = pa.Table.from_batches(waiting)
            yield table.slice(0, _BATCH_ROWS).combine_chunks().to_batches()[0]
            waiting = table.slice(_BATCH_ROWS).to_batches()
            rows -= _BATCH_ROWS
    if rows:
        yield pa.Table.from_batches(waiting).combine_chunks().to_batches()[0]


def outputs(
    model: FraudModel, version: str, claims: pa.RecordBatch, unsaid: Collection[str]
) -> pa.RecordBatch:
    """The ml_outputs rows of a batch of claims with their features.

    unsaid: features whose values reasons do not tell.
    """
    logits = model.logits(claims)
    alert = logits >= (np.inf if model.threshold is None else model.threshold)
    columns = [
        claims.column(CLAIM_ID),
        claims.column(EVENT_TIME),
        pa.array(logits.astype(np.float64)),
        pa.array(model.calibrated(logits)),
        pa.array(alert),
        _reasons(model, claims, alert, unsaid),
        pa.repeat(version, claims.num_rows),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=OUTPUTS)


def _reasons(
    model: FraudModel, claims: pa.RecordBatch, alert: np.ndarray, unsaid: Collection[str]
) -> pa.Array:
    """Of alerts alone: they are what people look at."""
    texts: list[list[str]] = [[] for _ in range(len(alert))]
    at = np.flatnonzero(alert)
    if len(at):
        looked_at = claims.take(pa.array(at))
        shares = attributions(model, looked_at)
        told = reason_texts(model, looked_at, shares, unsaid=unsaid)
        for i, reasons in zip(at, told, strict=True):
            texts[i] = reasons
    return pa.array(texts, pa.list_(pa.string()))
