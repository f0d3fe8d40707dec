"""What a newcomer finds in the UI, and what does not happen by itself."""

from __future__ import annotations

import ast
import re
import shutil
import warnings
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import dagster as dg
import grimp
import pytest
from assets_kit import GENERATED, LANDED, Place
from dagster import AssetKey

from fraud_assets import flows
from fraud_mlops.settings import settings

README = Path(__file__).parents[2] / "README.md"
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


def test_datasets_have_assets_of_their_own_and_one_deployment(
    make_place: Callable[..., Place],
) -> None:
    """Else each would deploy the state machine again that the other has deployed."""
    found = [flows.ingest_flow(dataset) for dataset in make_place(GENERATED, LANDED).datasets]
    assert len({flow.code_version for flow in found}) == 2
    assert len({flow.deployed_version for flow in found}) == 1


def test_what_steps_draw_with_is_deployed_and_makes_no_asset_stale(
    generated: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a failing plot, once mended, would fail again in each execution that goes on."""
    library = shutil.copytree(flows._LIBRARY, tmp_path / "fraud_mlops")
    monkeypatch.setattr(flows, "_LIBRARY", library)
    before = flows.ingest_flow(generated.dataset)
    versions = before.deployed_version, before.code_version
    (library / "plots" / "data.py").write_text("# mended\n", encoding="utf-8")
    after = flows.ingest_flow(generated.dataset)
    assert after.deployed_version != versions[0]
    assert after.code_version == versions[1]


def test_the_code_version_leaves_out_what_no_step_imports_and_no_more() -> None:
    library = grimp.build_graph("fraud_mlops")
    imported = set()
    for file in flows.FOLDER.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                imported |= {f"{node.module}.{name.name}" for name in node.names} | {node.module}
            elif isinstance(node, ast.Import):
                imported |= {name.name for name in node.names}
    reached = imported & library.modules
    for module in imported & library.modules:
        reached |= library.find_upstream_modules(module)
    assert "fraud_mlops.pipeline.scoring" in reached
    every, needed = (
        {module.split(".")[1] for module in modules if "." in module}
        for modules in (library.modules, reached)
    )
    left_out = {name.removesuffix(".py") for name in flows._IN_NO_FLOW} - {"__pycache__"}
    assert left_out == every - needed


def test_where_flows_run_is_a_setting_for_schedules_and_sensors_too(
    make_place: Callable[..., Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FRAUD_BACKEND", "step_functions")
    monkeypatch.setenv("FRAUD_STEP_FUNCTIONS_OPTIONS", "--max-workers=40 --authorize=token")
    settings.cache_clear()
    try:
        metaflow = (make_place(GENERATED).defs.resources or {})["metaflow"]
    finally:
        monkeypatch.undo()
        settings.cache_clear()
    assert metaflow.backend == "step_functions"
    assert metaflow.step_functions.create_options == ["--max-workers=40", "--authorize=token"]


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


def checks(place: Place) -> dict[str, set[str]]:
    """Of each asset, as the README writes them: blocking ones in bold."""
    graph = place.defs.resolve_asset_graph()
    found: dict[str, set[str]] = {key.path[-1]: set() for key in graph.get_all_asset_keys()}
    for key in graph.asset_check_keys:
        bold = "**" if graph.get_check_spec(key).blocking else ""
        found[key.asset_key.path[-1]].add(f"{bold}{key.name}{bold}")
    return found


def test_the_readme_lists_every_check_there_is_and_no_other(
    make_place: Callable[..., Place],
) -> None:
    """In italics those that a history which has ended, as the demo's, does not have."""
    closed, live = checks(make_place(GENERATED)), checks(make_place(LANDED))
    rows = re.findall(r"^\| `(\w+)` \|.*\| ?([^|]*?) ?\|$", README.read_text(), re.MULTILINE)
    listed = {name: set(filter(None, told.split(", "))) for name, told in rows if name in live}
    assert listed == {
        name: found & closed[name] | {f"*{check}*" for check in found - closed[name]}
        for name, found in live.items()
    }


def in_dagsters_words(span: timedelta) -> str:
    """As its pages say how old an asset may become: day.js, `duration.humanize()`."""
    hours, days, months = (round(span / timedelta(days=d)) for d in (1 / 24, 1, 30.4))
    if days > 25:
        some = "a month" if days <= 45 else f"{months} months" if months <= 10 else "years"
        return "a year" if some == "years" and months <= 17 else some
    return f"{hours} hours" if hours <= 21 else "a day" if hours <= 35 else f"{days} days"


@pytest.mark.parametrize("period", ["day", "week", "month"])
@pytest.mark.parametrize("contract", [GENERATED, LANDED])
def test_an_asset_that_is_old_is_warned_of_before_it_fails_and_in_other_words(
    make_place: Callable[..., Place], contract: str, period: str
) -> None:
    place = make_place(contract.replace("partition: month", f"partition: {period}"))
    policies = {
        spec.key.path[-1]: spec.freshness_policy for spec in place.defs.resolve_all_asset_specs()
    }
    for name in ("raw_zone", "model_artifact", "ml_outputs", "metrics"):
        policy = policies[name]
        warns, fails = (
            window.to_timedelta() for window in (policy.warn_window, policy.fail_window)
        )
        assert warns < fails
        assert in_dagsters_words(warns) != in_dagsters_words(fails), name


def test_invariants_block_and_verdicts_do_not(generated: Place) -> None:
    graph = generated.defs.resolve_asset_graph()
    blocking = {
        f"{key.asset_key.path[-1]}:{key.name}"
        for key in graph.asset_check_keys
        if graph.get_check_spec(key).blocking
    }
    assert blocking == {
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
        "run_recovery_sensor",
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
