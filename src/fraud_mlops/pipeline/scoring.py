"""Score claims: read, forward, calibrate, alert, explain the alerts, write; in flat memory."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from fraud_mlops.contract import CLAIM_ID, EVENT_TIME
from fraud_mlops.features.build import FeatureSet, window_batches
from fraud_mlops.lakehouse.partitions import Lakehouse, Partition, by_partition
from fraud_mlops.models.fraud_model import FraudModel
from fraud_mlops.models.reasons import attributions, reason_texts
from fraud_mlops.pipeline.plan import RunPlan
from fraud_mlops.pipeline.validation import Validated, champion_model

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

_PROGRESS_SECONDS = 3.0


def champion_to_be(plan: RunPlan, validated: Validated) -> tuple[FraudModel, str]:
    """The model that leads once the run is published: the winner, or the champion that held."""
    if not validated.promoted and plan.champion is not None:
        model = champion_model(plan)
        if model is not None:
            return model, plan.champion
    return FraudModel.from_files(validated.files), validated.version


def score(plan: RunPlan, features: FeatureSet, validated: Validated) -> tuple[Partition, ...]:
    """Scores every claim from the start of the OOT window on into the ml_outputs zone."""
    model, version = champion_to_be(plan, validated)
    period = features.contract.partition
    scored = _scored(model, version, features)
    metadata = {"run": plan.run, "launch_id": plan.launch_id, "model_version": version}
    partitions = Lakehouse(plan.output_uri).write_sorted(
        "ml_outputs",
        features.contract.name,
        period,
        by_partition(scored, EVENT_TIME, period),
        OUTPUTS,
        metadata,
    )
    print(f"scored {sum(p.rows for p in partitions):,} claims with {version}")
    return tuple(partitions)


def _scored(model: FraudModel, version: str, features: FeatureSet) -> Iterator[pa.RecordBatch]:
    began = told = time.monotonic()
    done, total = 0, features.windows["oot"].rows
    for batch in window_batches(features, "oot"):
        yield outputs(model, version, batch)
        done += batch.num_rows
        if time.monotonic() - told > _PROGRESS_SECONDS:
            told = time.monotonic()
            rate = done / (told - began)
            print(f"scored {done:,} of {total:,} claims ({rate:,.0f} a second)")


def outputs(model: FraudModel, version: str, claims: pa.RecordBatch) -> pa.RecordBatch:
    """The ml_outputs rows of a batch of claims with their features."""
    logits = model.logits(claims)
    alert = logits >= (np.inf if model.threshold is None else model.threshold)
    columns = [
        claims.column(CLAIM_ID),
        claims.column(EVENT_TIME),
        pa.array(logits.astype(np.float64)),
        pa.array(model.calibrated(logits)),
        pa.array(alert),
        _reasons(model, claims, alert),
        pa.repeat(version, claims.num_rows),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=OUTPUTS)


def _reasons(model: FraudModel, claims: pa.RecordBatch, alert: np.ndarray) -> pa.Array:
    """Explaining costs some thirty scorings, so that only claims for people to look at are."""
    texts: list[list[str]] = [[] for _ in range(len(alert))]
    at = np.flatnonzero(alert)
    if len(at):
        looked_at = claims.take(pa.array(at))
        told = reason_texts(model, looked_at, attributions(model, looked_at))
        for i, reasons in zip(at, told, strict=True):
            texts[i] = reasons
    return pa.array(texts, pa.list_(pa.string()))
