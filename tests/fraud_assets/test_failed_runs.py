"""A failure is that of an asset and a partition, whoever launched the run."""

# No `from __future__ import annotations`: Dagster reads the types of contexts.

import sys
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest
from assets_kit import Place

from fraud_assets.sensors.failures import run_failure_sensor, run_recovery_sensor

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
        ended = (defs.resolve_job_def(job) if job else implicit).execute_in_process(
            instance=landed.instance,
            partition_key="2024-01",
            tags={"good": "yes" if good else "no"},
            asset_selection=None if job else [landed.dataset.key(asset)],
            raise_on_error=False,
        )
        context = dg.build_run_status_sensor_context(
            sensor_name="sensor",
            dagster_instance=landed.instance,
            dagster_run=ended.dagster_run,
            dagster_event=next(e for e in ended.all_events if e.is_run_failure or e.is_job_success),
        )
        if ended.success:
            run_recovery_sensor()(context)
        else:
            run_failure_sensor()(context.for_run_failure(), stores=landed.stores)

    return launched


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
