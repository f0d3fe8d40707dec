"""When assets are made by themselves, once somebody has switched the automation sensor on.

`AutomationCondition.eager()` would look at the latest partition only, so that claims which land
late would not be scored; without that limit it would score all of history as soon as a first model
is there. These conditions are in between.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import dagster as dg

from fraud_assets.dataset import (
    LANDING,
    METRICS,
    ML_OUTPUTS,
    MODEL_ARTIFACT,
    RAW_ZONE,
    SNOWFLAKE_METRICS,
    Dataset,
)

Condition = dg.AutomationCondition
AssetCondition = dg.AutomationCondition[dg.AssetKey | dg.AssetCheckKey]

_TWO_PERIODS = {"day": 2, "week": 14, "month": 62}


def score_when_changed(dataset: Dataset) -> AssetCondition:
    """Scores what its claims, or the model, have changed for.

    Claims: a partition whose raw claims, or the histories before them, have become others is
    scored again if it has been scored before, and scored for the first time if it is one of the
    latest two. Older ones that were never scored are training data, or a backfill's business.

    Model: a new champion scores the latest partition that has claims: a period that has just
    begun may have none. What was decided by an older one stays as it was decided; scoring it
    again is a backfill that somebody asks for.

    Data that comes out the same as before, and a training that leaves the champion, change
    nothing. Nothing is requested for what lay there when the sensor was switched on.
    """
    changed = Condition.data_version_changed()
    # A first materialization is a change too, whatever version it has.
    claims = Condition.any_deps_match(changed | Condition.newly_true(~Condition.missing())).allow(
        dg.AssetSelection.assets(dataset.key(RAW_ZONE))
    )
    model = Condition.any_deps_match(changed).allow(
        dg.AssetSelection.assets(dataset.key(MODEL_ARTIFACT))
    )
    latest, before = _latest_two(dataset)
    worth_it = latest | before | ~Condition.missing()
    latest_has_claims = _has_claims(dataset, latest)
    newest: Any = latest | (before & ~latest_has_claims)
    wanted: Any = (claims & worth_it) | (model & newest)
    when: AssetCondition = (
        wanted.with_label("claims or champion changed").since_last_handled()
        & ~(latest & ~latest_has_claims)
        & ~(before & ~_has_claims(dataset, before))
        & ~_missing_model(dataset)
        & ~Condition.any_deps_in_progress()
        & ~Condition.in_progress()
    ).with_label("score when claims or champion change")
    return when


def _latest_two(dataset: Dataset) -> tuple[Any, Any]:
    """The latest partition, which may be under way, and the one before it."""
    two = timedelta(days=_TWO_PERIODS[dataset.contract.partition])
    latest = Condition.in_latest_time_window()
    return latest, Condition.in_latest_time_window(two) & ~latest


def _has_claims(dataset: Dataset, window: Any) -> Any:
    """Whether the raw zone has a partition of this window; the same for every partition.

    A dependency's conditions look at all partitions that a score is made of, its history too. By
    way of `landing`, which has no partitions, this looks at none but the window's.
    """
    there = Condition.asset_matches(dataset.key(RAW_ZONE), window & ~Condition.missing())
    return Condition.asset_matches(dataset.key(LANDING), there)


def _missing_model(dataset: Dataset) -> AssetCondition:
    return Condition.any_deps_match(Condition.missing()).allow(
        dg.AssetSelection.assets(dataset.key(MODEL_ARTIFACT))
    )


def measure_when_scored() -> AssetCondition:
    """Metrics of what is scored, in the same run where both are asked for."""
    return (
        Condition.any_deps_match(Condition.newly_updated() | Condition.will_be_requested())
        .with_label("scored anew")
        .since_last_handled()
        & ~Condition.any_deps_in_progress()
        & ~Condition.in_progress()
    ).with_label("measure when scored")


def sync_when_measured() -> AssetCondition:
    """Metrics that have changed go to the warehouse, in a run of their own.

    A warehouse that is out of reach must not fail the run that scores.
    """
    changed = Condition.data_version_changed() | Condition.newly_true(~Condition.missing())
    return (
        Condition.any_deps_match(changed).with_label("measured anew").since_last_handled()
        & ~Condition.any_deps_in_progress()
        & ~Condition.any_deps_missing()
        & ~Condition.in_progress()
    ).with_label("sync when measured")


def automation_sensor(dataset: Dataset) -> dg.AutomationConditionSensorDefinition:
    """Evaluates the conditions. Off until somebody switches it on: it launches runs."""
    return dg.AutomationConditionSensorDefinition(
        dataset.titled("scoring_automation"),
        target=dg.AssetSelection.assets(*dataset.keys(ML_OUTPUTS, METRICS, SNOWFLAKE_METRICS)),
        default_status=dg.DefaultSensorStatus.STOPPED,
        minimum_interval_seconds=60,
        description="Scores partitions whose claims changed, and the latest one when the champion "
        "changes; then measures them, and syncs what has changed to the warehouse.",
        run_tags={"dataset": dataset.name},
    )
