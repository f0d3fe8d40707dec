"""What is due by the clock, and what is told when a run fails."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
from assets_kit import Place

from fraud_assets.sensors.failures import (
    code_changed,
    failure_facts,
    failure_message,
    resume_command,
    run_failure_sensor,
)
from fraud_mlops.registry.pointers import Pointer
from fraud_mlops.settings import settings

VERSION = "20240801-aaaaaaaaaaaa"


def test_partitions_are_read_again_when_their_labels_are_known(landed: Place) -> None:
    schedule = landed.defs.resolve_schedule_def("ingest_schedule")
    at = datetime(2024, 6, 1, 2, tzinfo=UTC)
    context = dg.build_schedule_context(
        instance=landed.instance, scheduled_execution_time=at, repository_def=None
    )
    (request,) = schedule.evaluate_tick(context).run_requests
    assert request.job_name == "ingest_job"
    # Labels of April ripen in May: the delay is 30 days.
    assert request.tags["dagster/asset_partition_range_start"] == "2024-04"
    assert request.tags["dagster/asset_partition_range_end"] == "2024-05"


def test_a_closed_history_is_not_read_again_by_the_clock(generated: Place) -> None:
    names = {made.name for made in generated.defs.get_repository_def().schedule_defs}
    assert names == {"training_schedule", "store_checks_schedule"}


def test_a_failed_run_leaves_an_alert_that_says_how_to_go_on(landed: Place) -> None:
    @dg.op
    def breaks() -> None:
        raise ValueError("the source is empty")

    @dg.job(name="ingest_job", tags={"metaflow/IngestFlow": "IngestFlow/17"})
    def job() -> None:
        breaks()

    result = job.execute_in_process(
        instance=landed.instance, raise_on_error=False, tags={"dagster/partition": "2024-01"}
    )
    failure = next(e for e in result.all_events if e.is_run_failure)
    context = dg.build_run_status_sensor_context(
        sensor_name="run_failure_sensor",
        dagster_instance=landed.instance,
        dagster_run=result.dagster_run,
        dagster_event=failure,
    ).for_run_failure()
    run_failure_sensor()(context, stores=landed.stores)
    (alert,) = landed.alerts()
    assert alert.title == "ingest_job failed"
    assert alert.facts["step"] == "breaks"
    assert "the source is empty" in alert.facts["reason"]
    assert alert.facts["partition"] == "2024-01"
    assert alert.facts["metaflow_run"] == "IngestFlow/17"
    assert alert.facts["resume_by_hand"] == resume_command("IngestFlow/17")


def test_the_daemon_gives_the_stores_to_the_sensor_for_failures(landed: Place) -> None:
    @dg.op
    def breaks() -> None:
        raise ValueError("the source is empty")

    @dg.job
    def job() -> None:
        breaks()

    sensor = landed.defs.resolve_sensor_def("run_failure_sensor")

    def tick(cursor: str | None) -> str | None:
        stores = {"stores": landed.stores}
        context = dg.build_sensor_context(landed.instance, cursor, resources=stores)
        return sensor.evaluate_tick(context).cursor

    begun = tick(None)
    job.execute_in_process(instance=landed.instance, raise_on_error=False)
    tick(begun)
    assert [alert.title for alert in landed.alerts()] == ["job failed"]


def test_an_image_without_git_says_who_changed_it_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAUD_CHANGED_BY", "Ann Lee, 2026-03-01: Read parcels by month (a1b2c3d)")
    settings.cache_clear()
    try:
        assert code_changed() == "Ann Lee, 2026-03-01: Read parcels by month (a1b2c3d)"
    finally:
        settings.cache_clear()


def test_a_run_that_never_started_a_step_has_a_reason_too() -> None:
    run = dg.DagsterRun(job_name="scoring_job", run_id="1")
    assert failure_facts(run, [], "out of memory")["reason"] == "out of memory"


def test_a_run_that_dagster_tries_again_by_itself_says_so() -> None:
    run = dg.DagsterRun(job_name="scoring_job", run_id="1", tags={"dagster/will_retry": "true"})
    facts = failure_facts(run, [], "out of memory")
    assert facts["resume"].startswith("Dagster tries again by itself")
    message = failure_message(run, facts, datetime.now(UTC))
    assert message.facts["retry"].startswith("Dagster tries again by itself")


def test_the_command_to_resume_names_the_flow_file() -> None:
    assert resume_command("FraudDetectionFlow/17").endswith(
        "flows/fraud_detection_flow.py resume --origin-run-id 17"
    )


def champion(place: Place, by: str = "ann", *, minutes: float = 0) -> None:
    """Moved so many minutes ago."""
    since = datetime.now(UTC) - timedelta(minutes=minutes)
    pointer = Pointer(role="champion", version=VERSION, since=since, by=by, reason="rollback")
    path = place.folder / "lake" / "models" / place.dataset.name / "champion.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pointer.to_bytes())


def test_a_champion_moved_by_hand_is_recorded_once(generated: Place) -> None:
    assert "no champion" in generated.tick("champion_sensor").skip_message
    generated.report("model_artifact", "20240901-bbbbbbbbbbbb")
    champion(generated)
    first = generated.tick("champion_sensor")
    assert first.asset_events == []  # the run that moved it may be about to say so
    second = generated.tick("champion_sensor", first.cursor)
    (event,) = second.asset_events
    assert event.tags["dagster/data_version"] == VERSION
    assert event.description == "ann: rollback"
    generated.report("model_artifact", VERSION)
    assert generated.tick("champion_sensor", second.cursor).asset_events == []


def test_a_champion_that_its_own_run_reports_is_not_recorded_twice(generated: Place) -> None:
    champion(generated)
    first = generated.tick("champion_sensor")
    generated.report("model_artifact", VERSION)
    assert generated.tick("champion_sensor", first.cursor).asset_events == []


def test_a_run_that_moved_the_champion_has_time_to_end_and_to_report(generated: Place) -> None:
    """It is recorded when its task has ended, which AWS tells later still."""
    champion(generated, by="TrainingFlow/17", minutes=10)
    first = generated.tick("champion_sensor")
    again = generated.tick("champion_sensor", first.cursor)
    assert again.asset_events == []
    assert "TrainingFlow/17 has not reported it yet" in again.skip_message

    champion(generated, by="TrainingFlow/17", minutes=31)  # it never came to it
    late = generated.tick("champion_sensor", again.cursor)
    (event,) = generated.tick("champion_sensor", late.cursor).asset_events
    assert event.tags["dagster/data_version"] == VERSION
