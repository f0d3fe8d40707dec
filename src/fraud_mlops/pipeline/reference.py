"""A sample of the training claims, kept with the model: what later claims are compared with."""

from __future__ import annotations

import io
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fraud_mlops.contract import EVENT_TIME, MODEL_SCORE
from fraud_mlops.errors import BundleError
from fraud_mlops.features.build import FeatureSet
from fraud_mlops.monitoring.drift import DriftReport, measure_drift
from fraud_mlops.pipeline.judging import logits_of
from fraud_mlops.pipeline.windows import evenly, thinned

if TYPE_CHECKING:
    from fraud_mlops.models.fraud_model import FraudModel

REFERENCE = "reference.parquet"
REFERENCE_CLAIMS = 20_000
"""More would say little more of a distribution, and every scorer loads them."""

_READ = 5 * REFERENCE_CLAIMS


def reference_bytes(features: FeatureSet, model: FraudModel) -> bytes:
    """Features and score of claims of the training window, in order of time, as Parquet.

    At most REFERENCE_CLAIMS, spread evenly; no id, and no entity but one that is a feature too.
    """
    claims = pa.Table.from_batches(thinned(features, "train", _READ))
    claims = evenly(_with_full_histories(features, claims), REFERENCE_CLAIMS)
    told = claims.select([*features.numeric, *features.categorical])
    told = told.append_column(MODEL_SCORE, pa.array(logits_of(model, claims).astype(np.float64)))
    stream = io.BytesIO()
    pq.write_table(told.combine_chunks().replace_schema_metadata(), stream, compression="zstd")
    return stream.getvalue()


def read_reference(files: Mapping[str, bytes]) -> pa.Table | None:
    """Of a bundle's files; None for a model that was made before bundles carried one."""
    if REFERENCE not in files:
        return None
    try:
        return pq.read_table(io.BytesIO(files[REFERENCE]))
    except pa.ArrowException as error:
        raise BundleError(
            f"{REFERENCE}: {error}; fetch the bundle again, or roll back to another version"
        ) from None


def drift_from(
    reference: pa.Table,
    features: FeatureSet,
    model: FraudModel,
    claims: pa.Table,
    *,
    window: str,
    seed: int = 0,
    classifier: bool = True,
) -> DriftReport:
    """Drift of claims, and of their scores, against the reference of the model that scores them.

    A feature that the reference does not know, since the contract has it only now, is left out.
    """
    there = set(reference.column_names)
    scores = pa.array(logits_of(model, claims).astype(np.float64))
    return measure_drift(
        reference,
        claims.append_column(MODEL_SCORE, scores),
        numeric=[name for name in features.numeric if name in there],
        categorical=[name for name in features.categorical if name in there],
        limits=features.contract.drift,
        classifier=classifier,
        window=window,
        seed=seed,
    )


def _with_full_histories(features: FeatureSet, claims: pa.Table) -> pa.Table:
    """Claims late enough to have a whole window of claims and of known labels behind them.

    Records begin somewhere, and until then histories grow whether or not anything has changed.
    All claims, where that would leave less than half of them.
    """
    contract = features.contract
    if not contract.entities:
        return claims
    full = features.split.train.start + timedelta(max(contract.windows)) + contract.label.delay
    moment = pa.scalar(full, pa.timestamp("us", "UTC"))
    late = claims.filter(pc.greater_equal(claims.column(EVENT_TIME), moment))
    return late if 2 * late.num_rows >= claims.num_rows else claims
