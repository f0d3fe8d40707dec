"""A task that publishes, dies and runs again with other content: the later report counts."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest
from toy_kit import FLOW, materialized

from dagster_metaflow import MetaflowResource, metaflow_assets
from dagster_metaflow.reports import Check
from dagster_metaflow.testing import ScriptedBackend, ScriptedStep, scripted_resource

SOUND = dg.AssetCheckKey(dg.AssetKey("first"), "sound")
GOOD, BAD = Check(name="sound", passed=True), Check(name="sound", passed=False)


@dg.asset(code_version="1")
def source() -> None:
    """What the first asset is made of."""


@metaflow_assets(
    flow=FLOW,
    assets=[dg.AssetSpec("first", deps=["source"]), dg.AssetSpec("second", deps=["first"])],
    check_specs=[dg.AssetCheckSpec("sound", asset="first", blocking=True)],
)
def toy(context: dg.AssetExecutionContext, metaflow: MetaflowResource) -> Iterator[Any]:
    yield from metaflow.run(context, FLOW).stream()


@dg.asset(deps=["first"])
def made_of_it() -> None:
    """What depends on the first asset."""


class Again:
    """Each step stands for one execution of the task: its check, and its data version."""

    def __init__(self, folder: Path, instance: dg.DagsterInstance) -> None:
        self.folder = folder
        self.instance = instance

    def make(self, *executions: tuple[Check, str]) -> dg.ExecuteInProcessResult:
        steps = [
            ScriptedStep(name, ["first"], checks=[check], data_version=version)
            for name, (check, version) in zip(("start", "work"), executions, strict=True)
        ]
        backend = ScriptedBackend([*steps, ScriptedStep("join", ["second"])])
        return dg.materialize(
            [source, toy, made_of_it],
            instance=self.instance,
            resources={"metaflow": scripted_resource(backend, str(self.folder))},
            raise_on_error=False,
        )

    @property
    def last_check(self) -> bool:
        history = self.instance.event_log_storage.get_asset_check_execution_history(SOUND, limit=1)
        assert history[0].evaluation is not None
        return history[0].evaluation.passed

    def tags(self) -> list[dict[str, str]]:
        """Of each materialization of the first asset."""
        made = [event.asset_materialization for event in materialized(self.instance, "first")]
        return [dict(one.tags or {}) for one in made if one is not None]

    def is_fresh(self, asset: str) -> bool:
        resources = {"metaflow": scripted_resource(ScriptedBackend([]), str(self.folder))}
        definitions = dg.Definitions([source, toy, made_of_it], resources=resources)
        graph = definitions.resolve_asset_graph()
        context = LoadingContextForTest(self.instance)
        resolver = CachingStaleStatusResolver(self.instance, graph, context)
        return resolver.get_status(dg.AssetKey(asset)) == StaleStatus.FRESH


@pytest.fixture
def again(tmp_path: Path) -> Iterator[Again]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield Again(tmp_path, instance)


def test_a_blocking_check_that_fails_the_second_time_fails_the_step(again: Again) -> None:
    result = again.make((GOOD, "one"), (BAD, "two"))
    assert not result.success
    assert again.last_check is False
    assert materialized(again.instance, "made_of_it") == []
    event = result.failure_data_for_node("toy_flow")
    assert event is not None
    assert event.error is not None
    assert "blocking checks failed: sound of first" in str(event.error)


def test_a_blocking_check_that_passes_the_second_time_lets_the_run_go_on(again: Again) -> None:
    assert again.make((BAD, "one"), (GOOD, "two")).success
    assert again.last_check is True
    assert len(materialized(again.instance, "made_of_it")) == 1


def test_a_blocking_check_that_fails_both_times_fails_the_step(again: Again) -> None:
    assert not again.make((BAD, "one"), (BAD, "one")).success
    assert again.last_check is False


def test_the_later_materialization_tells_of_code_and_inputs_as_the_first(again: Again) -> None:
    assert again.make((GOOD, "one"), (GOOD, "two")).success
    first, second = again.tags()
    assert second == {**first, "dagster/data_version": "two"}
    assert second["dagster/code_version"] == FLOW.code_version
    assert "dagster/input_data_version/source" in second


def test_what_is_made_of_the_later_content_is_fresh(again: Again) -> None:
    assert again.make((GOOD, "one"), (GOOD, "two")).success
    assert all(again.is_fresh(asset) for asset in ("first", "second", "made_of_it"))


def test_the_same_data_version_is_recorded_once(again: Again) -> None:
    assert again.make((BAD, "one"), (GOOD, "one")).success
    assert len(again.tags()) == 1
    assert again.last_check is True
