"""A champion that somebody moved by hand, told to Dagster as the model that leads now.

A rollback starts no run, and yet all scores to come are another model's: without this, Dagster
would not know, and would not score again.
"""

# No `from __future__ import annotations`: Dagster reads the types of context and resources.

import re
from datetime import UTC, datetime, timedelta

import dagster as dg

from dagster_metaflow.data_versions import DATA_VERSION_TAG, version_tags
from fraud_assets.dataset import MODEL_ARTIFACT, Dataset
from fraud_assets.stores import Stores
from fraud_mlops.errors import FraudMlopsError
from fraud_mlops.registry.pointers import Pointer, read_pointer

_INTERVAL_SECONDS = 60
_RUN = re.compile(r"[A-Za-z]\w*Flow/\S+")
_RUN_TAKES = timedelta(minutes=30)
"""From moving the pointer until Dagster has recorded it: the rest of the task, and AWS's lag. After
that nobody is waited for: the run was killed in between."""


def champion_sensor(dataset: Dataset) -> dg.SensorDefinition:
    """On from the start: it reads one small file, and launches nothing."""

    @dg.sensor(
        name=dataset.titled("champion_sensor"),
        minimum_interval_seconds=_INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Records when the champion is moved by hand: a promotion, or a rollback.",
    )
    def sensor(context: dg.SensorEvaluationContext, stores: Stores) -> dg.SensorResult:
        try:
            pointer = read_pointer(stores.models, dataset.name, "champion")
        except FraudMlopsError as error:
            return dg.SensorResult(skip_reason=str(error))
        if pointer is None:
            return dg.SensorResult(skip_reason="There is no champion yet.")
        known = leading_version(context.instance, dataset)
        if known == pointer.version:
            return dg.SensorResult(skip_reason=f"{pointer.version} leads.", cursor="")
        if _RUN.fullmatch(pointer.by) and datetime.now(UTC) - pointer.since < _RUN_TAKES:
            words = f"{pointer.version} leads; {pointer.by} has not reported it yet."
            return dg.SensorResult(skip_reason=words, cursor=pointer.since.isoformat())
        # Whoever moves it by a program may be about to report: what was moved is looked at twice.
        if context.cursor != pointer.since.isoformat():
            return dg.SensorResult(
                skip_reason=f"{pointer.version} leads since a moment ago.",
                cursor=pointer.since.isoformat(),
            )
        return dg.SensorResult(asset_events=[_moved(dataset, pointer)], cursor="")

    return sensor


def leading_version(instance: dg.DagsterInstance, dataset: Dataset) -> str | None:
    """The model version that Dagster takes for the champion."""
    event = instance.get_latest_materialization_event(dataset.key(MODEL_ARTIFACT))
    made = None if event is None else event.asset_materialization
    return None if made is None else (made.tags or {}).get(DATA_VERSION_TAG)


def _moved(dataset: Dataset, pointer: Pointer) -> dg.AssetMaterialization:
    return dg.AssetMaterialization(
        dataset.key(MODEL_ARTIFACT),
        description=f"{pointer.by}: {pointer.reason}",
        metadata={
            "model_version": pointer.version,
            "previous": pointer.previous or "none",
            "since": pointer.since.isoformat(),
            "by": pointer.by,
            "reason": pointer.reason,
        },
        tags=version_tags(pointer.version),
    )
