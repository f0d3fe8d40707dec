"""What others make of the assets: seen here, made elsewhere."""

# No `from __future__ import annotations`: Dagster reads the types of context and resources.

import hashlib
from collections.abc import Iterator
from typing import Any

import dagster as dg

from fraud_assets.assets.specs import SERVING, asset_spec, observable
from fraud_assets.dataset import MODEL_ARTIFACT, PREDICTION_LOG, SERVED_MODEL, Dataset
from fraud_assets.stores import Stores
from fraud_mlops.errors import FraudMlopsError
from fraud_mlops.reporting.served import log_facts, served_metrics

_SERVED = """The champion, as the scoring API has loaded it.

The API looks at the champion pointer and loads a new one by itself; nothing is materialized
here. It shows what a training reaches in the end, and whom a rollback concerns."""


def served_model(dataset: Dataset) -> dg.AssetSpec:
    """The model behind the API."""
    return asset_spec(
        dataset,
        SERVED_MODEL,
        group=SERVING,
        kinds={"fastapi"},
        description=_SERVED,
        deps=[dataset.key(MODEL_ARTIFACT)],
    )


_LOGGED = """Every score that the API has given: version, decision, a hash of the features.

Servers write it as they score, `prediction_log/<dataset>/day=<day>/*.parquet`; nothing is
materialized here. An observation says how far it goes, and what the last measuring made of it:
`metrics` sets served scores beside those of training and of the batch, and beside labels."""


def prediction_log(dataset: Dataset) -> dg.AssetsDefinition:
    """What the served model has decided, and what a challenger would have."""
    spec = asset_spec(
        dataset,
        PREDICTION_LOG,
        group=SERVING,
        kinds={"fastapi", "parquet"},
        description=_LOGGED,
        deps=[dataset.key(SERVED_MODEL)],
    )

    def observe(stores: Stores) -> Iterator[dg.ObserveResult]:
        yield _observed(dataset, stores)

    return observable(f"{dataset.name}__observe_predictions", spec, observe)


def _observed(dataset: Dataset, stores: Stores) -> dg.ObserveResult:
    """Raises Failure for a lakehouse that cannot be read."""
    try:
        facts, content = log_facts(stores.lakehouse, dataset.name)
        measured = served_metrics(stores.lakehouse, dataset.name)
    except FraudMlopsError as error:
        raise dg.Failure(str(error), allow_retries=False) from None
    partition, figures = measured or (None, {})
    told: dict[str, Any] = {f"served_{name}": value for name, value in figures.items()}
    if partition is not None:
        told["served_partition"] = partition
    version = hashlib.sha256(content.encode()).hexdigest()[:32]
    return dg.ObserveResult(
        asset_key=dataset.key(PREDICTION_LOG),
        data_version=dg.DataVersion(version),
        metadata={
            "dagster/uri": stores.lakehouse.uri(PREDICTION_LOG, dataset.name),
            **facts,
            **told,
        },
    )
