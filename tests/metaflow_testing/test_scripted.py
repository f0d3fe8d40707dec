"""Definitions are tested with a script in the place of Metaflow's runs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from toy_kit import FLOW, MONTHS

from dagster_metaflow import MetaflowResource, metaflow_assets
from dagster_metaflow.reports import Check
from dagster_metaflow.testing import ScriptedBackend, ScriptedStep, scripted_resource

FIRST = ScriptedStep("start", publishes=["first"], metadata={"rows": 3}, prints=["hello"])
SECOND = ScriptedStep("join", publishes=["second"], checks=[Check(name="sound", passed=False)])


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def toy(**options: Any) -> dg.AssetsDefinition:
    checks = [dg.AssetCheckSpec("sound", asset="second")]

    @metaflow_assets(
        flow=FLOW, assets=["first", "second"], check_specs=checks, name="toy", **options
    )
    def made(context: dg.AssetExecutionContext, metaflow: MetaflowResource) -> Iterator[Any]:
        yield from metaflow.run(context, FLOW).stream()

    return made


def materialize(
    backend: ScriptedBackend,
    folder: Path,
    instance: dg.DagsterInstance | None = None,
    *,
    assets: dg.AssetsDefinition | None = None,
    **options: Any,
) -> dg.ExecuteInProcessResult:
    return dg.materialize(
        [assets or toy()],
        instance=instance,
        resources={"metaflow": scripted_resource(backend, str(folder))},
        raise_on_error=False,
        **options,
    )


def test_a_script_publishes_what_a_flow_would(tmp_path: Path) -> None:
    result = materialize(ScriptedBackend([FIRST, SECOND]), tmp_path)
    assert result.success
    first = result.asset_materializations_for_node("toy")[0]
    assert first.asset_key == dg.AssetKey("first")
    assert first.metadata["dagster/row_count"].value == 3
    (check,) = result.get_asset_check_evaluations()
    assert (check.check_name, check.passed) == ("sound", False)


def test_what_was_asked_for_can_be_looked_at(tmp_path: Path) -> None:
    backend = ScriptedBackend([FIRST, SECOND])
    config = {"ops": {"toy": {"config": {"size": 5}}}}
    materialize(backend, tmp_path, run_config=config, selection=["first"])
    (request,) = backend.requests
    assert request.parameters["size"] == 5
    assert request.parameters["assets"] == "first"
    assert "asset:first" in request.tags


def test_only_what_is_selected_is_published(tmp_path: Path) -> None:
    result = materialize(ScriptedBackend([FIRST, SECOND]), tmp_path, selection=["second"])
    keys = [event.asset_key for event in result.get_asset_materialization_events()]
    assert keys == [dg.AssetKey("second")]


def test_a_range_of_partitions(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    backend = ScriptedBackend([FIRST, SECOND], partitions=MONTHS.get_partition_keys())
    tags = {"dagster/asset_partition_range_start": "2024-02"}
    tags["dagster/asset_partition_range_end"] = "2024-04"
    result = materialize(backend, tmp_path, instance, assets=toy(partitions_def=MONTHS), tags=tags)
    assert result.success
    partitions = instance.get_materialized_partitions(dg.AssetKey("first"))
    assert partitions == {"2024-02", "2024-03", "2024-04"}


def test_a_step_that_fails_is_resumed_by_a_retry_policy(tmp_path: Path) -> None:
    work = ScriptedStep("work", fails=2)
    backend = ScriptedBackend([FIRST, work, SECOND])
    assets = toy(retry_policy=dg.RetryPolicy(max_retries=2))
    result = materialize(backend, tmp_path, assets=assets)
    assert result.success
    played = [task.rpartition("/")[2] for task in backend.executed]
    assert played == ["start", "work", "work", "work", "join"]


def test_a_failure_says_what_the_script_says(tmp_path: Path) -> None:
    backend = ScriptedBackend([FIRST, ScriptedStep("work", prints=["no more disk"], fails=1)])
    result = materialize(backend, tmp_path)
    assert not result.success
    event = result.failure_data_for_node("toy")
    assert event is not None
    assert event.error is not None
    assert "no more disk" in event.error.message


def test_a_flow_that_forgets_an_asset_fails(tmp_path: Path) -> None:
    result = materialize(ScriptedBackend([FIRST]), tmp_path)
    event = result.failure_data_for_node("toy")
    assert event is not None
    assert event.error is not None
    assert "did not report second" in event.error.message


def test_why_a_check_failed_stands_beside_its_result(tmp_path: Path) -> None:
    cold = Check(name="sound", passed=False, metadata={"reason": "too cold: 3 degrees"})
    step = ScriptedStep("join", publishes=["second"], checks=[cold])
    result = materialize(ScriptedBackend([FIRST, step]), tmp_path)
    (found,) = result.get_asset_check_evaluations()
    assert found.description == "too cold: 3 degrees"
