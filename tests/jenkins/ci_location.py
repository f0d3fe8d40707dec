"""A code location with the jobs' names, and what a build may meet: a failure, a long run."""

# No `from __future__ import annotations`: Dagster reads the types of configuration.

import time

import dagster as dg


@dg.op
def reads() -> None:
    raise dg.Failure("The landing zone is empty")


@dg.op
def scores() -> None:
    """Takes its time to end when it is cancelled, longer than Jenkins waits."""
    try:
        for _ in range(1200):
            time.sleep(0.1)
    finally:
        time.sleep(3)


@dg.op
def syncs() -> None:
    """Nothing to do."""


class Made(dg.Config):
    version: str


@dg.asset(key=["motor", "model_artifact"])
def model_artifact(config: Made) -> dg.MaterializeResult[None]:
    metadata = {"model_version": config.version, "verdict": "first", "average_precision": 0.8}
    return dg.MaterializeResult(metadata=metadata)


@dg.job
def ingest_job() -> None:
    reads()


@dg.job
def scoring_job() -> None:
    scores()


@dg.job
def warehouse_sync_job() -> None:
    syncs()


motor_training = dg.define_asset_job(
    "motor__training_job", selection=[model_artifact.key], tags={"dataset": "motor"}
)
defs = dg.Definitions(
    assets=[model_artifact],
    jobs=[ingest_job, scoring_job, warehouse_sync_job, motor_training],
    executor=dg.in_process_executor,
)
