"""Checks that look at the stores by themselves, whatever a flow has said."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
from assets_kit import GENERATED, LANDED, Place, rows

from fraud_assets.checks.claims import newest_due
from fraud_assets.checks.landing import newest_file
from fraud_assets.dataset import Dataset
from fraud_mlops.landing.listing import landed_files
from fraud_mlops.registry.bundle import Manifest, bundle_version, write_bundle
from fraud_mlops.registry.going_back import rollback
from fraud_mlops.registry.pointers import promote
from fraud_mlops.sources import FileSource


def evaluate(place: Place) -> dict[str, dg.AssetCheckEvaluation]:
    result = place.run(place.dataset.titled("store_checks_job"), good=None)
    return {
        f"{found.asset_key.path[-1]}:{found.check_name}": found
        for found in result.get_asset_check_evaluations()
    }


def test_zones_of_equal_rows_and_unlike_claims_pass(generated: Place) -> None:
    for partition, claims in {"2024-11": ("a", "b"), "2024-12": ("c",)}.items():
        generated.put("raw", partition, *claims)
        generated.put("ml_outputs", partition, *claims)
    generated.put("raw", "2024-01", "d")
    found = evaluate(generated)
    agree = found["ml_outputs:rows_agree_with_raw_zone"]
    assert agree.passed
    assert agree.metadata["scores"].value == 3
    assert agree.metadata["not_scored"].value == 1
    assert found["raw_zone:no_claim_in_two_partitions"].passed
    assert found["ml_outputs:no_claim_in_two_partitions"].passed


def test_a_partition_with_other_rows_than_the_raw_zone_is_named(generated: Place) -> None:
    generated.put("raw", "2024-11", "a", "b")
    generated.put("ml_outputs", "2024-11", "a")
    generated.put("ml_outputs", "2024-12", "z")
    agree = evaluate(generated)["ml_outputs:rows_agree_with_raw_zone"]
    assert not agree.passed
    assert "2024-11: 2 claims, 1 scores; 2024-12: 0 claims, 1 scores" in agree.description


def test_a_claim_in_two_partitions_is_found(generated: Place) -> None:
    generated.put("raw", "2024-11", "a", "b")
    generated.put("raw", "2024-12", "b")
    twice = evaluate(generated)["raw_zone:no_claim_in_two_partitions"]
    assert not twice.passed
    assert twice.metadata["claims_twice"].value == 1


def test_without_a_champion_there_is_nothing_to_serve(generated: Place) -> None:
    whole = evaluate(generated)["model_artifact:bundle_is_whole"]
    assert not whole.passed
    assert "There is no champion" in whole.description


def test_a_backfill_of_an_old_partition_does_not_hide_that_the_newest_is_late(
    landed: Place,
) -> None:
    landed.put("raw", "2024-01", "a")
    late = evaluate(landed)["raw_zone:newest_partition_present"]
    assert not late.passed
    assert late.severity is dg.AssetCheckSeverity.WARN
    due = newest_due(landed.dataset, datetime.now(UTC))
    assert due is not None
    landed.put("raw", due, "b")
    assert evaluate(landed)["raw_zone:newest_partition_present"].passed


def test_files_that_do_not_come_any_more_are_missed(landed: Place) -> None:
    found = "landing:files_keep_landing"
    assert "No file has landed" in evaluate(landed)[found].description
    (landed.landing / "march.csv").write_text(rows("2024-03-05"))
    assert evaluate(landed)[found].passed
    source = landed.dataset.contract.source
    assert isinstance(source, FileSource)
    later = datetime.now(UTC) + timedelta(days=60)
    late = newest_file(landed.dataset, source, landed_files(source), later)
    assert not late.passed
    assert late.severity is dg.AssetCheckSeverity.WARN
    assert "60 days old" in (late.description or "")


def trained(place: Place, days_ago: int, after: str | None = None) -> str:
    """Publishes a model with labels as of then, and makes it the champion; its version."""
    models, name = place.stores.models, place.dataset.name
    day = datetime.now(UTC) - timedelta(days=days_ago)
    files = {"weights.safetensors": f"weights of {days_ago} days ago".encode()}
    version = bundle_version(files, day)
    nothing: dict[str, Any] = {"split": {}, "metrics": {}, "calibration": {}, "threshold": {}}
    manifest = Manifest(
        version=version, dataset=name, labels_as_of=day, trained_until=day, run="TrainingFlow/1",
        data_versions={}, contract={}, candidate={}, gate={}, libraries={}, **nothing,
    )  # fmt: skip
    write_bundle(models, name, version, files, manifest)
    promote(models, name, version, expected=after, by="a test", reason="trained")
    return version


def test_a_rollback_does_not_hide_that_the_champion_is_old(landed: Place) -> None:
    assert not evaluate(landed)["model_artifact:champion_is_recent"].passed
    before = trained(landed, days_ago=60)
    trained(landed, days_ago=20, after=before)
    assert evaluate(landed)["model_artifact:champion_is_recent"].passed
    rollback(landed.stores.models, landed.dataset.name, by="a test", reason="too many alerts")
    old = evaluate(landed)["model_artifact:champion_is_recent"]
    assert not old.passed
    assert old.severity is dg.AssetCheckSeverity.WARN
    assert old.metadata["age_days"].value == 60
    assert f"{before} knows labels as of" in old.description


class SecondOfTwo(Place):
    @property
    def dataset(self) -> Dataset:
        return self.datasets[1]


def test_checks_of_a_second_dataset_name_its_own_jobs(tmp_path: Path) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        place = SecondOfTwo(tmp_path, [GENERATED, LANDED], instance)
        place.put("ml_outputs", "2024-12", "z")
        trained(place, days_ago=90)
        found = evaluate(place)
    agree = found["ml_outputs:rows_agree_with_raw_zone"].description or ""
    assert agree.endswith("Score them again: parcels__scoring_job.")
    old = found["model_artifact:champion_is_recent"].description or ""
    assert old.endswith("Train again: parcels__training_job.")


def test_a_partition_is_due_a_day_after_it_is_over(landed: Place) -> None:
    assert "partition: month" in LANDED
    for now, due in {"2024-03-01": "2024-01", "2024-03-02": "2024-02"}.items():
        assert newest_due(landed.dataset, datetime.fromisoformat(f"{now}T00:00Z")) == due
