"""A code location of the kind that operators launch jobs in: quick, failing, slow, partitioned."""

import time

import dagster as dg

MONTHS = dg.MonthlyPartitionsDefinition(start_date="2024-01", end_date="2024-07", fmt="%Y-%m")


class Greeting(dg.Config):
    name: str = "world"


@dg.asset(pool="writer_raw")
def claims(context: dg.AssetExecutionContext, config: Greeting) -> dg.MaterializeResult[None]:
    context.log.info("reading claims for %s", config.name)
    return dg.MaterializeResult(metadata={"rows": 3, "name": config.name})


@dg.asset_check(asset=claims)
def claims_are_unique() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=True)


@dg.asset(deps=[claims])
def model() -> None:
    """Downstream of claims."""


@dg.asset
def shaky() -> None:
    """An asset that is always made, with a check that always fails."""


@dg.asset_check(asset=shaky, description="Never passes.")
def shaky_is_sound() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=False, description="3 of 3 rows are unsound")


@dg.asset(partitions_def=MONTHS, backfill_policy=dg.BackfillPolicy.single_run())
def monthly(context: dg.AssetExecutionContext) -> None:
    context.log.info("months: %s", ", ".join(context.partition_keys))


@dg.op
def fail_with_message() -> None:
    raise dg.Failure("The source is empty", metadata={"rows": 0})


@dg.op
def sleep_a_minute() -> None:
    for _ in range(600):
        time.sleep(0.1)


@dg.op(pool="training")
def quick() -> None:
    """Says nothing, does nothing."""


@dg.job
def failing_job() -> None:
    fail_with_message()


@dg.job
def slow_job() -> None:
    sleep_a_minute()


@dg.job
def quick_job() -> None:
    quick()


defs = dg.Definitions(
    assets=[claims, model, shaky, monthly],
    asset_checks=[claims_are_unique, shaky_is_sound],
    jobs=[
        dg.define_asset_job("claims_job", selection=["claims", "model"]),
        dg.define_asset_job("shaky_job", selection=["shaky"]),
        dg.define_asset_job("monthly_job", selection=["monthly"]),
        failing_job,
        slow_job,
        quick_job,
    ],
    executor=dg.in_process_executor,
)
