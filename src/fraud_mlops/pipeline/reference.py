"""A sample of the training claims, kept with the model: what later claims are compared with."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Set
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fraud_mlops.contract import EVENT_TIME, MODEL_SCORE
from fraud_mlops.errors import MEND, BundleError
from fraud_mlops.features.build import FeatureSet
from fraud_mlops.features.windows import reaches
from fraud_mlops.monitoring.drift import measure_drift
from fraud_mlops.monitoring.drift_report import DriftReport
from fraud_mlops.pipeline.judging import logits_of
from fraud_mlops.pipeline.windows import evenly, thinned

if TYPE_CHECKING:
    from fraud_mlops.models.fraud_model import FraudModel

REFERENCE = "reference.parquet"
REFERENCE_CLAIMS = 20_000
"""More would say little more of a distribution, and every scorer loads them."""

YEAR = timedelta(days=365)

_READ = 5 * REFERENCE_CLAIMS
_NOT_WHOLE = b"histories_not_whole"


def reference_bytes(
    features: FeatureSet, model: FraudModel, *, threads: int | None = None
) -> bytes:
    """Features and score of claims of the training window, in order of time, as Parquet.

    At most REFERENCE_CLAIMS, spread evenly; no id, and no entity but one that is a feature too.
    Histories that later claims are not to be held against stand in the metadata by name.
    """
    claims = pa.Table.from_batches(thinned(features, "train", _READ))
    claims, since = _with_full_histories(features, claims)
    claims = evenly(claims, REFERENCE_CLAIMS)
    told = claims.select([*features.numeric, *features.categorical])
    scores = logits_of(model, claims, threads=threads).astype(np.float64)
    told = told.append_column(MODEL_SCORE, pa.array(scores))
    stream = io.BytesIO()
    mark = {_NOT_WHOLE: json.dumps(_not_whole(features, since))}
    pq.write_table(told.combine_chunks().replace_schema_metadata(mark), stream, compression="zstd")
    return stream.getvalue()


def read_reference(files: Mapping[str, bytes]) -> pa.Table | None:
    """Of a bundle's files; None for a model that was made before bundles carried one."""
    if REFERENCE not in files:
        return None
    try:
        return pq.read_table(io.BytesIO(files[REFERENCE]))
    except pa.ArrowException as error:
        raise BundleError(f"{REFERENCE}: {error}; {MEND}") from None


def not_whole(reference: pa.Table) -> frozenset[str]:
    """Entity features whose histories were not whole, or not of a year, in the training claims,
    and seasonal columns where these were of less than a year.

    Records begin somewhere, and until then histories grow whether or not anything has changed;
    and in less than a year a season looks like a change. None of a model that is older than this.
    """
    mark = (reference.schema.metadata or {}).get(_NOT_WHOLE)
    return frozenset(json.loads(mark)) if mark else frozenset()


def training_scores(reference: pa.Table | None) -> np.ndarray | None:
    """What later scores may be held against; None where they rest on histories not whole."""
    if reference is None or not_whole(reference):
        return None
    return np.asarray(reference.column(MODEL_SCORE).to_numpy())


def yardstick(reference: pa.Table, model: FraudModel) -> pa.Table:
    """The reference with scores that later ones can be held against: of claims whose histories are
    not whole, as they would be without them."""
    if not (apart := not_whole(reference)):
        return reference
    return _scored_without(apart, model, reference.drop_columns([MODEL_SCORE]))


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
    """Drift of claims, and of their scores, against the `yardstick` of the model that scores them.

    A feature that the reference does not know, since the contract has it only now, is left out.
    Histories that are not whole there stand outside the verdict.
    """
    there, apart = set(reference.column_names), not_whole(reference)
    return measure_drift(
        reference,
        _scored_without(apart, model, claims),
        numeric=[name for name in features.numeric if name in there],
        categorical=[name for name in features.categorical if name in there],
        limits=features.contract.drift,
        apart=apart,
        classifier=classifier,
        window=window,
        seed=seed,
    )


def _scored_without(names: Set[str], model: FraudModel, claims: pa.Table) -> pa.Table:
    """The claims with scores as the model gives them where these features are not known."""
    blank = claims
    for name in names & set(claims.column_names):
        at = claims.column_names.index(name)
        field = claims.schema.field(at)
        blank = blank.set_column(at, field, pa.nulls(claims.num_rows, field.type))
    return claims.append_column(MODEL_SCORE, pa.array(logits_of(model, blank).astype(np.float64)))


def _with_full_histories(features: FeatureSet, claims: pa.Table) -> tuple[pa.Table, datetime]:
    """Claims late enough to have whole histories behind them, and since when they are.

    Of the longest histories that leave a year of training, else of the longest there are; and the
    later half of the claims where that would leave less.
    """
    needs = set(reaches(features.contract).values())
    if not needs:
        return claims, _from(features, timedelta(0))
    year = [need for need in needs if _spans_year(features, _from(features, need))]
    since = _from(features, max(year or needs))
    times = claims.column(EVENT_TIME)
    since = min(since, times[claims.num_rows // 2].as_py())
    return claims.filter(pc.greater_equal(times, pa.scalar(since, times.type))), since


def _not_whole(features: FeatureSet, since: datetime) -> list[str]:
    year = _spans_year(features, since)
    needs = reaches(features.contract)
    names = [name for name, need in needs.items() if not year or _from(features, need) > since]
    return names if year else [*names, *features.contract.drift.seasonal]


def _from(features: FeatureSet, need: timedelta) -> datetime:
    """When training claims begin to have so much time behind them."""
    begin = features.split.train.start
    return max(begin, (features.records_from or begin) + need)


def _spans_year(features: FeatureSet, since: datetime) -> bool:
    return since + YEAR <= features.split.train.end
