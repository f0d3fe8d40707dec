"""What others make of the assets: seen here, made elsewhere."""

from __future__ import annotations

import dagster as dg

from fraud_assets.assets.specs import SERVING, asset_spec
from fraud_assets.dataset import MODEL_ARTIFACT, SERVED_MODEL, Dataset

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
