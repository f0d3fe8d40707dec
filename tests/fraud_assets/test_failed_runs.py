"""A failure is that of an asset and a partition, whoever launched the run."""

# No `from __future__ import annotations`: Dagster reads the types of contexts.

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from assets_kit import Place

from fraud_assets.sensors import failures

sys.path.append(str(Path(__file__).parents[1] / "notifications"))

from webhook import Webhook

Run = Callable[..., None]
MONTHS = dg.StaticPartitionsDefinition(["2024-01", "2024-02"])


@dg.asset(key=["parcels", "raw_zone"], partitions_def=MONTHS)
def raw_zone(context: dg.AssetExecutionContext) -> None:
    if context.run.tags.get("good") != "yes":
        raise ValueError("the source is empty")


@dg.asset(key=["parcels", "ml_outputs"], partitions_def=MONTHS)
def ml_outputs() -> None:
    """Always made."""


@pytest.fixture
def run(landed: Place) -> Run:
    """A run of one of the assets, by a job or, with none named, as the UI and automation launch."""
    defs = dg.Definitions(
        assets=[raw_zone, ml_outputs], jobs=[dg.define_asset_job("ingest_job", [raw_zone])]
    )

    def launched(job: str | None, asset: str = "raw_zone", *, good: bool = False) -> None:
        implicit = defs.resolve_implicit_global_asset_job_def()
        ended(
            landed,
            defs.resolve_job_def(job) if job else implicit,
            good=good,
            partition_key="2024-01",
            asset_selection=None if job else [landed.dataset.key(asset)],
        )

    return launched


def ended(landed: Place, job: dg.JobDefinition, *, good: bool, **given: Any) -> None:
    """A run of the job, and what people are told of its end."""
    run = job.execute_in_process(
        instance=landed.instance,
        tags={"good": "yes" if good else "no"},
        raise_on_error=False,
        **given,
    )
    context = dg.build_run_status_sensor_context(
        sensor_name="sensor",
        dagster_instance=landed.instance,
        dagster_run=run.dagster_run,
        dagster_event=next(e for e in run.all_events if e.is_run_failure or e.is_job_success),
    )
    if run.success:
        failures.run_recovery_sensor()(context)
    else:
        failures.run_failure_sensor()(context.for_run_failure(), stores=landed.stores)


def test_a_run_without_a_job_is_called_by_what_it_was_to_make(
    hook: Webhook, landed: Place, run: Run
) -> None:
    run(None)
    assert hook.titles == ["parcels/raw_zone failed in parcels__raw_zone"]
    (alert,) = landed.alerts()
    assert alert.title == "parcels/raw_zone failed"
    assert alert.facts["job"] == "parcels/raw_zone"


def test_another_asset_that_is_made_ends_no_problem(hook: Webhook, run: Run) -> None:
    run(None)
    run(None, "ml_outputs")
    run(None)
    assert len(hook.received) == 1


def test_what_failed_without_a_job_and_succeeds_in_one_is_told_as_over(
    hook: Webhook, run: Run
) -> None:
    run(None)
    run("ingest_job")  # the same problem
    assert len(hook.received) == 1
    run("ingest_job", good=True)
    assert hook.titles[1:] == ["ingest_job recovered"]
    run(None)
    assert len(hook.received) == 3


@dg.multi_asset(
    specs=[
        dg.AssetSpec(["parcels", "ml_outputs"], skippable=True),
        dg.AssetSpec(["parcels", "metrics"], skippable=True),
    ],
    can_subset=True,
)
def score(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult]:
    if context.run.tags.get("good") != "yes":
        raise ValueError("no model")
    for key in context.selected_asset_keys:
        yield dg.MaterializeResult(asset_key=key)


def test_metrics_alone_end_no_problem_of_scores(hook: Webhook, landed: Place) -> None:
    """One step makes both, or one of them, as the job asks."""
    defs = dg.Definitions(
        assets=[score],
        jobs=[
            dg.define_asset_job("scoring_job", [score]),
            dg.define_asset_job("metrics_sync_job", ["parcels/metrics"]),
        ],
    )
    ended(landed, defs.resolve_job_def("scoring_job"), good=False)
    ended(landed, defs.resolve_job_def("metrics_sync_job"), good=True)
    ended(landed, defs.resolve_job_def("scoring_job"), good=False)
    assert hook.titles == ["scoring_job failed in score"]
    ended(landed, defs.resolve_job_def("scoring_job"), good=True)
    assert hook.titles[1:] == ["scoring_job recovered"]


def test_how_long_something_fails_is_not_lost_among_runs_of_partitions(
    landed: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failures, "_PAGE", 3)

    @dg.op
    def training() -> None:
        raise ValueError("no memory")

    job = dg.GraphDefinition("training_job", node_defs=[training]).to_job()
    first = job.execute_in_process(instance=landed.instance, raise_on_error=False).dagster_run
    for _ in range(7):
        dg.materialize(
            [ml_outputs], instance=landed.instance, partition_key="2024-01", raise_on_error=False
        )
    last = job.execute_in_process(instance=landed.instance, raise_on_error=False).dagster_run
    (record,) = landed.instance.get_run_records(dg.RunsFilter(run_ids=[first.run_id]))
    since = failures.failing_since(landed.instance, last, "training", frozenset())
    assert since.timestamp() == record.end_time
