"""A training that drift, or decayed performance, asks for; no more often than the cool-down lets.

Looked at is how a check stands now, not that it has just failed: a drift that goes on while the
cool-down lasts is answered when it is over, and one that the last training has answered is not
asked about again. A training that failed answers nothing: it is asked for once more when it has
cooled down too. A champion that was moved by hand is no training. None is asked for that would
make the champion once more: a split by dates stays where it is while claims move on.
"""

# No `from __future__ import annotations`: Dagster reads the types of context and resources.

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import dagster as dg

from dagster_metaflow.events import LAUNCH_TAG
from fraud_assets.dataset import MODEL_ARTIFACT, Dataset
from fraud_assets.jobs import TRAINING
from fraud_assets.run_requests import run_request
from fraud_assets.sensors.standing import Standing
from fraud_assets.sensors.watched import changes
from fraud_assets.stores import Stores
from fraud_mlops.errors import FraudMlopsError
from fraud_mlops.registry.relearning import champion_again
from fraud_mlops.settings import settings

REASON_TAG = "fraud/retrain_reason"
_INTERVAL_SECONDS = 300
_PAGE = 100


class Attempt(NamedTuple):
    """The latest run of the training job, however it ended. at: when it was launched."""

    run_id: str
    at: datetime
    ended: bool


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
    def sensor(
        context: dg.SensorEvaluationContext, stores: Stores
    ) -> dg.RunRequest | dg.SkipReason:
        trained = _last_trained(context.instance, dataset)
        failed = [one for one in changes(context.instance, dataset) if not one.passed]
        attempt = _last_attempt(context.instance, dataset)
        cool_down = settings().retrain_cool_down
        asked = decide(dataset, failed, trained, attempt, datetime.now(UTC), cool_down)
        return asked if isinstance(asked, dg.SkipReason) else _useful(asked, dataset, stores)

    return sensor


def _useful(
    asked: dg.RunRequest, dataset: Dataset, stores: Stores
) -> dg.RunRequest | dg.SkipReason:
    """A store that cannot tell keeps no training back: the run says what is wrong."""
    with suppress(FraudMlopsError):
        if version := champion_again(dataset.contract, stores.lakehouse, stores.models):
            return dg.SkipReason(
                f"{asked.tags[REASON_TAG]} failed; a training would learn from the claims that "
                f"{version} has learnt from, since the dates of the split have not moved. Move "
                f"them in {dataset.file.name}, or leave split out for shares that move. Other "
                "candidates, or another release, are trained by hand."
            )
    return asked


def decide(
    dataset: Dataset,
    failed: list[Standing],
    trained: datetime | None,
    attempt: Attempt | None,
    now: datetime,
    cool_down: timedelta,
) -> dg.RunRequest | dg.SkipReason:
    """failed: checks that stand failed. trained: when a training last came to its end.

    The key of the run names the attempt before it: looked at again before the run is there, the
    same one is asked for, and after a run that failed, another one.
    """
    since = [found for found in failed if trained is None or found.at > trained]
    if not since:
        return dg.SkipReason("No check has failed since the last training.")
    names = " and ".join(found.check for found in since)
    if trained is not None and now < trained + cool_down:
        return dg.SkipReason(
            f"{names} failed; the model is of {trained:%F %T}, and cools down until "
            f"{trained + cool_down:%F %T}."
        )
    if attempt is not None and not attempt.ended:
        return dg.SkipReason(f"{names} failed; training {attempt.run_id} is under way.")
    if attempt is not None and now < attempt.at + cool_down:
        return dg.SkipReason(
            f"{names} failed; training {attempt.run_id} was tried at {attempt.at:%F %T}, and cools "
            f"down until {attempt.at + cool_down:%F %T}."
        )
    latest = max(found.event for found in since)
    key = f"{latest} {attempt.run_id if attempt else ''}"
    return run_request(dataset, TRAINING, None, key=key, tags={REASON_TAG: names})


def _last_trained(instance: dg.DagsterInstance, dataset: Dataset) -> datetime | None:
    """When a run of the flow last reported a model; what people move by hand comes of none."""
    cursor = None
    while True:
        found = instance.fetch_materializations(dataset.key(MODEL_ARTIFACT), _PAGE, cursor)
        for record in found.records:
            made = record.asset_materialization
            if made is not None and LAUNCH_TAG in (made.tags or {}):
                return datetime.fromtimestamp(record.timestamp, UTC)
        if not found.has_more:
            return None
        cursor = found.cursor


def _last_attempt(instance: dg.DagsterInstance, dataset: Dataset) -> Attempt | None:
    runs = instance.get_run_records(dg.RunsFilter(job_name=dataset.titled(TRAINING)), limit=1)
    if not runs:
        return None
    run = runs[0].dagster_run
    return Attempt(run.run_id, runs[0].create_timestamp.astimezone(UTC), run.is_finished)
