"""Drift and decay ask for a training, but not again and again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
from assets_kit import GENERATED, Place

from dagster_metaflow.events import LAUNCH_TAG
from fraud_assets.sensors.retraining import Attempt, decide
from fraud_assets.sensors.standing import JUDGED, Standing
from fraud_mlops.lakehouse.partitions import Partition
from fraud_mlops.pipeline.ingesting import ingest
from fraud_mlops.pipeline.plan import plan_run
from fraud_mlops.registry.bundle import Manifest, bundle_version, write_bundle
from fraud_mlops.registry.pointers import promote
from fraud_mlops.settings import settings

NOW = datetime(2024, 6, 20, tzinfo=UTC)
DAY = timedelta(days=1)
COOL = 14 * DAY


def check(
    place: Place, name: str, *, passed: bool, of: str | None = None, asset: str = "metrics"
) -> None:
    """of: the newest partition that it judges."""
    place.instance.report_runless_asset_event(
        dg.AssetCheckEvaluation(
            asset_key=place.dataset.key(asset),
            check_name=name,
            passed=passed,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={JUDGED: of},
        )
    )


def trained(place: Place) -> None:
    """As a run of TrainingFlow reports the model that leads after it."""
    place.report("model_artifact", "20240801-aaaaaaaaaaaa", tags={LAUNCH_TAG: "17"})


@contextmanager
def without_cool_down(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as changed:
        changed.setenv("FRAUD_RETRAIN_COOL_DOWN", "0s")
        settings.cache_clear()
        try:
            yield
        finally:
            settings.cache_clear()


def failed(days_ago: float, event: int = 1, name: str = "drift") -> Standing:
    return Standing(name, False, NOW - days_ago * DAY, event, None)


@pytest.mark.parametrize(
    ("found", "trained", "asked"),
    [
        ([], None, False),
        ([failed(1)], None, True),
        ([failed(1)], 20, True),
        ([failed(1)], 5, False),  # cools down
        ([failed(10)], 14, True),  # failed while it cooled down, and still stands
        ([failed(20)], 15, False),  # the training since has answered it
    ],
)
def test_a_failed_check_is_answered_once_and_not_too_soon(
    generated: Place, found: list[Standing], trained: int | None, asked: bool
) -> None:
    at = None if trained is None else NOW - trained * DAY
    answer = decide(generated.dataset, found, at, None, NOW, COOL)
    assert isinstance(answer, dg.RunRequest) == asked


@pytest.mark.parametrize(
    ("days_ago", "ended", "asked"),
    [
        (30, True, True),  # it failed, and the drift still stands
        (5, True, False),  # it failed, and cools down like one that did not
        (30, False, False),  # it is under way, or waits for a worker
    ],
)
def test_a_training_that_failed_is_asked_for_again_when_it_has_cooled_down(
    generated: Place, days_ago: int, ended: bool, asked: bool
) -> None:
    found = [failed(40)]
    first = decide(generated.dataset, found, None, None, NOW - 40 * DAY, COOL)
    attempt = Attempt("run-1", NOW - days_ago * DAY, ended)
    answer = decide(generated.dataset, found, None, attempt, NOW, COOL)
    assert isinstance(answer, dg.RunRequest) == asked
    if asked:
        # Dagster launches nothing for a key that it knows.
        assert answer.run_key != first.run_key


def test_the_same_failure_is_one_run_and_the_next_failure_another(generated: Place) -> None:
    keys = [
        decide(generated.dataset, found, None, None, NOW, COOL).run_key
        for found in ([failed(3, 7)], [failed(3, 7)], [failed(3, 7), failed(1, 9, "performance")])
    ]
    assert keys[0] == keys[1] != keys[2]


def test_the_sensor_reads_how_checks_stand_in_dagster(generated: Place) -> None:
    assert "No check has failed" in generated.tick("retraining_sensor").skip_message
    check(generated, "drift", passed=False)
    asked = generated.tick("retraining_sensor").run_requests
    assert [request.job_name for request in asked] == ["training_job"]
    assert asked[0].tags["fraud/retrain_reason"] == "drift"

    check(generated, "drift", passed=True)
    assert "No check has failed" in generated.tick("retraining_sensor").skip_message
    trained(generated)
    check(generated, "performance", passed=False)
    assert "cools down until" in generated.tick("retraining_sensor").skip_message


@pytest.mark.parametrize(
    ("asset", "name"),
    [
        ("raw_zone", "quarantine_share"),
        ("model_artifact", "calibration"),
        ("model_artifact", "oot_average_precision"),
        ("ml_outputs", "alert_budget"),
        ("metrics", "label_maturity"),
    ],
)
def test_what_people_are_warned_of_besides_starts_no_training(
    generated: Place, asset: str, name: str
) -> None:
    check(generated, name, passed=False, asset=asset)
    assert "No check has failed" in generated.tick("retraining_sensor").skip_message


def test_the_cool_down_is_a_setting(generated: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    trained(generated)
    check(generated, "drift", passed=False)
    with without_cool_down(monkeypatch):
        assert generated.tick("retraining_sensor").run_requests


def test_a_champion_moved_by_hand_is_no_training(generated: Place) -> None:
    check(generated, "drift", passed=False)
    generated.report("model_artifact", "20240701-bbbbbbbbbbbb")  # as `champion_sensor` does
    assert generated.tick("retraining_sensor").run_requests
    trained(generated)
    generated.report("model_artifact", "20240701-bbbbbbbbbbbb")
    assert "No check has failed" in generated.tick("retraining_sensor").skip_message


def test_a_run_that_failed_is_an_attempt(generated: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    @dg.op
    def breaks() -> None:
        raise ValueError("out of memory")

    @dg.job(name="training_job")
    def job() -> None:
        breaks()

    check(generated, "drift", passed=False)
    first = generated.tick("retraining_sensor").run_requests[0]
    job.execute_in_process(instance=generated.instance, raise_on_error=False)
    assert "was tried at" in generated.tick("retraining_sensor").skip_message
    with without_cool_down(monkeypatch):
        again = generated.tick("retraining_sensor").run_requests[0]
    assert again.run_key != first.run_key


def test_an_old_partition_measured_again_does_not_hide_the_drift_of_the_newest(
    generated: Place,
) -> None:
    check(generated, "drift", passed=False, of="2024-11")
    check(generated, "drift", passed=True, of="2024-03")
    assert generated.tick("retraining_sensor").run_requests
    check(generated, "drift", passed=True, of="2024-11")
    assert not generated.tick("retraining_sensor").run_requests
    check(generated, "drift", passed=False, of="2024-03")
    assert not generated.tick("retraining_sensor").run_requests


def test_a_look_ends_with_the_newest_partition_and_goes_on_as_far_as_that_is(
    generated: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each evaluation that is looked at is read and parsed, with every tick."""
    storage = generated.instance.event_log_storage
    history, read = storage.get_asset_check_execution_history, Counter[str]()

    def counted(key: dg.AssetCheckKey, **given: Any) -> Any:
        found = history(key, **given)
        read[key.name] += len(found)
        return found

    monkeypatch.setattr(storage, "get_asset_check_execution_history", counted)
    generated.report("metrics", "v", "2024-03", "2024-11")
    for _ in range(60):
        check(generated, "drift", passed=True, of="2024-10")
    check(generated, "drift", passed=False, of="2024-11")
    assert generated.tick("retraining_sensor").run_requests
    assert read["drift"] < 60
    for _ in range(60):
        check(generated, "drift", passed=True, of="2024-03")
    assert generated.tick("retraining_sensor").run_requests
    assert read["drift"] > 60


def test_too_few_labels_to_judge_by_do_not_hide_a_decay(generated: Place) -> None:
    check(generated, "performance", passed=False, of="2024-09")
    check(generated, "performance", passed=True)
    assert generated.tick("retraining_sensor").run_requests


FILES = {"weights.safetensors": b"weights"}


def led(place: Place, *, until: str = "2025", as_of: datetime = NOW + 365 * DAY) -> str:
    """Raw claims, and a champion that has learnt from the partitions up to then; its version."""
    plan = plan_run(str(place.dataset.file), run="Test/1", output_uri=place.stores.root)
    claims = ingest(plan)
    version = bundle_version(FILES, NOW)
    manifest = Manifest(
        version=version, dataset=place.dataset.name, run="Test/1", labels_as_of=as_of,
        trained_until=NOW,
        data_versions={p.value: p.data_version for p in claims.partitions if p.value < until},
        contract=claims.contract.model_dump(mode="json"), split={}, metrics={}, calibration={},
        threshold={}, candidate={}, gate={}, libraries={},
    )  # fmt: skip
    write_bundle(place.stores.models, place.dataset.name, version, FILES, manifest)
    promote(
        place.stores.models, place.dataset.name, version, expected=None, by="a test", reason="first"
    )
    return version


def raw(place: Place, value: str) -> Partition:
    return place.stores.lakehouse.partition("raw", place.dataset.name, "month", value)


def with_a_claim_less(place: Place, value: str) -> None:
    lake, found = place.stores.lakehouse, raw(place, value)
    claims = lake.read([found])
    few = claims.slice(1).to_batches()
    metadata = lake.metadata(found)
    lake.write("raw", place.dataset.name, "month", value, few, claims.schema, metadata)


def test_no_training_is_asked_for_that_would_make_the_champion_again(generated: Place) -> None:
    """Its split is by dates, and no claim before the out-of-time window is another."""
    version = led(generated, until="2024-11")  # claims of later months have come since
    check(generated, "drift", passed=False)
    told = generated.tick("retraining_sensor")
    assert not told.run_requests
    assert f"would learn from the claims that {version} has learnt from" in told.skip_message
    with_a_claim_less(generated, "2024-10")  # of the window that it is judged on
    assert not generated.tick("retraining_sensor").run_requests
    with_a_claim_less(generated, "2024-03")
    assert generated.tick("retraining_sensor").run_requests


def test_a_champion_that_did_not_know_all_labels_is_trained_again(generated: Place) -> None:
    led(generated, as_of=datetime(2024, 8, 1, tzinfo=UTC))
    check(generated, "drift", passed=False)
    assert generated.tick("retraining_sensor").run_requests


@pytest.mark.parametrize(
    ("was", "now", "asked"),
    [
        ("end: 2024-06-01", "end: 2024-05-01", True),
        (GENERATED[GENERATED.index("split:") :], "", True),  # shares, which move
        ("name: small_claims", "name: small_claims\ndrift: {psi_warn: 0.15}", False),
    ],
)
def test_a_split_that_has_moved_is_trained_on(
    make_place: Callable[..., Place], was: str, now: str, asked: bool
) -> None:
    led(make_place(GENERATED))
    place = make_place(GENERATED.replace(was, now))
    check(place, "drift", passed=False)
    assert bool(place.tick("retraining_sensor").run_requests) == asked
