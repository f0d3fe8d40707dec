"""Jobs that people, schedules and CI servers launch by name."""

from __future__ import annotations

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


def jobs(dataset: Dataset) -> list[UnresolvedAssetJobDefinition]:
    """Of one dataset. Partitioned ones take one partition, or a range of them as one run."""
    asset = dg.AssetSelection.assets
    ml_outputs, metrics, table = dataset.keys(ML_OUTPUTS, METRICS, SNOWFLAKE_METRICS)
    return [
        _job(dataset, INGEST, asset(dataset.key(RAW_ZONE)), "Reads claims into the raw zone."),
        _job(
            dataset,
            TRAINING,
            asset(dataset.key(MODEL_ARTIFACT)),
            "Trains candidates, and makes the best one champion if it beats the one that leads.",
        ),
        _job(
            dataset,
            SCORING,
            asset(ml_outputs, metrics),
            "Scores claims with the champion, and measures drift and performance.",
        ),
        _job(
            dataset,
            PIPELINE,
            asset(*dataset.keys(RAW_ZONE, MODEL_ARTIFACT), ml_outputs, metrics, table),
            "Everything in order: ingest, score and sync the partitions asked for, train in "
            "between.",
        ),
        _job(
            dataset,
            METRICS_SYNC,
            asset(metrics, table),
            "Measures scored partitions again, with the labels that are known by now, without "
            "scoring them again; and syncs what has changed to the warehouse.",
        ),
        _job(
            dataset,
            WAREHOUSE_SYNC,
            asset(table),
            "Syncs metrics that have changed to the warehouse, without measuring them again.",
        ),
        _job(
            dataset,
            CHECKS,
            dg.AssetSelection.checks(*check_keys(dataset)),
            "Looks at what lies in the stores; makes nothing.",
            whole_zones=True,
        ),
    ]


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
        # Steps launch a Metaflow run and follow it, or copy a few rows.
        executor_def=dg.in_process_executor,
    )
