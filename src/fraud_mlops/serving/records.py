"""What the prediction log has of a score: the columns, and scores as rows or columns of them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from fraud_mlops.contract import CLAIM_ID, EVENT_TIME

if TYPE_CHECKING:
    from fraud_mlops.serving.scorer import Inputs, Scorer, Scores

SCHEMA = pa.schema(
    [
        pa.field("request_id", pa.string(), nullable=False),
        pa.field(CLAIM_ID, pa.string()),
        pa.field(EVENT_TIME, pa.timestamp("us", "UTC"), nullable=False),
        pa.field("scored_at", pa.timestamp("us", "UTC"), nullable=False),
        pa.field("role", pa.string(), nullable=False),
        pa.field("model_version", pa.string(), nullable=False),
        pa.field("score", pa.float64(), nullable=False),
        pa.field("probability", pa.float64(), nullable=False),
        pa.field("alert", pa.bool_(), nullable=False),
        pa.field("threshold", pa.float64()),
        pa.field("features_sha256", pa.string(), nullable=False),
        pa.field("reasons", pa.list_(pa.string()), nullable=False),
        pa.field("state_version", pa.string()),
        pa.field("client", pa.string(), nullable=False),
    ]
)
"""role: champion, whose decision it was; challenger, which only looked on; what_if, of a claim that
was made up to see what would change. score: logit.
reasons: names of features. client: who asked. state_version: of the entity state."""

CHAMPION, CHALLENGER, WHAT_IF = "champion", "challenger", "what_if"

Record = tuple[Any, ...]
"""Values of SCHEMA's columns in order; times in microseconds since 1970."""


class Looked(NamedTuple):
    """One claim as it came, who had asked, and whose answer it is."""

    body: bytes
    request_id: str
    client: str
    scored_at: int
    moment: int
    role: str = CHAMPION


def records(
    scorer: Scorer,
    claim_ids: Sequence[str | None],
    inputs: Inputs,
    scores: Scores,
    reasons: Sequence[list[str]],
    looked: Sequence[Looked],
) -> list[Record]:
    """n claims as the prediction log has them; reasons: names of features."""
    version, threshold = scorer.version, scorer.model.threshold
    state = scorer.histories.data_version
    columns = zip(
        looked,
        claim_ids,
        scores.logits.tolist(),
        scores.probabilities.tolist(),
        scores.alerts.tolist(),
        inputs.digests(),
        reasons,
        strict=True,
    )
    return [
        (
            seen.request_id, claim_id, seen.moment, seen.scored_at, seen.role, version, logit,
            probability, alert, threshold, digest, names, state, seen.client,
        )
        for seen, claim_id, logit, probability, alert, digest, names in columns
    ]  # fmt: skip


def record_batch(
    scorer: Scorer,
    claim_ids: pa.Array,
    inputs: Inputs,
    scores: Scores,
    reasons: Sequence[list[str]],
    request_ids: pa.Array,
    client: str,
    role: str = CHAMPION,
) -> pa.RecordBatch:
    """n claims of one batch, as SCHEMA: what `records` has of them, by column."""
    n, scored_at = len(claim_ids), pa.scalar(now(), pa.int64())
    columns = {
        "request_id": request_ids,
        CLAIM_ID: claim_ids,
        EVENT_TIME: pa.array(inputs.moments, pa.int64()),
        "scored_at": pa.repeat(scored_at, n),
        "role": pa.repeat(role, n),
        "model_version": pa.repeat(scorer.version, n),
        "score": pa.array(scores.logits.astype(np.float64)),
        "probability": pa.array(scores.probabilities.astype(np.float64)),
        "alert": pa.array(scores.alerts),
        "threshold": pa.repeat(pa.scalar(scorer.model.threshold, pa.float64()), n),
        "features_sha256": pa.array(inputs.digests(), pa.string()),
        "reasons": pa.array(reasons, pa.list_(pa.string())),
        "state_version": pa.repeat(pa.scalar(scorer.histories.data_version, pa.string()), n),
        "client": pa.repeat(client, n),
    }
    arrays = [columns[field.name].cast(field.type) for field in SCHEMA]
    return pa.record_batch(arrays, schema=SCHEMA)


def now() -> int:
    """Microseconds since 1970."""
    return time.time_ns() // 1000
