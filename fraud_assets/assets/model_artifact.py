"""The model that leads, and how it came to lead: TrainingFlow."""

# No `from __future__ import annotations`: Dagster reads the types of context and resources.

from collections.abc import Iterator
from typing import Any

import dagster as dg

from dagster_metaflow import MetaflowResource, metaflow_assets
from fraud_assets.assets.specs import MODELS, asset_spec, model_freshness
from fraud_assets.dataset import MODEL_ARTIFACT, RAW_ZONE, Dataset
from fraud_assets.flows import training_flow
from fraud_assets.partitions import learnt_from
from fraud_assets.stores import Stores

_DESCRIPTION = """A bundle of safetensors and JSON, chosen among candidates, judged out of time.

A challenger that does not beat the champion ends in `hold`, and the run is green: losing is no
failure. The data version names the model that leads, so that a training which leaves it changes
nothing downstream; `model_version` is the one that was made. The champion is a pointer;
`fraud-mlops models rollback` moves it back."""

_CHECKS = {
    "oot_window_untouched": "The latest claim, and the latest label, that the model has learnt "
    "from come before the out-of-time window.",
    "label_maturity": "Enough of the out-of-time claims old enough for a label have one.",
    "oot_average_precision": "Average precision out of time is above the fraud rate, interval and "
    "all: better than chance. Whether it beats the champion is for the gate to say, not for this.",
    "calibration": "Probabilities agree with the fraud rate, out of time.",
}
_BLOCKING = {"oot_window_untouched", "label_maturity"}


def model_artifact(dataset: Dataset) -> dg.AssetsDefinition:
    """The asset of TrainingFlow. One training at a time: pool `training`."""
    flow = training_flow(dataset)
    key = dataset.key(MODEL_ARTIFACT)
    spec = asset_spec(
        dataset,
        MODEL_ARTIFACT,
        group=MODELS,
        kinds={"pytorch"},
        description=_DESCRIPTION,
        freshness=model_freshness(dataset),
        deps=[dg.AssetDep(dataset.key(RAW_ZONE), partition_mapping=learnt_from(dataset.contract))],
    )
    checks = [
        dg.AssetCheckSpec(name, asset=key, description=text, blocking=name in _BLOCKING)
        for name, text in _CHECKS.items()
    ]

    @metaflow_assets(
        flow=flow,
        name=f"{dataset.name}__train",
        assets=[spec],
        check_specs=checks,
        pool="training",
    )
    def train(
        context: dg.AssetExecutionContext, metaflow: MetaflowResource, stores: Stores
    ) -> Iterator[Any]:
        yield from metaflow.run(context, flow, {"model_uri": stores.models}).stream()

    return train
