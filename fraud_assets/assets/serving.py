"""What others make of the assets: seen here, made elsewhere."""

from __future__ import annotations

import dagster as dg

from fraud_assets.assets.specs import SERVING, asset_spec
from fraud_assets.dataset import MODEL_ARTIFACT, PREDICTION_LOG, SERVED_MODEL, Dataset

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
materialized here."""


def prediction_log(dataset: Dataset) -> dg.AssetSpec:
    """What the served model has decided, and what a challenger would have."""
    return asset_spec(
        dataset,
        PREDICTION_LOG,
        group=SERVING,
        kinds={"fastapi", "parquet"},
        description=_LOGGED,
        deps=[dataset.key(SERVED_MODEL)],
    )
