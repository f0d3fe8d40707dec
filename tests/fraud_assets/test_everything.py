"""From files that land to metrics, through Dagster, with flows that really run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from assets_kit import MONTHS, Automation
from everything import BROKEN, MADE, SYNCED, Everything, everything

from fraud_assets.run_requests import RANGE_END, RANGE_START

pytestmark = pytest.mark.flow


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Everything]:
    with everything(tmp_path_factory.mktemp("everything")) as made:
        yield made


def test_the_sensor_asks_for_the_year_that_landed_and_sets_the_broken_file_aside(
    done: Everything,
) -> None:
    (request,) = done.ticked.run_requests
    assert (request.tags[RANGE_START], request.tags[RANGE_END]) == ("2024-01", "2024-12")
    lake = Path(done.place.stores.root)
    (aside,) = (lake / "_landing" / "small_claims" / "aside").iterdir()
    assert json.loads(aside.read_text())["path"].endswith(BROKEN)


def test_every_asset_is_materialized_for_every_partition(done: Everything) -> None:
    assert list(done.materialized) == [*MADE, SYNCED]
    for asset in ("raw_zone", "ml_outputs", "metrics", SYNCED):
        assert sorted(map(str, done.materialized[asset])) == MONTHS, asset
    assert list(done.materialized["model_artifact"]) == [None]


def test_no_claim_is_lost_on_the_way(done: Everything) -> None:
    for asset in ("raw_zone", "ml_outputs"):
        counted = sum(done.facts(asset, month)["dagster/row_count"] for month in MONTHS)
        assert counted == done.rows, asset


def test_one_metaflow_run_a_flow_however_many_partitions(done: Everything) -> None:
    runs = {
        asset: {
            str(made.metadata["metaflow_run"].value).rsplit("/", 2)[0] for made in all_.values()
        }
        for asset, all_ in done.materialized.items()
        if asset != SYNCED
    }
    assert {asset: len(found) for asset, found in runs.items()} == dict.fromkeys(MADE, 1)
    assert runs["ml_outputs"] == runs["metrics"]
    tags = done.place.instance.get_run_by_id(done.result.run_id).tags
    names = {key for key in tags if key.startswith("metaflow/")}
    assert len(names) == 3, names


@pytest.mark.parametrize("asset", MADE)
def test_a_materialization_tells_what_was_made_and_where(done: Everything, asset: str) -> None:
    facts = done.facts(asset, None if asset == "model_artifact" else "2024-12")
    assert Path(facts["dagster/uri"]).exists()
    assert facts["dagster/row_count"] > 0
    assert facts["bytes"] > 0
    assert facts["dagster/column_schema"].columns
    assert facts["duration_seconds"] > 0
    assert facts["parameters"]["dataset"] == str(done.place.dataset.file)
    cards = [value for name, value in facts.items() if name.startswith("card: ")]
    assert cards or asset == "ml_outputs"
    assert all(Path(card).read_text().strip() for card in cards)
    assert any(name.startswith("plot: ") for name in facts)


def test_key_metrics_are_numbers_that_dagster_plots(done: Everything) -> None:
    model = done.materialized["model_artifact"][None].metadata
    assert isinstance(model["average_precision"], dg.FloatMetadataValue)
    low, value, high = (model[f"average_precision{end}"].value for end in ("_low", "", "_high"))
    assert 0 < low < value < high < 1
    metrics = done.materialized["metrics"]["2024-12"].metadata
    assert isinstance(metrics["score_psi"], dg.FloatMetadataValue)


def test_every_check_that_is_of_what_was_made_has_a_verdict(done: Everything) -> None:
    graph = done.place.defs.resolve_asset_graph()
    declared = {f"{key.asset_key.path[-1]}:{key.name}" for key in graph.asset_check_keys}
    of_stores = {
        "no_claim_in_two_partitions",
        "newest_partition_present",
        "champion_is_recent",
        "served_as_expected",
        "files_keep_landing",
    }
    assert done.checks.keys() == {k for k in declared if k.partition(":")[2] not in of_stores}


def test_invariants_hold(done: Everything) -> None:
    graph = done.place.defs.resolve_asset_graph()
    for name, check in done.checks.items():
        if graph.get_check_spec(check.asset_check_key).blocking:
            assert check.passed, name
    agree = done.checks["ml_outputs:rows_agree_with_raw_zone"].metadata
    assert agree["claims"].value == agree["scores"].value == done.rows


def test_a_champion_is_left_to_serve(done: Everything) -> None:
    pointer = Path(done.place.stores.models) / "small_claims" / "champion.json"
    version = json.loads(pointer.read_text())["version"]
    tags = done.materialized["model_artifact"][None].tags or {}
    assert tags["dagster/data_version"] == version
    assert done.facts("ml_outputs", "2024-12")["model_version"] == version
    assert done.place.tick("champion_sensor").asset_events == []
    assert done.place.tick("external_runs_sensor").asset_events == []


def test_a_champion_with_a_damaged_file_is_told_by_the_check_that_scoring_waits_for(
    done: Everything,
) -> None:
    bundle = Path(done.facts("model_artifact")["dagster/uri"])
    weights = next(bundle.glob("*.safetensors"))
    data = weights.read_bytes()
    try:
        weights.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        damaged = done.looked_over()["model_artifact:bundle_is_whole"]
    finally:
        weights.write_bytes(data)
    assert not damaged.passed
    assert str(weights) in str(damaged.description)
    mended = done.looked_over()
    assert mended.pop("raw_zone:newest_partition_present").passed is False  # the year is over
    assert mended.pop("ml_outputs:newest_partition_present").passed is False
    assert all(check.passed for check in mended.values())


def test_with_nothing_changed_nothing_is_asked_for_again(done: Everything) -> None:
    assert done.stale() == []
    assert not done.place.tick("landing_sensor", done.ticked.cursor).run_requests
    automation = Automation(done.place)
    assert automation.tick() == automation.tick() == []
    assert "No check has failed" in done.place.tick("retraining_sensor").skip_message


def test_ingesting_the_same_files_again_makes_nothing_else_stale(done: Everything) -> None:
    automation = Automation(done.place)
    automation.tick()
    before = done.versions()
    again = done.place.run("ingest_job", MONTHS[0], MONTHS[-1])
    assert {e.partition for e in again.get_asset_materialization_events()} == {*MONTHS}
    assert done.versions() == before
    assert done.stale() == []
    assert automation.tick() == []
