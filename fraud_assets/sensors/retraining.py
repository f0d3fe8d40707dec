"""A training that drift, or decayed performance, asks for; no more often than the cool-down lets.

Looked at is how a check stands now, not that it has just failed: a drift that goes on while the
cool-down lasts is answered when it is over, and one that the last training has answered is not
asked about again.
"""

# No `from __future__ import annotations`: Dagster reads the types of context and resources.

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import dagster as dg

from fraud_assets.dataset import METRICS, MODEL_ARTIFACT, Dataset
from fraud_assets.jobs import TRAINING
from fraud_assets.run_requests import run_request
from fraud_mlops.settings import settings

REASON_TAG = "fraud/retrain_reason"
WATCHED = ("drift", "performance")
_INTERVAL_SECONDS = 300


class Failed(NamedTuple):
    """The latest evaluation of a check, when it has not passed. event: its id in the event log."""

    check: str
    at: datetime
    event: int


def retraining_sensor(dataset: Dataset) -> dg.SensorDefinition:
    """Off until somebody switches it on: it launches runs."""

    @dg.sensor(
        name=dataset.titled("retraining_sensor"),
        job_name=dataset.titled(TRAINING),
        minimum_interval_seconds=_INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description="Trains a challenger when the latest drift or performance check has failed, at "
        "the earliest FRAUD_RETRAIN_COOL_DOWN after the last training.",
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        trained = _last_trained(context.instance, dataset)
        failed = [
            found for check in WATCHED if (found := _failed(context.instance, dataset, check))
        ]
        return decide(dataset, failed, trained, datetime.now(UTC), settings().retrain_cool_down)

    return sensor


def decide(
    dataset: Dataset,
    failed: list[Failed],
    trained: datetime | None,
    now: datetime,
    cool_down: timedelta,
) -> dg.RunRequest | dg.SkipReason:
    """failed: checks that stand failed. trained: when the model was made last."""
    since = [found for found in failed if trained is None or found.at > trained]
    if not since:
        return dg.SkipReason("No check has failed since the last training.")
    names = " and ".join(found.check for found in since)
    if trained is not None and now < trained + cool_down:
        return dg.SkipReason(
            f"{names} failed; the model is of {trained:%F %T}, and cools down until "
            f"{trained + cool_down:%F %T}."
        )
    latest = max(found.event for found in since)
    return run_request(dataset, TRAINING, None, key=f"{latest}", tags={REASON_TAG: names})


def _last_trained(instance: dg.DagsterInstance, dataset: Dataset) -> datetime | None:
    event = instance.get_latest_materialization_event(dataset.key(MODEL_ARTIFACT))
    return None if event is None else datetime.fromtimestamp(event.timestamp, UTC)


def _failed(instance: dg.DagsterInstance, dataset: Dataset, check: str) -> Failed | None:
    key = dg.AssetCheckKey(dataset.key(METRICS), check)
    record = instance.get_latest_asset_check_evaluation_record(key)
    if record is None or record.event is None or record.event.dagster_event is None:
        return None
    found = record.event.dagster_event
    if found.event_type is not dg.DagsterEventType.ASSET_CHECK_EVALUATION:
        return None  # it is being evaluated
    if found.asset_check_evaluation_data.passed:
        return None
    return Failed(check, datetime.fromtimestamp(record.event.timestamp, UTC), record.id)
