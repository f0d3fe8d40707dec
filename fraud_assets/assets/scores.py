"""Scores of claims, and what became of them: ScoringFlow."""

# No `from __future__ import annotations`: Dagster reads the types of context and resources.

from collections.abc import Iterator
from typing import Any

import dagster as dg

from dagster_metaflow import MetaflowResource, metaflow_assets
from fraud_assets.assets.specs import SCORES, asset_spec, claims_freshness
from fraud_assets.automation import measure_when_scored, score_when_changed
from fraud_assets.dataset import METRICS, ML_OUTPUTS, MODEL_ARTIFACT, RAW_ZONE, Dataset
from fraud_assets.flows import scoring_flow
from fraud_assets.partitions import history
from fraud_assets.stores import Stores

_ML_OUTPUTS = """Score, probability, alert and reasons of every claim, a Parquet object a partition.

A score sends a claim to review; it denies none by itself. Scored with the champion of the moment,
which `model_version` names on every row."""

_METRICS = """Drift against training, and performance on labels known by now, a row a metric."""

_CHECKS = {
    ML_OUTPUTS: {
        "every_claim_scored": "Each claim of the raw zone has one score.",
        "no_duplicate_claims": "No claim has two scores.",
        "alert_budget": "No more alerts than the team can look into, and some at all.",
    },
    METRICS: {
        "drift": "Claims and scores are distributed as they were in training.",
        "label_maturity": "Claims old enough for a label have one.",
        "performance": "Performance on matured labels has not decayed since validation.",
    },
}
_BLOCKING = {"every_claim_scored", "no_duplicate_claims"}


def scores(dataset: Dataset) -> dg.AssetsDefinition:
    """Both assets of ScoringFlow; either can be made alone, and several partitions are one run."""
    flow = scoring_flow(dataset)

    @metaflow_assets(
        flow=flow,
        name=f"{dataset.name}__score",
        assets=[_ml_outputs(dataset), _metrics(dataset)],
        check_specs=_checks(dataset),
        pool="writer_scores",
    )
    def score(
        context: dg.AssetExecutionContext, metaflow: MetaflowResource, stores: Stores
    ) -> Iterator[Any]:
        yield from metaflow.run(context, flow, {"model_uri": stores.models}).stream()

    return score


def _ml_outputs(dataset: Dataset) -> dg.AssetSpec:
    return asset_spec(
        dataset,
        ML_OUTPUTS,
        group=SCORES,
        kinds={"parquet", "pytorch"},
        description=_ML_OUTPUTS,
        freshness=claims_freshness(dataset),
        deps=[
            dg.AssetDep(dataset.key(RAW_ZONE), partition_mapping=history(dataset.contract)),
            dataset.key(MODEL_ARTIFACT),
        ],
        partitions_def=dataset.partitions,
        automation_condition=score_when_changed(dataset),
    )


def _metrics(dataset: Dataset) -> dg.AssetSpec:
    return asset_spec(
        dataset,
        METRICS,
        group=SCORES,
        kinds={"parquet"},
        description=_METRICS,
        freshness=claims_freshness(dataset),
        deps=[dataset.key(ML_OUTPUTS)],
        partitions_def=dataset.partitions,
        automation_condition=measure_when_scored(),
    )


def _checks(dataset: Dataset) -> list[dg.AssetCheckSpec]:
    return [
        dg.AssetCheckSpec(
            name, asset=dataset.key(asset), description=text, blocking=name in _BLOCKING
        )
        for asset, checks in _CHECKS.items()
        for name, text in checks.items()
    ]
