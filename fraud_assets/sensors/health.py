"""Assets that are too old, and checks of drift and performance that stand failed.

Looked at is how things stand, so that a problem is told when it begins and when it is over, once
each. What stood at the last look is the sensor's cursor.
"""

# No `from __future__ import annotations`: Dagster reads the types of context and resources.

import json
import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import dagster as dg

from fraud_assets.alerts import raise_alert, tell
from fraud_assets.dataset import METRICS, ML_OUTPUTS, MODEL_ARTIFACT, RAW_ZONE, Dataset
from fraud_assets.jobs import INGEST, SCORING, TRAINING
from fraud_assets.sensors.failures import code_changed, page
from fraud_assets.sensors.standing import WATCHED, standing
from fraud_assets.stores import Stores
from fraud_mlops.notifications import Notification

_INTERVAL_SECONDS = 120
_TOO_OLD = "FAIL"
_MADE_BY = {RAW_ZONE: INGEST, MODEL_ARTIFACT: TRAINING, ML_OUTPUTS: SCORING, METRICS: SCORING}


class Problem(NamedTuple):
    """name: such as `claims/metrics drift`, the same as long as it stands."""

    name: str
    since: datetime
    reason: str
    next_command: str


def health_sensor(datasets: Sequence[Dataset], stores: Stores) -> dg.SensorDefinition:
    """On from the start: it launches nothing."""

    @dg.sensor(
        name="health_sensor",
        minimum_interval_seconds=_INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Tells of assets that are older than their freshness policy lets them be, and "
        "of drift and performance checks that failed; and when that is over.",
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        before: dict[str, str] = json.loads(context.cursor or "{}")
        standing = [p for dataset in datasets for p in problems(context.instance, dataset)]
        for problem in standing:
            if problem.name not in before:
                _tell_begun(stores, problem, context.log)
        now = {problem.name: problem.since.isoformat() for problem in standing}
        for name in before.keys() - now.keys():
            over = Notification(key=f"{name}/{before[name]}", status="recovered", what=name)
            tell(over, context.log)
        # A problem keeps the time that it was first told with: its key.
        context.update_cursor(json.dumps(now | {n: t for n, t in before.items() if n in now}))
        return dg.SkipReason("; ".join(sorted(now)) or "Everything is fresh, and no check failed.")

    return sensor


def _tell_begun(stores: Stores, problem: Problem, log: logging.Logger) -> None:
    since = problem.since.isoformat()
    facts = {
        "reason": problem.reason,
        "since": since,
        "next": problem.next_command,
    }
    message = Notification(
        key=f"{problem.name}/{since}",
        status="warning",
        what=problem.name,
        reason=problem.reason,
        since=problem.since,
        changed_by=code_changed(),
        link=page(f"assets/{problem.name.split()[0]}"),
        next_command=problem.next_command,
    )
    raise_alert(
        stores.lakehouse, f"{problem.name}-{since}", message.title, facts, log, message=message
    )


def problems(instance: dg.DagsterInstance, dataset: Dataset) -> list[Problem]:
    """What stands wrong with a dataset's assets now."""
    return [*_stale(instance, dataset), *_failed_checks(instance, dataset)]


def _stale(instance: dg.DagsterInstance, dataset: Dataset) -> list[Problem]:
    """As Dagster's freshness daemon has found."""
    keys = dataset.keys(*_MADE_BY)
    found = []
    for key, record in instance.get_freshness_state_records(keys).items():
        if record.freshness_state.value != _TOO_OLD:
            continue
        latest = instance.get_latest_materialization_event(key)
        made = (
            f"{datetime.fromtimestamp(latest.timestamp, UTC):%F %H:%M} UTC" if latest else "never"
        )
        found.append(
            Problem(
                f"{key.to_user_string()} freshness",
                record.updated_at.astimezone(UTC),
                f"it is older than its freshness policy allows; last made: {made}",
                _launch(instance, dataset, key.path[-1]),
            )
        )
    return found


def _launch(instance: dg.DagsterInstance, dataset: Dataset, asset: str) -> str:
    """Makes what is lacking: of claims, what may have landed since the newest partition; of
    scores, what has claims. Without any, the newest partition that there may be."""
    command = f"python -m fraud_assets.launch {dataset.titled(_MADE_BY[asset])}"
    if asset == MODEL_ARTIFACT:
        return command
    last = dataset.partitions.get_last_partition_key()
    if last is None:
        return command
    if asset != RAW_ZONE:
        last = _newest_made(instance, dataset, RAW_ZONE) or last
    made = _newest_made(instance, dataset, asset) or last
    if made >= last:
        return f"{command} --partition {last}"
    return f"{command} --partition-range {made} {last}"


def _newest_made(instance: dg.DagsterInstance, dataset: Dataset, asset: str) -> str | None:
    """Of the partitions that the contract has now."""
    made = instance.get_materialized_partitions(dataset.key(asset))
    return max((key for key in made if dataset.partitions.has_partition_key(key)), default=None)


def _failed_checks(instance: dg.DagsterInstance, dataset: Dataset) -> list[Problem]:
    asset = dataset.key(METRICS).to_user_string()
    found = [standing(instance, dataset, check) for check in WATCHED]
    return [
        Problem(
            f"{asset} {one.check}",
            one.at,
            one.description or f"the check {one.check} did not pass",
            f"python -m fraud_assets.launch {dataset.titled(TRAINING)}",
        )
        for one in found
        if one is not None and not one.passed
    ]
