"""`snowflake_metrics` in Dagster: what it tells, what checks it, and when it is made by itself."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from snow_proxy import Proxy
from warehouse_kit import MONTHS, Lake, answer, kpis, table_of, variables, zone_of

from fraud_assets.code_version import code_version
from fraud_assets.run_requests import RANGE_END, RANGE_START
from fraud_mlops.settings import settings
from fraud_mlops.warehouse.choice import warehouse_of
from fraud_mlops.warehouse.engine import Warehouse
from fraud_mlops.warehouse.options import SnowflakeOptions

sys.path.append(str(Path(__file__).parents[1] / "fraud_assets"))
from assets_kit import GENERATED, LANDED, Place

DATASET = "small_claims"


@pytest.fixture
def place(tmp_path: Path, environment: Callable[..., None]) -> Iterator[Place]:
    """A dataset with three months of metrics."""
    environment()
    with dg.DagsterInstance.ephemeral() as instance:
        made = Place(tmp_path, [GENERATED], instance)
        lake = Lake(Path(made.stores.root))
        for number, month in enumerate(MONTHS, 1):
            lake.put(month, kpis(100 * number, 10, 8, 4), dataset=DATASET)
        yield made


@pytest.fixture
def lake_of_place(place: Place) -> Lake:
    return Lake(Path(place.stores.root))


def warehouse(place: Place) -> Warehouse:
    return warehouse_of(settings(), place.stores.root)


def synced(place: Place, *partitions: str, good: bool = True) -> dg.ExecuteInProcessResult:
    """The asset and its check alone, as one run."""
    tags = {RANGE_START: partitions[0], RANGE_END: partitions[-1]} if len(partitions) > 1 else {}
    result = place.defs.resolve_job_def("warehouse_sync_job").execute_in_process(
        instance=place.instance,
        partition_key=partitions[0] if len(partitions) == 1 else None,
        tags=tags,
        raise_on_error=False,
    )
    assert result.success == good
    return result


def latest(result: dg.ExecuteInProcessResult) -> dict[str | None, dg.AssetMaterialization]:
    """What stands of each partition in the end."""
    events = result.get_asset_materialization_events()
    made = [event.step_materialization_data.materialization for event in events]
    return {one.partition: one for one in made}


def facts(made: dg.AssetMaterialization) -> dict[str, Any]:
    return {name: value.value for name, value in made.metadata.items()}


def test_partitions_go_in_as_one_run_and_each_tells_what_became_of_it(
    place: Place, lake_of_place: Lake
) -> None:
    result = synced(place, MONTHS[0], MONTHS[-1])
    assert table_of(warehouse(place), DATASET) == zone_of(lake_of_place, DATASET)
    made = latest(result)
    assert list(made) == list(MONTHS)
    zone = {p.value: p for p in place.stores.lakehouse.partitions("metrics", DATASET)}
    for month in MONTHS:
        told = facts(made[month])
        assert (made[month].tags or {})["dagster/data_version"] == zone[month].data_version
        assert told["dagster/row_count"] == zone[month].rows
        assert len(told["checksum"]) == 32
        assert told["engine"] == "duckdb"
        assert told["address"] == f"duckdb {place.stores.root}/warehouse.duckdb"
        assert told["dagster/table_name"] == "warehouse.main.FRAUD_MODEL_METRICS"
        assert (told["rows_moved"], told["rows_skipped"]) == (27, 0)


def test_a_second_run_moves_nothing_and_says_so(place: Place) -> None:
    before = latest(synced(place, MONTHS[0], MONTHS[-1]))
    after = latest(synced(place, MONTHS[0], MONTHS[-1]))
    told = facts(after[MONTHS[0]])
    assert (told["rows_moved"], told["rows_skipped"], told["moved"]) == (0, 27, False)
    versions = [
        {month: (made[month].tags or {})["dagster/data_version"] for month in MONTHS}
        for made in (before, after)
    ]
    assert versions[0] == versions[1]


def test_partitions_without_metrics_are_told_by_name_without_a_trace(place: Place) -> None:
    result = synced(place, "2024-03", MONTHS[0], good=False)
    [failed] = result.get_step_failure_events()
    message = failed.step_failure_data.user_failure_data.description
    assert "\n  2024-03: there are no metrics of it; score it first" in message
    assert list(latest(result)) == [MONTHS[0]], "which has some, and is synced"


def test_a_damaged_partition_fails_the_run_when_all_others_are_there(
    place: Place, lake_of_place: Lake
) -> None:
    Path(lake_of_place.lakehouse.listed("metrics", DATASET)[1].uri).write_bytes(b"PAR1 cut")
    result = synced(place, MONTHS[0], MONTHS[-1], good=False)
    assert list(latest(result)) == [MONTHS[0], MONTHS[2]]
    assert {row[0] for row in table_of(warehouse(place), DATASET)} == {MONTHS[0], MONTHS[2]}
    [failed] = result.get_step_failure_events()
    message = failed.step_failure_data.user_failure_data.description
    assert (
        f"1 of 3 partitions could not be moved, and all others are there:\n  {MONTHS[1]}" in message
    )


def parity(result: dg.ExecuteInProcessResult) -> dg.AssetCheckEvaluation:
    found = [
        check for check in result.get_asset_check_evaluations() if check.check_name == "parity"
    ]
    assert len(found) == 1
    return found[0]


def test_parity_is_checked_with_every_sync_and_tells_both_counts(place: Place) -> None:
    checked = parity(synced(place, MONTHS[0], MONTHS[1]))
    assert checked.passed
    told = {name: value.value for name, value in checked.metadata.items()}
    assert told["partitions"] == 2
    assert told["lakehouse_rows"] == told["warehouse_rows"] == 18
    assert told["checksum"]
    assert told["of_run"]


def test_a_table_that_somebody_has_changed_is_an_error_and_what_is_not_synced_a_warning(
    place: Place,
) -> None:
    synced(place, MONTHS[0], MONTHS[1])
    behind = parity(place.run("store_checks_job", good=None))
    assert not behind.passed
    assert behind.severity is dg.AssetCheckSeverity.WARN
    assert not behind.metadata["of_run"].value
    assert MONTHS[2] in (behind.description or "")
    table = warehouse(place).tables.metrics
    answer(warehouse(place), f'DELETE FROM {table} WHERE "PARTITION_KEY" = ?', MONTHS[0])
    broken = parity(place.run("store_checks_job", good=None))
    assert broken.severity is dg.AssetCheckSeverity.ERROR
    assert "--force" in (broken.description or "")


def test_a_check_of_a_second_dataset_names_its_own_job(
    tmp_path: Path, environment: Callable[..., None]
) -> None:
    environment()
    with dg.DagsterInstance.ephemeral() as instance:
        place = Place(tmp_path, [LANDED, GENERATED], instance)
        Lake(Path(place.stores.root)).put(MONTHS[0], kpis(100, 10, 8, 4), dataset=DATASET)
        behind = parity(place.run(f"{DATASET}__store_checks_job", good=None))
        job = f"{DATASET}__warehouse_sync_job"
        assert (behind.description or "").endswith(f"not synced yet: {job}")
        assert place.defs.resolve_job_def(job)


def test_columns_that_have_drifted_are_told_by_the_check_in_words(place: Place) -> None:
    synced(place, MONTHS[0], MONTHS[1])
    answer(warehouse(place), "ALTER TABLE FRAUD_MODEL_METRICS DROP COLUMN INTERVAL_LOW")
    drifted = parity(place.run("store_checks_job", good=None))
    assert drifted.severity is dg.AssetCheckSeverity.ERROR
    assert "columns have drifted from infra/snowflake/schema.sql" in (drifted.description or "")
    assert "ALTER TABLE FRAUD_MODEL_METRICS ADD COLUMN INTERVAL_LOW" in (drifted.description or "")


def requested(place: Place, cursor: Any) -> tuple[list[str], Any]:
    key = place.dataset.key("snowflake_metrics")
    ticked = dg.evaluate_automation_conditions(
        defs=place.defs,
        instance=place.instance,
        cursor=cursor,
        asset_selection=dg.AssetSelection.assets(key),
    )
    return sorted(map(str, ticked.get_requested_partitions(key) or [])), ticked.cursor


def test_metrics_that_have_become_others_are_synced_by_themselves(place: Place) -> None:
    found, cursor = requested(place, None)
    assert found == []
    place.report("metrics", "m1", *MONTHS)
    found, cursor = requested(place, cursor)
    assert found == list(MONTHS)
    synced(place, MONTHS[0], MONTHS[-1])
    found, cursor = requested(place, cursor)
    assert found == []
    place.report("metrics", "m1", MONTHS[0])  # measured again, with the same outcome
    place.report("metrics", "m2", MONTHS[1])
    found, cursor = requested(place, cursor)
    assert found == [MONTHS[1]]


def test_the_same_asset_goes_to_snowflake_by_dagster_snowflakes_resource(
    place: Place,
    snow: Proxy,
    options: SnowflakeOptions,
    environment: Callable[..., None],
    lake_of_place: Lake,
) -> None:
    environment(**variables(options))
    result = synced(place, MONTHS[0], MONTHS[-1])
    told = facts(latest(result)[MONTHS[0]])
    assert told["engine"] == "snowflake"
    assert told["dagster/table_name"] == f"{options.database}.METRICS.FRAUD_MODEL_METRICS"
    assert parity(result).passed
    assert table_of(warehouse(place), DATASET) == zone_of(lake_of_place, DATASET)
    assert any(statement.startswith("MERGE") for statement in snow.statements)
    [spec] = [
        spec
        for spec in place.defs.resolve_all_asset_specs()
        if spec.key == place.dataset.key("snowflake_metrics")
    ]
    assert "snowflake" in spec.kinds
    resource = place.defs.resources["warehouse"]
    assert resource.password == dg.EnvVar("SNOWFLAKE_PASSWORD")
    assert "s3cret-w0rd" not in repr(resource)


def test_power_bis_model_hangs_on_the_table_and_is_made_elsewhere(place: Place) -> None:
    graph = place.defs.resolve_asset_graph()
    node = graph.get(place.dataset.key("semantic_model"))
    assert not node.is_materializable
    assert node.parent_keys == {place.dataset.key("snowflake_metrics")}
    project = Path(__file__).parents[2] / node.metadata["project"]
    assert project.is_file()

    # As dagster-powerbi describes a semantic model, under the name that the project gives it.
    assert node.kinds == {"powerbi", "semantic_model"}
    assert node.tags["dagster-powerbi/asset_type"] == "semantic_model"
    platform = json.loads((project.parent / "FraudMetrics.SemanticModel/.platform").read_text())
    assert node.metadata["dagster-powerbi/name"] == platform["metadata"]["displayName"]


JOBS = {
    "metrics_sync_job": {"metrics", "snowflake_metrics"},
    "warehouse_sync_job": {"snowflake_metrics"},
    "scoring_job": {"ml_outputs", "metrics"},
}


@pytest.mark.parametrize("name", JOBS)
def test_metrics_are_synced_by_jobs_of_their_own(place: Place, name: str) -> None:
    """A warehouse that is out of reach never fails the run that scores."""
    job = place.defs.resolve_job_def(name)
    assert {key.path[-1] for key in job.asset_layer.selected_asset_keys} == JOBS[name]


def test_a_comment_makes_no_asset_outdated_and_another_statement_does(tmp_path: Path) -> None:
    code = tmp_path / "moving.py"

    def version(text: str) -> str:
        code.write_text(text)
        return code_version([code], "schema")

    plain = "def rows(n: int) -> int:\n    return n * 2\n"
    told = '"""Moves."""\n\ndef rows(\n  n: int\n) -> int:\n  """Twice."""\n  return n * 2  # why\n'
    assert version(told) == version(plain)
    assert version(plain.replace("* 2", "* 3")) != version(plain)
    assert code_version([code], "another schema") != code_version([code], "schema")
