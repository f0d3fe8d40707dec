"""Alerts reach people: failed runs, drift, and assets that are too old; and what is over."""

# No `from __future__ import annotations`: Dagster reads the types of contexts.

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from assets_kit import Place
from dagster._core.definitions.freshness import FreshnessState, FreshnessStateChange

from fraud_assets.sensors.failures import run_failure_sensor, run_recovery_sensor
from fraud_assets.sensors.health import health_sensor, problems
from fraud_assets.sensors.standing import JUDGED
from fraud_mlops.settings import settings

sys.path.append(str(Path(__file__).parents[1] / "notifications"))

from webhook import Webhook


@pytest.fixture
def fail(landed: Place) -> Callable[..., dg.DagsterRun]:
    """A run of ingest_job, and the look at it by the sensor for how it has ended."""

    @dg.op
    def reads(context: dg.OpExecutionContext) -> None:
        if context.run.tags.get("good") != "yes":
            raise ValueError("the source is empty")

    @dg.job(name="ingest_job", tags={"metaflow/IngestFlow": "IngestFlow/17"})
    def job() -> None:
        reads()

    def run(good: bool = False, partition: str = "2024-01") -> dg.DagsterRun:
        tags = {"dagster/partition": partition, "good": "yes" if good else "no"}
        ended = job.execute_in_process(instance=landed.instance, raise_on_error=False, tags=tags)
        context = dg.build_run_status_sensor_context(
            sensor_name="run_failure_sensor",
            dagster_instance=landed.instance,
            dagster_run=ended.dagster_run,
            dagster_event=next(e for e in ended.all_events if e.is_run_failure or e.is_job_success),
        )
        if good:
            run_recovery_sensor()(context)
        else:
            run_failure_sensor()(context.for_run_failure(), stores=landed.stores)
        return ended.dagster_run

    return run


def test_a_failed_run_is_told_with_all_that_a_person_called_at_night_needs(
    hook: Webhook, fail: Callable[..., dg.DagsterRun]
) -> None:
    run = fail()
    (told,) = hook.received
    assert told["title"] == "ingest_job failed in reads"
    lines = told["message"]
    assert "Reason: ValueError: the source is empty" in lines
    assert f"Link: http://dagster.example.org/runs/{run.run_id}" in lines
    assert f"Next: python -m fraud_assets.launch --from-failure {run.run_id}" in lines
    assert "metaflow_run: IngestFlow/17" in lines
    assert "Since: 20" in lines


def test_a_job_that_fails_again_and_again_is_told_once_until_it_has_recovered(
    hook: Webhook, fail: Callable[..., dg.DagsterRun]
) -> None:
    fail()
    fail()
    assert len(hook.received) == 1
    fail(partition="2024-02")  # another partition is another problem
    assert len(hook.received) == 2
    fail(good=True)
    fail()
    assert len(hook.received) == 4


def test_a_job_that_succeeds_where_it_had_failed_is_told_once(
    hook: Webhook, fail: Callable[..., dg.DagsterRun]
) -> None:
    fail(good=True)
    assert hook.received == []
    fail()
    fail(good=True, partition="2024-02")
    assert hook.titles == ["ingest_job failed in reads"]
    run = fail(good=True)
    fail(good=True)
    assert hook.titles[1:] == ["ingest_job recovered"]
    told = hook.received[-1]["message"]
    assert "Step: reads" in told
    assert f"Link: http://dagster.example.org/runs/{run.run_id}" in told


@pytest.mark.parametrize("somebody", ["hook", None])
def test_a_first_run_says_of_nothing_that_it_has_recovered(
    fail: Callable[..., dg.DagsterRun],
    request: pytest.FixtureRequest,
    capfd: pytest.CaptureFixture[str],
    somebody: str | None,
) -> None:
    if somebody:
        request.getfixturevalue(somebody)
    fail(good=True)
    assert "recovered" not in capfd.readouterr().err


def test_an_end_that_is_held_back_stands_in_the_log(
    hook: Webhook,
    fail: Callable[..., dg.DagsterRun],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    for partition in ("2024-01", "2024-02"):
        fail(partition=partition)
    monkeypatch.setenv("FRAUD_NOTIFY_PER_HOUR", "1")
    settings.cache_clear()
    for partition in ("2024-01", "2024-02"):
        fail(good=True, partition=partition)
    assert hook.titles[2:] == ["ingest_job recovered"]
    assert "that ingest_job recovered: 1 were sent within the hour" in capfd.readouterr().err


def test_a_room_that_is_down_leaves_the_alert_on_record(
    landed: Place, fail: Callable[..., dg.DagsterRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FRAUD_NOTIFY_URLS", "json://127.0.0.1:9/room")
    monkeypatch.setenv("FRAUD_NOTIFY_TIMEOUT", "0.5")
    settings.cache_clear()
    fail()
    settings.cache_clear()
    (alert,) = landed.alerts()
    assert alert.title == "ingest_job failed"


def evaluated(place: Place, check: str, passed: bool, of: str | None = None) -> None:
    """of: the newest partition that it judges."""
    place.instance.report_runless_asset_event(
        dg.AssetCheckEvaluation(
            asset_key=place.dataset.key("metrics"),
            check_name=check,
            passed=passed,
            metadata={JUDGED: of},
            severity=dg.AssetCheckSeverity.WARN,
            description="amount: PSI 0.41" if not passed else None,
        )
    )


def freshness(place: Place, asset: str, state: FreshnessState) -> None:
    """As the freshness daemon reports it."""
    place.instance._report_runless_asset_event(
        FreshnessStateChange(
            key=place.dataset.key(asset),
            previous_state=FreshnessState.PASS,
            new_state=state,
            state_change_timestamp=datetime.now(UTC).timestamp(),
        )
    )


def look(place: Place, cursor: str | None = None) -> Any:
    return place.tick("health_sensor", cursor)


def test_drift_is_told_when_it_begins_and_when_it_is_over(hook: Webhook, landed: Place) -> None:
    first = look(landed)
    assert first.skip_message == "Everything is fresh, and no check failed."
    evaluated(landed, "drift", passed=False)
    second = look(landed, first.cursor)
    evaluated(landed, "drift", passed=False)  # measured again, and still there
    third = look(landed, second.cursor)
    assert hook.titles == ["parcels/metrics drift needs a look"]
    told = hook.received[0]["message"]
    assert "Reason: amount: PSI 0.41" in told
    assert "Link: http://dagster.example.org/assets/parcels/metrics" in told
    assert "Next: python -m fraud_assets.launch training_job" in told
    evaluated(landed, "drift", passed=True)
    look(landed, third.cursor)
    assert hook.titles[1:] == ["parcels/metrics drift recovered"]
    (alert,) = landed.alerts()
    assert alert.facts["reason"] == "amount: PSI 0.41"


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch, hook: Webhook) -> Callable[..., None]:
    """Closes the chat room, or opens it again; other settings by name."""

    def set_up(is_open: bool = True, **variables: str) -> None:
        monkeypatch.setenv("FRAUD_NOTIFY_URLS", hook.address if is_open else "json://127.0.0.1:9/x")
        monkeypatch.setenv("FRAUD_NOTIFY_TIMEOUT", "20" if is_open else "0.5")
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        settings.cache_clear()

    return set_up


def test_what_nobody_could_be_told_of_is_told_at_the_next_look(
    hook: Webhook, landed: Place, room: Callable[..., None]
) -> None:
    evaluated(landed, "drift", passed=False)
    room(is_open=False)
    first = look(landed)
    room()
    second = look(landed, first.cursor)
    assert hook.titles == ["parcels/metrics drift needs a look"]
    evaluated(landed, "drift", passed=True)
    room(is_open=False)
    third = look(landed, second.cursor)
    room()
    fourth = look(landed, third.cursor)
    look(landed, fourth.cursor)
    assert hook.titles[1:] == ["parcels/metrics drift recovered"]
    assert len(landed.alerts()) == 1


def test_the_end_is_told_though_the_file_of_what_was_told_is_lost(
    hook: Webhook, landed: Place, tmp_path: Path
) -> None:
    evaluated(landed, "drift", passed=False)
    first = look(landed)
    (tmp_path / "told.json").unlink()
    evaluated(landed, "drift", passed=True)
    look(landed, first.cursor)
    assert hook.titles[1:] == ["parcels/metrics drift recovered"]


def test_what_the_hour_had_no_room_for_is_told_when_it_has(
    hook: Webhook, landed: Place, room: Callable[..., None]
) -> None:
    for check in ("drift", "performance"):
        evaluated(landed, check, passed=False)
    room(FRAUD_NOTIFY_PER_HOUR="1")
    first = look(landed)
    assert len(hook.received) == 1
    room(FRAUD_NOTIFY_PER_HOUR="2")
    look(landed, first.cursor)
    assert len(set(hook.titles)) == 2


def test_the_end_of_what_nobody_was_told_of_is_told_to_nobody(
    hook: Webhook, landed: Place, room: Callable[..., None]
) -> None:
    evaluated(landed, "drift", passed=False)
    room(is_open=False)
    first = look(landed)
    evaluated(landed, "drift", passed=True)
    room()
    second = look(landed, first.cursor)
    assert hook.received == []
    assert second.cursor == "{}"


def test_what_stands_is_told_again_after_a_while(
    hook: Webhook, landed: Place, room: Callable[..., None]
) -> None:
    evaluated(landed, "drift", passed=False)
    first = look(landed)
    room(FRAUD_NOTIFY_REPEAT="0s")
    second = look(landed, first.cursor)
    assert hook.titles == ["parcels/metrics drift needs a look"] * 2
    assert "Times: 2 so far" in hook.received[-1]["message"]
    room(FRAUD_NOTIFY_REPEAT="6h")
    look(landed, second.cursor)
    assert len(hook.received) == 2


def test_the_cursor_of_an_older_version_is_read(hook: Webhook, landed: Place) -> None:
    evaluated(landed, "drift", passed=False)
    now = datetime.now(UTC).isoformat()
    after = look(landed, f'{{"parcels/metrics drift": "{now}"}}')
    assert hook.received == []
    assert "parcels/metrics drift" in after.cursor


def test_drift_is_not_over_because_an_old_partition_has_none(hook: Webhook, landed: Place) -> None:
    evaluated(landed, "drift", passed=False, of="2024-11")
    first = look(landed)
    evaluated(landed, "drift", passed=True, of="2024-03")
    second = look(landed, first.cursor)
    assert hook.titles == ["parcels/metrics drift needs a look"]
    evaluated(landed, "drift", passed=True, of="2024-12")
    look(landed, second.cursor)
    assert hook.titles[1:] == ["parcels/metrics drift recovered"]


def test_an_asset_that_is_too_old_is_told_with_the_job_that_makes_it(
    hook: Webhook, landed: Place
) -> None:
    freshness(landed, "raw_zone", FreshnessState.WARN)
    first = look(landed)
    assert hook.received == []
    freshness(landed, "raw_zone", FreshnessState.FAIL)
    second = look(landed, first.cursor)
    (told,) = hook.received
    assert told["title"] == "parcels/raw_zone freshness needs a look"
    assert "last made: never" in told["message"]
    newest = landed.dataset.partitions.get_last_partition_key()
    assert f"Next: python -m fraud_assets.launch ingest_job --partition {newest}" in told["message"]
    freshness(landed, "raw_zone", FreshnessState.PASS)
    look(landed, second.cursor)
    assert hook.titles[1:] == ["parcels/raw_zone freshness recovered"]


@pytest.mark.parametrize(
    ("made", "asset", "command"),
    [
        ({"raw_zone": ["2024-09", "2024-10"]}, "raw_zone", "ingest_job --partition-range 2024-10 "),
        # A month that has begun has no claims yet: to score it would fail.
        ({"raw_zone": ["2024-10"]}, "ml_outputs", "scoring_job --partition 2024-10"),
        (
            {"raw_zone": ["2024-08", "2024-10"], "metrics": ["2024-08"]},
            "metrics",
            "scoring_job --partition-range 2024-08 2024-10",
        ),
        ({"model_artifact": [None]}, "model_artifact", "training_job"),
    ],
)
def test_the_next_command_names_the_partitions_that_its_job_asks_for(
    landed: Place, made: dict[str, list[str | None]], asset: str, command: str
) -> None:
    for name, partitions in made.items():
        landed.report(name, "v", *partitions)
    freshness(landed, asset, FreshnessState.FAIL)
    (problem,) = problems(landed.instance, landed.dataset, quiet=())
    if command.endswith(" "):
        command += str(landed.dataset.partitions.get_last_partition_key())
    assert problem.next_command == f"python -m fraud_assets.launch {command}"


def warned(place: Place, asset: str, check: str, passed: bool, of: str | None = None) -> None:
    """As a flow reports it. of: the newest partition that it judges."""
    place.instance.report_runless_asset_event(
        dg.AssetCheckEvaluation(
            asset_key=place.dataset.key(asset),
            check_name=check,
            passed=passed,
            metadata={JUDGED: of} if of else {},
            severity=dg.AssetCheckSeverity.WARN,
            description="more than there should be",
        )
    )


@pytest.mark.parametrize(
    ("asset", "check", "command"),
    [
        ("raw_zone", "quarantine_share", "fraud-mlops quarantine --dataset "),
        ("model_artifact", "calibration", "fraud-mlops models list --dataset "),
        ("model_artifact", "oot_average_precision", "fraud-mlops models list --dataset "),
        ("ml_outputs", "alert_budget", "python -m fraud_assets.launch training_job"),
        (
            "metrics",
            "label_maturity",
            "python -m fraud_assets.launch ingest_job --partition 2024-11",
        ),
    ],
)
def test_what_a_flow_warns_of_is_told_once_and_when_it_is_over(
    hook: Webhook, landed: Place, asset: str, check: str, command: str
) -> None:
    newest = None if asset == "model_artifact" else "2024-11"
    warned(landed, asset, check, passed=False, of=newest)
    first = look(landed)
    second = look(landed, first.cursor)
    assert hook.titles == [f"parcels/{asset} {check} needs a look"]
    told = hook.received[0]["message"]
    assert "Reason: more than there should be" in told
    assert f"Next: {command}" in told
    warned(landed, asset, check, passed=True, of=newest)
    look(landed, second.cursor)
    assert hook.titles[1:] == [f"parcels/{asset} {check} recovered"]


@pytest.mark.parametrize(
    ("asset", "check"),
    [
        ("raw_zone", "quarantine_share"),
        ("ml_outputs", "alert_budget"),
        ("metrics", "label_maturity"),
    ],
)
def test_an_old_partition_made_again_does_not_speak_for_the_newest(
    hook: Webhook, landed: Place, asset: str, check: str
) -> None:
    landed.report(asset, "v", "2024-03", "2024-11")
    warned(landed, asset, check, passed=False, of="2024-11")
    warned(landed, asset, check, passed=True, of="2024-03")
    first = look(landed)
    assert hook.titles == [f"parcels/{asset} {check} needs a look"]
    warned(landed, asset, check, passed=True, of="2024-11")
    warned(landed, asset, check, passed=False, of="2024-03")
    look(landed, first.cursor)
    assert hook.titles[1:] == [f"parcels/{asset} {check} recovered"]


def test_checks_of_the_stores_are_made_once_and_not_with_every_look(
    hook: Webhook, landed: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    found_by_a_look(landed, "landing", "files_keep_landing", passed=False)
    sensor = health_sensor(landed.datasets)
    built: list[str] = []
    build = dg.asset_check

    def counted(*args: Any, **given: Any) -> Any:
        built.append("a check")
        return build(*args, **given)

    monkeypatch.setattr(dg, "asset_check", counted)
    context = dg.build_sensor_context(instance=landed.instance)
    sensor(context, stores=landed.stores)
    assert hook.titles == ["parcels/landing files_keep_landing needs a look"]
    assert built == []


def found_by_a_look(place: Place, asset: str, check: str, passed: bool, **metadata: Any) -> None:
    """An evaluation of a check of the stores."""
    place.instance.report_runless_asset_event(
        dg.AssetCheckEvaluation(
            asset_key=place.dataset.key(asset),
            check_name=check,
            passed=passed,
            metadata=metadata,
            severity=dg.AssetCheckSeverity.WARN,
            description=None if passed else "see who delivers them",
        )
    )


@pytest.mark.parametrize(
    ("asset", "check"),
    [
        ("landing", "files_keep_landing"),
        ("raw_zone", "newest_partition_present"),
        ("raw_zone", "no_claim_in_two_partitions"),
        ("model_artifact", "champion_is_recent"),
        ("prediction_log", "served_as_expected"),
        ("snowflake_metrics", "parity"),
    ],
)
def test_what_a_look_over_the_stores_finds_is_told_though_it_fails_no_run(
    hook: Webhook, landed: Place, asset: str, check: str
) -> None:
    found_by_a_look(landed, asset, check, passed=False)
    first = look(landed)
    assert hook.titles == [f"parcels/{asset} {check} needs a look"]
    told = hook.received[0]["message"]
    assert "Reason: see who delivers them" in told
    assert "Next: python -m fraud_assets.launch store_checks_job" in told
    found_by_a_look(landed, asset, check, passed=True)
    look(landed, first.cursor)
    assert hook.titles[1:] == [f"parcels/{asset} {check} recovered"]


def test_what_blocks_is_told_by_the_run_that_it_fails(hook: Webhook, landed: Place) -> None:
    found_by_a_look(landed, "ml_outputs", "rows_agree_with_raw_zone", passed=False)
    look(landed)
    assert hook.received == []


def test_a_partition_that_was_synced_does_not_say_that_all_were(
    hook: Webhook, landed: Place
) -> None:
    found_by_a_look(landed, "snowflake_metrics", "parity", passed=False, of_run=False)
    first = look(landed)
    found_by_a_look(landed, "snowflake_metrics", "parity", passed=True, of_run=True)
    second = look(landed, first.cursor)
    assert len(hook.received) == 1
    found_by_a_look(landed, "snowflake_metrics", "parity", passed=True, of_run=False)
    look(landed, second.cursor)
    assert hook.titles[1:] == ["parcels/snowflake_metrics parity recovered"]
