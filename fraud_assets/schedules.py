"""What is due by the clock. All are off until somebody switches them on: they launch runs."""

# No `from __future__ import annotations`: Dagster reads the types of context and resources.

from datetime import datetime, timedelta
from typing import Any

import dagster as dg

from fraud_assets.dataset import Dataset
from fraud_assets.jobs import CHECKS, INGEST, TRAINING
from fraud_assets.run_requests import run_request
from fraud_mlops.lakehouse.ranges import PartitionRange, partition_of, partition_start

RETRAIN_CRON = "0 3 1 * *"
_CHECK_CRON = "30 5 * * *"
_PERIOD_CRON = {"day": "0 2 * * *", "week": "0 2 * * 1", "month": "0 2 1 * *"}
_PERIOD_DAYS = {"day": 1, "week": 7, "month": 31}


def schedules(dataset: Dataset) -> list[dg.ScheduleDefinition]:
    """Retraining and checks; for claims that keep coming also another reading as labels ripen."""
    made = [
        dg.ScheduleDefinition(
            name=dataset.titled("training_schedule"),
            job_name=dataset.titled(TRAINING),
            cron_schedule=RETRAIN_CRON,
            execution_timezone="UTC",
            default_status=dg.DefaultScheduleStatus.STOPPED,
            description="Trains a challenger each month.",
        ),
        dg.ScheduleDefinition(
            name=dataset.titled("store_checks_schedule"),
            job_name=dataset.titled(CHECKS),
            cron_schedule=_CHECK_CRON,
            execution_timezone="UTC",
            default_status=dg.DefaultScheduleStatus.STOPPED,
            description="Looks over the stores each morning.",
        ),
    ]
    return [*made, _ripening(dataset)] if dataset.is_live and dataset.lands else made


def _ripening(dataset: Dataset) -> dg.ScheduleDefinition:
    @dg.schedule(
        name=dataset.titled("ingest_schedule"),
        job_name=dataset.titled(INGEST),
        cron_schedule=_PERIOD_CRON[dataset.contract.partition],
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description="Reads again the partitions whose labels have become known meanwhile.",
    )
    def ingest_schedule(context: dg.ScheduleEvaluationContext) -> Any:
        due = ripened(dataset, context.scheduled_execution_time)
        if due is None:
            return dg.SkipReason("No partition is old enough for its labels yet.")
        return run_request(dataset, INGEST, due, key=f"ripened {due.first} {due.last}")

    return ingest_schedule


def ripened(dataset: Dataset, now: datetime) -> PartitionRange | None:
    """Partitions of which labels have become known within the last period.

    A label is blank until its delay is over, and the file that holds it may never change again.
    """
    period = dataset.contract.partition
    delay = dataset.contract.label.delay
    began = dataset.partitions.start
    until = now - delay
    if until < began:
        return None
    since = max(until - timedelta(days=_PERIOD_DAYS[period]), began)
    first = partition_of(since, period)
    if partition_start(first, period) < began:
        first = partition_of(began, period)
    return PartitionRange.of(first, partition_of(until, period), period)
