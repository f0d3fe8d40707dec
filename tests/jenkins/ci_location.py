"""A code location with the jobs' names, and what a build may meet: a failure, a long run."""

from __future__ import annotations

import time

import dagster as dg


@dg.op
def reads() -> None:
    raise dg.Failure("The landing zone is empty")


@dg.op
def scores() -> None:
    for _ in range(1200):
        time.sleep(0.1)


@dg.op
def syncs() -> None:
    """Nothing to do."""


@dg.job
def ingest_job() -> None:
    reads()


@dg.job
def scoring_job() -> None:
    scores()


@dg.job
def warehouse_sync_job() -> None:
    syncs()


defs = dg.Definitions(
    jobs=[ingest_job, scoring_job, warehouse_sync_job], executor=dg.in_process_executor
)
