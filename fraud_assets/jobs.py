"""Jobs that people, schedules and CI servers launch by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import dagster as dg

from fraud_assets.checks import blocking_check_keys, check_keys
from fraud_assets.dataset import (
    METRICS,
    ML_OUTPUTS,
    MODEL_ARTIFACT,
    RAW_ZONE,
    SNOWFLAKE_METRICS,
    Dataset,
)

if TYPE_CHECKING:
    from dagster._core.definitions.unresolved_asset_job_definition import (
        UnresolvedAssetJobDefinition,
    )

INGEST, TRAINING, SCORING = "ingest_job", "training_job", "scoring_job"
PIPELINE, CHECKS = "fraud_pipeline_job", "store_checks_job"
METRICS_SYNC, WAREHOUSE_SYNC = "metrics_sync_job", "warehouse_sync_job"


_MAKES: Mapping[str, tuple[tuple[str, ...], str]] = {
    INGEST: ((RAW_ZONE,), "Reads claims into the raw zone."),
    TRAINING: (
        (MODEL_ARTIFACT,),
        "Trains candidates, and makes the best one champion if it beats the one that leads.",
    ),
    SCORING: (
        (ML_OUTPUTS, METRICS),
        "Scores claims with the champion, and measures drift and performance.",
    ),
    PIPELINE: (
        (RAW_ZONE, MODEL_ARTIFACT, ML_OUTPUTS, METRICS, SNOWFLAKE_METRICS),
        "Everything in order: ingest, score and sync the partitions asked for, train in between.",
    ),
    METRICS_SYNC: (
        (METRICS, SNOWFLAKE_METRICS),
        "Measures scored partitions again, with the labels that are known by now, without scoring "
        "them again; and syncs what has changed to the warehouse.",
    ),
    WAREHOUSE_SYNC: (
        (SNOWFLAKE_METRICS,),
        "Syncs metrics that have changed to the warehouse, without measuring them again.",
    ),
}
"""By name: the assets that a job makes, and what it says of itself."""


def jobs(dataset: Dataset) -> list[UnresolvedAssetJobDefinition]:
    """Of one dataset. Partitioned ones take one partition, or a range of them as one run."""
    made = [
        _job(dataset, name, dg.AssetSelection.assets(*dataset.keys(*assets)), words)
        for name, (assets, words) in _MAKES.items()
    ]
    checks = dg.AssetSelection.checks(*check_keys(dataset))
    words = "Looks at what lies in the stores; makes nothing."
    return [*made, _job(dataset, CHECKS, checks, words, whole_zones=True)]


def _job(
    dataset: Dataset,
    name: str,
    selection: dg.AssetSelection,
    description: str,
    *,
    whole_zones: bool = False,
) -> UnresolvedAssetJobDefinition:
    """With the checks of its assets; those that read a whole zone have a job of their own."""
    slow = dg.AssetSelection.checks(*(check_keys(dataset) - blocking_check_keys(dataset)))
    return dg.define_asset_job(
        dataset.titled(name),
        selection=selection if whole_zones else selection - slow,
        description=description,
        tags={"dataset": dataset.name},
    )
