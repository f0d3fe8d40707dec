"""What a newcomer finds in the UI, and what does not happen by itself."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import dagster as dg
from assets_kit import GENERATED, LANDED, Place
from dagster import AssetKey

JOBS = {
    "ingest_job",
    "training_job",
    "scoring_job",
    "fraud_pipeline_job",
    "metrics_sync_job",
    "warehouse_sync_job",
    "store_checks_job",
}


def test_everything_loads_without_a_warning(make_place: Callable[..., Place]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dg.Definitions.validate_loadable(make_place(GENERATED, LANDED).defs)


def test_jobs_have_plain_names_for_the_first_dataset(make_place: Callable[..., Place]) -> None:
    place = make_place(GENERATED, LANDED)
    names = {job.name for job in place.defs.resolve_all_job_defs()}
    assert names >= JOBS | {f"parcels__{name}" for name in JOBS}


def test_every_asset_says_whose_it_is_and_how_old_it_may_be(generated: Place) -> None:
    specs = {spec.key.path[-1]: spec for spec in generated.defs.resolve_all_asset_specs()}
    assert {key.path[0] for key in generated.defs.resolve_all_asset_keys()} == {"small_claims"}
    for name, spec in specs.items():
        assert spec.owners == ["team:fraud-ml"], name
        assert spec.group_name in {"claims", "models", "scores", "serving"}, name
        assert spec.description, name
        assert spec.tags["dataset"] == "small_claims", name
    for name in ("raw_zone", "model_artifact", "ml_outputs", "metrics", "snowflake_metrics"):
        assert specs[name].freshness_policy is not None, name
        assert specs[name].code_version, name
    assert "fastapi" in specs["served_model"].kinds
    assert "duckdb" in specs["snowflake_metrics"].kinds
    assert "powerbi" in specs["semantic_model"].kinds


def test_the_graph_is_the_one_of_the_design(generated: Place) -> None:
    graph = generated.defs.resolve_asset_graph()

    def parents(name: str) -> set[str]:
        return {key.path[-1] for key in graph.get(AssetKey(["small_claims", name])).parent_keys}

    assert parents("raw_zone") == {"landing"}
    assert parents("model_artifact") == {"raw_zone"}
    assert parents("ml_outputs") == {"raw_zone", "model_artifact"}
    assert parents("metrics") == {"ml_outputs"}
    assert parents("served_model") == {"model_artifact"}
    assert parents("prediction_log") == {"served_model"}
    assert parents("snowflake_metrics") == {"metrics"}
    assert parents("semantic_model") == {"snowflake_metrics"}


def test_invariants_block_and_verdicts_do_not(generated: Place) -> None:
    graph = generated.defs.resolve_asset_graph()
    blocking = {
        f"{key.asset_key.path[-1]}:{key.name}"
        for key in graph.asset_check_keys
        if graph.get_check_spec(key).blocking
    }
    assert blocking == {
        "raw_zone:contract",
        "raw_zone:quarantine_share",
        "raw_zone:no_duplicate_claims",
        "model_artifact:oot_window_untouched",
        "model_artifact:label_maturity",
        "model_artifact:bundle_is_whole",
        "ml_outputs:every_claim_scored",
        "ml_outputs:no_duplicate_claims",
        "ml_outputs:rows_agree_with_raw_zone",
        "snowflake_metrics:parity",
    }


def test_nothing_is_launched_before_somebody_switches_it_on(
    make_place: Callable[..., Place],
) -> None:
    repository = make_place(GENERATED, LANDED).defs.get_repository_def()
    running = {
        made.name
        for made in [*repository.sensor_defs, *repository.schedule_defs]
        if made.default_status in (dg.DefaultSensorStatus.RUNNING, dg.DefaultScheduleStatus.RUNNING)
    }
    # These record what happened elsewhere, or tell of it.
    assert running == {
        "run_failure_sensor",
        "health_sensor",
        "external_runs_sensor",
        "champion_sensor",
        "parcels__champion_sensor",
    }


def test_steps_run_in_the_process_of_their_run(generated: Place) -> None:
    for name in JOBS:
        assert generated.defs.resolve_job_def(name).executor_def is dg.in_process_executor


def test_writers_and_trainings_have_pools(generated: Place) -> None:
    job = generated.defs.resolve_job_def("fraud_pipeline_job")
    pools = {node.name.rpartition("__")[2]: node.definition.pools for node in job.nodes}
    assert pools["ingest"] == {"writer_raw"}
    assert pools["train"] == {"training"}
    assert pools["score"] == {"writer_scores"}
    assert pools["sync_metrics"] == {"warehouse_sync"}
