"""The log of what was served: seen by an observation, and judged by what metrics say of it."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
from assets_kit import Place

from fraud_mlops.lakehouse.content import ContentWriter
from fraud_mlops.pipeline.metrics import METRICS
from fraud_mlops.serving.prediction_log import ZONE
from fraud_mlops.serving.records import SCHEMA

FINE = {"predictions": 900.0, "by_model": 900.0, "matched": 800.0, "same_scores": 0.99,
        "psi_training": 0.03, "psi_batch": 0.01, "verdict_training": 0.0}  # fmt: skip


MOVED = {"psi_training": 0.9, "verdict_training": 2.0}


def measured(place: Place, partition: str, figures: dict[str, float]) -> None:
    lake, name = place.stores.lakehouse, place.dataset.name
    rows = [
        {"dataset": name, "partition": partition, "window": "served", "slice": "all",
         "metric": metric, "value": value, "model_version": "v"}
        for metric, value in figures.items()
    ]  # fmt: skip
    table = pa.Table.from_pylist(rows, schema=METRICS)
    lake.write("metrics", name, "month", partition, table.to_batches(), METRICS, {})


def check(place: Place) -> dg.AssetCheckEvaluation:
    result = place.run("store_checks_job", good=None)
    (found,) = [
        e for e in result.get_asset_check_evaluations() if e.check_name == "served_as_expected"
    ]
    return found


def observed(place: Place) -> dict[str, Any]:
    """As the Observe button has it."""
    every_asset = place.defs.resolve_implicit_global_asset_job_def()
    result = every_asset.execute_in_process(
        instance=place.instance, asset_selection=[place.dataset.key("prediction_log")]
    )
    step = f"{place.dataset.name}__observe_predictions"
    (event,) = [e for e in result.get_asset_observation_events() if e.step_key == step]
    observation = event.asset_observation_data.asset_observation
    return {name: value.value for name, value in observation.metadata.items()}


def seen(place: Place) -> dict[str, dict[str, Any]]:
    """What a look over the stores tells of each asset that others make."""
    result = place.run("store_checks_job", good=None)
    found = [
        e.asset_observation_data.asset_observation for e in result.get_asset_observation_events()
    ]
    return {
        o.asset_key.path[-1]: {name: value.value for name, value in o.metadata.items()}
        for o in found
    }


def answer(place: Place, day: str, version: str, role: str = "champion") -> None:
    """A file of the log with one answer."""
    at = datetime.fromisoformat(f"{day}T12:00+00:00")
    row = {
        "request_id": "r", "event_time": at, "scored_at": at, "role": role, "score": 0.1,
        "model_version": version, "probability": 0.5, "alert": False, "features_sha256": "f",
        "reasons": [], "client": "c",
    }  # fmt: skip
    uri = place.stores.lakehouse.uri(ZONE, place.dataset.name, f"day={day}", f"{version}.parquet")
    with ContentWriter(uri, SCHEMA, {}) as writer:
        writer.write(pa.RecordBatch.from_pylist([row], schema=SCHEMA))


def test_a_look_over_the_stores_sees_what_is_served_and_what_was_answered(
    generated: Place,
) -> None:
    assert seen(generated)["served_model"] == {
        "model_version": "none", "answered_at": "never", "champion": "none",
    }  # fmt: skip
    answer(generated, "2024-11-02", "old")
    answer(generated, "2024-11-05", "new")
    for n in range(20):  # later than the day's last decision, and more than are looked at at once
        answer(generated, "2024-11-05", f"tried-{n}", role="what_if")
    answer(generated, "2024-11-06", "looks-on", role="challenger")
    told = seen(generated)
    assert told["served_model"]["model_version"] == "new"
    assert told["served_model"]["answered_at"] == "2024-11-05T12:00:00+00:00"
    assert told["prediction_log"]["last_day"] == "2024-11-06"


def test_without_an_answer_there_is_nothing_to_complain_of(generated: Place) -> None:
    found = check(generated)
    assert found.passed
    assert "No partition" in (found.description or "")
    assert observed(generated)["files"] == 0


def test_the_newest_measured_partition_is_judged(generated: Place) -> None:
    measured(generated, "2024-10", {**FINE, "same_scores": 0.2})
    measured(generated, "2024-11", FINE)
    found = check(generated)
    assert found.passed
    assert found.metadata["partition"].value == "2024-11"
    assert found.metadata["psi_training"].value == 0.03


def test_other_scores_than_the_batchs_and_a_moved_distribution_warn(generated: Place) -> None:
    measured(generated, "2024-11", {**FINE, "same_scores": 0.2, **MOVED})
    found = check(generated)
    assert not found.passed
    assert found.severity is dg.AssetCheckSeverity.WARN
    assert "unlike those of training: PSI 0.90" in (found.description or "")
    assert "80% of the claims" in (found.description or "")


def test_a_damaged_pointer_hides_no_moved_distribution(generated: Place) -> None:
    measured(generated, "2024-11", {**FINE, **MOVED})
    pointer = Path(generated.stores.models, generated.dataset.name, "champion.json")
    pointer.parent.mkdir(parents=True)
    pointer.write_text("{")
    found = check(generated)
    assert not found.passed
    assert "unlike those of training: PSI 0.90" in (found.description or "")
    assert pointer.name in (found.description or "")
    assert found.metadata["partition"].value == "2024-11"


def test_what_few_answers_may_show_by_chance_is_not_judged(generated: Place) -> None:
    few = {"by_model": 9.0, "psi_training": 3.0, "predictions": 9.0}
    measured(generated, "2024-11", {**few, "matched": 9.0, "same_scores": 0.2})
    assert check(generated).passed


def test_an_observation_shows_the_log_and_what_was_measured(generated: Place) -> None:
    measured(generated, "2024-11", FINE)
    lake, name = generated.stores.lakehouse, generated.dataset.name
    for day in ("2024-11-02", "2024-11-05"):
        lake.write(ZONE, name, "day", day, SCHEMA.empty_table().to_batches(), SCHEMA, {})
    told = observed(generated)
    assert (told["days"], told["files"], told["last_day"]) == (2, 2, "2024-11-05")
    assert told["served_partition"] == "2024-11"
    assert told["served_predictions"] == 900
