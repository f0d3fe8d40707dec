"""A code location of the kind that operators launch jobs in: quick, failing, slow, partitioned."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg

MONTHS = dg.MonthlyPartitionsDefinition(start_date="2024-01", end_date="2024-07", fmt="%Y-%m")


class Greeting(dg.Config):
    name: str = "world"


@dg.asset(pool="writer_raw")
def claims(context: dg.AssetExecutionContext, config: Greeting) -> dg.MaterializeResult[None]:
    context.log.info("reading claims for %s", config.name)
    context.log.debug("as they are on disk")
    return dg.MaterializeResult(metadata={"rows": 3, "loss": 0.25})


@dg.asset_check(asset=claims)
def claims_are_unique() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=True)


@dg.asset(deps=[claims])
def model() -> None:
    """Downstream of claims."""


@dg.asset
def shaky() -> None:
    """Always made, never sound."""


@dg.asset_check(asset=shaky)
def shaky_is_sound() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=False, description="3 of 3 rows are unsound")


@dg.asset_check(asset=shaky)
def shaky_is_pretty() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=False, severity=dg.AssetCheckSeverity.WARN)


@dg.asset(partitions_def=MONTHS, backfill_policy=dg.BackfillPolicy.single_run())
def monthly(context: dg.AssetExecutionContext) -> None:
    context.log.info("months: %s", ", ".join(context.partition_keys))
    time.sleep(0.5)


@dg.multi_asset(
    specs=[dg.AssetSpec("ranged")],
    partitions_def=MONTHS,
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def ranged(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None]]:
    """Says each partition again, with its rows, as runs of Metaflow do."""
    yield dg.MaterializeResult(asset_key="ranged")
    for month in context.partition_keys:
        rows = {"dagster/row_count": 10}
        context.log_event(dg.AssetMaterialization("ranged", partition=month, metadata=rows))


@dg.op
def fail_with_message() -> None:
    raise dg.Failure("The source is empty \x1b[31mand red\x1b[0m")


@dg.op
def sleep_a_minute() -> None:
    for _ in range(600):
        time.sleep(0.1)


@dg.op(pool="training")
def train() -> None:
    time.sleep(2)


@dg.op
def quick() -> None:
    """Says nothing, does nothing."""


@dg.op
def die_once() -> None:
    """What the kernel does to a process that takes too much memory, the first time."""
    if is_first("died"):
        os.kill(os.getpid(), signal.SIGKILL)


@dg.op
def hang_once() -> None:
    if is_first("hung"):
        time.sleep(600)


@dg.op
def prepare() -> None:
    """Done once."""


@dg.op(ins={"prepared": dg.In(dg.Nothing)})
def mend_once(context: dg.OpExecutionContext) -> None:
    if is_first(f"mended-{context.run.tags['mend']}"):
        raise dg.Failure("Not mended yet")


def is_first(name: str) -> bool:
    mark = Path(os.environ["DAGSTER_HOME"]) / name
    first = not mark.exists()
    mark.touch()
    return first


@dg.job
def failing_job() -> None:
    fail_with_message()


@dg.job
def slow_job() -> None:
    sleep_a_minute()


@dg.job
def training_job() -> None:
    train()


@dg.job
def quick_job() -> None:
    quick()


@dg.job
def mortal_job() -> None:
    die_once()


@dg.job
def mending_job() -> None:
    mend_once(prepared=prepare())


@dg.job
def hanging_job() -> None:
    hang_once()


defs = dg.Definitions(
    assets=[claims, model, shaky, monthly, ranged],
    asset_checks=[claims_are_unique, shaky_is_sound, shaky_is_pretty],
    jobs=[
        dg.define_asset_job("claims_job", selection=["claims", "model"]),
        dg.define_asset_job("shaky_job", selection=["shaky"]),
        dg.define_asset_job("monthly_job", selection=["monthly"]),
        dg.define_asset_job("ranged_job", selection=["ranged"]),
        failing_job,
        slow_job,
        training_job,
        quick_job,
        mortal_job,
        hanging_job,
        mending_job,
    ],
    executor=dg.in_process_executor,
)
