"""Assets that are too old, and checks that stand failed without a run that fails.

Looked at is how things stand. The sensor's cursor is what stood at the last look and when people
were told of it: one that nobody could be told of is told at the next look, one that stands is told
again after a while, and its end is told to those who heard of it.
"""

# No `from __future__ import annotations`: Dagster reads the types of context and resources.

import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import dagster as dg
from pydantic import AwareDatetime, BaseModel, TypeAdapter

from fraud_assets.alerts import record_alert, tell
from fraud_assets.checks import quiet_check_keys
from fraud_assets.dataset import METRICS, ML_OUTPUTS, MODEL_ARTIFACT, RAW_ZONE, Dataset
from fraud_assets.jobs import CHECKS, INGEST, SCORING, TRAINING
from fraud_assets.sensors.failures import code_changed, page
from fraud_assets.sensors.standing import Standing, newest_made, standing
from fraud_assets.sensors.watched import warnings
from fraud_assets.stores import Stores
from fraud_mlops.notifications import Notification
from fraud_mlops.settings import settings

_INTERVAL_SECONDS = 120
_TELLING_SECONDS = 30.0
"""In a look; what is left over is told at the next. Dagster gives a sensor a minute."""
_TOO_OLD = "FAIL"
_MADE_BY = {RAW_ZONE: INGEST, MODEL_ARTIFACT: TRAINING, ML_OUTPUTS: SCORING, METRICS: SCORING}


class Problem(NamedTuple):
    """name: such as `claims/metrics drift`, the same as long as it stands."""

    name: str
    since: datetime
    reason: str
    next_command: str


class Known(BaseModel):
    """since: when it was first seen. told: when people were; None for never yet."""

    since: AwareDatetime
    told: AwareDatetime | None = None


_CURSOR = TypeAdapter(dict[str, Known])


def health_sensor(datasets: Sequence[Dataset]) -> dg.SensorDefinition:
    """On from the start: it launches nothing."""
    stores_checks = {one.name: quiet_check_keys(one) for one in datasets}

    @dg.sensor(
        name="health_sensor",
        minimum_interval_seconds=_INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Tells of assets that are older than their freshness policy lets them be, of "
        "checks by which a flow warns, and of checks of the stores that fail no run; "
        "and when that is over.",
    )
    def sensor(context: dg.SensorEvaluationContext, stores: Stores) -> dg.SkipReason:
        found = {
            problem.name: problem
            for dataset in datasets
            for problem in problems(context.instance, dataset, stores_checks[dataset.name])
        }
        before = _known(context.cursor)
        # A problem keeps the time that it was first seen with: its key.
        known = {name: Known(since=one.since) for name, one in found.items()} | before
        for name in found.keys() - before.keys():
            _record(stores, found[name], context.log)
        _tell_all(found, known, context.log)
        context.update_cursor(_CURSOR.dump_json(known).decode())
        now = "; ".join(sorted(found))
        return dg.SkipReason(now or "Everything is fresh, and no check failed.")

    return sensor


def _known(cursor: str | None) -> dict[str, Known]:
    """An older version's cursor has times alone, of problems that it took for told."""
    found = TypeAdapter(dict[str, Known | AwareDatetime]).validate_json(cursor or "{}")
    return {
        name: one if isinstance(one, Known) else Known(since=one, told=one)
        for name, one in found.items()
    }


def _tell_all(found: Mapping[str, Problem], known: dict[str, Known], log: logging.Logger) -> None:
    """Notes in `known` who was told, and leaves out what is over."""
    until = time.monotonic() + _TELLING_SECONDS
    for name, message in _due(found, known):
        if time.monotonic() < until and tell(message, log):
            if message.bad:
                known[name].told = datetime.now(UTC)
            else:
                del known[name]


def _due(
    found: Mapping[str, Problem], known: dict[str, Known]
) -> Iterator[tuple[str, Notification]]:
    again = datetime.now(UTC) - settings().notify_repeat
    for name, one in list(known.items()):
        key = f"{name}/{one.since.isoformat()}"
        if name in found:
            if one.told is None or one.told <= again:
                yield name, _message(key, found[name], one.since)
        elif one.told is None:
            del known[name]
        else:
            yield name, Notification(key=key, status="recovered", what=name, since=one.since)


def _message(key: str, problem: Problem, since: datetime) -> Notification:
    return Notification(
        key=key,
        status="warning",
        what=problem.name,
        reason=problem.reason,
        since=since,
        changed_by=code_changed(),
        link=page(f"assets/{problem.name.split()[0]}"),
        next_command=problem.next_command,
    )


def _record(stores: Stores, problem: Problem, log: logging.Logger) -> None:
    since = problem.since.isoformat()
    facts = {"reason": problem.reason, "since": since, "next": problem.next_command}
    title = Notification(key=problem.name, status="warning", what=problem.name).title
    record_alert(stores.lakehouse, f"{problem.name}-{since}", title, facts, log)


def problems(
    instance: dg.DagsterInstance, dataset: Dataset, quiet: Iterable[dg.AssetCheckKey]
) -> list[Problem]:
    """What stands wrong with a dataset's assets now. quiet: checks of the stores to look at."""
    return [
        *_stale(instance, dataset),
        *_warnings(instance, dataset),
        *_of_stores(instance, dataset, quiet),
    ]


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
        last = newest_made(instance, dataset, RAW_ZONE) or last
    made = newest_made(instance, dataset, asset) or last
    if made >= last:
        return f"{command} --partition {last}"
    return f"{command} --partition-range {made} {last}"


def _warnings(instance: dg.DagsterInstance, dataset: Dataset) -> Iterator[Problem]:
    for watched, one in warnings(instance, dataset):
        if not one.passed:
            key = dataset.key(watched.asset)
            yield _failed(key, one, watched.next_command(dataset, one))


def _of_stores(
    instance: dg.DagsterInstance, dataset: Dataset, quiet: Iterable[dg.AssetCheckKey]
) -> Iterator[Problem]:
    command = f"python -m fraud_assets.launch {dataset.titled(CHECKS)}"
    for key in sorted(quiet):
        one = standing(instance, key)
        if one and not one.passed:
            yield _failed(key.asset_key, one, command)


def _failed(asset: dg.AssetKey, one: Standing, next_command: str) -> Problem:
    reason = one.description or f"the check {one.check} did not pass"
    return Problem(f"{asset.to_user_string()} {one.check}", one.at, reason, next_command)
