"""Several partitions made in one run have a data version each, so that only what changed counts."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest
from toy_kit import FLOW, MONTHS, materialized, told

from dagster_metaflow import MetaflowResource, metaflow_assets
from dagster_metaflow.reports import Check
from dagster_metaflow.testing import ScriptedBackend, ScriptedStep, scripted_resource

FIRST, LAST = "2024-01", "2024-03"
RANGE = {
    "dagster/asset_partition_range_start": FIRST,
    "dagster/asset_partition_range_end": LAST,
}
BEFORE = {"2024-01": "a", "2024-02": "b", "2024-03": "c"}
AFTER = BEFORE | {"2024-02": "b, mended"}


SECOND = dg.AssetSpec("second", deps=["first"])


SOUND = dg.AssetCheckSpec("sound", asset="first", blocking=True)


@metaflow_assets(
    flow=FLOW, assets=["first", SECOND], check_specs=[SOUND], name="toy", partitions_def=MONTHS
)
def toy(context: dg.AssetExecutionContext, metaflow: MetaflowResource) -> Iterator[Any]:
    yield from metaflow.run(context, FLOW).stream()


@dg.asset(
    deps=["first"],
    partitions_def=MONTHS,
    code_version="1",
    automation_condition=dg.AutomationCondition.any_deps_match(
        dg.AutomationCondition.data_version_changed()
    ),
)
def scored() -> None:
    """What depends on the first asset, month by month."""


class Months:
    """Three months of the first asset, and what depends on them."""

    def __init__(self, folder: Path, instance: dg.DagsterInstance) -> None:
        self.folder = folder
        self.instance = instance
        resource = scripted_resource(ScriptedBackend([]), str(folder))
        self.defs = dg.Definitions([toy, scored], resources={"metaflow": resource})
        self._cursor: Any = None

    def make(
        self, versions: Mapping[str, str], *assets: str, at_first: Mapping[str, str] | None = None
    ) -> dg.ExecuteInProcessResult:
        """All three in one run. at_first: what a task publishes that is retried, and then has
        `versions`."""
        sound = Check(name="sound", passed=True)
        steps = [
            ScriptedStep(name, ["first"], checks=[sound], data_version=published)
            for name, published in (("start", at_first), ("work", versions))
            if published is not None
        ]
        steps += [ScriptedStep("join", publishes=["second"], data_version=versions)]
        backend = ScriptedBackend(steps, partitions=MONTHS.get_partition_keys())
        result = dg.materialize(
            [toy, scored],
            instance=self.instance,
            resources={"metaflow": scripted_resource(backend, str(self.folder))},
            selection=list(assets),
            tags=RANGE,
        )
        assert result.success
        return result

    def versions(self, asset: str) -> dict[str | None, str | None]:
        """The latest of each month, as Dagster has it."""
        return {
            event.partition_key: event.event_log_entry.tags["dagster/data_version"]
            for event in materialized(self.instance, asset)
        }

    def stale(self, asset: str) -> list[str]:
        context = LoadingContextForTest(self.instance)
        graph = self.defs.resolve_asset_graph()
        resolver = CachingStaleStatusResolver(self.instance, graph, context)
        key = dg.AssetKey(asset)
        return [m for m in BEFORE if resolver.get_status(key, m) != StaleStatus.FRESH]

    def requested(self) -> list[str]:
        """Months that automation asks for since it was asked the last time."""
        result = dg.evaluate_automation_conditions(
            self.defs,
            self.instance,
            asset_selection=dg.AssetSelection.assets("scored"),
            cursor=self._cursor,
        )
        self._cursor = result.cursor
        found = result.get_requested_partitions(dg.AssetKey("scored"))
        return sorted(key for key in found if key is not None)


@pytest.fixture
def months(tmp_path: Path) -> Iterator[Months]:
    with dg.DagsterInstance.ephemeral() as instance:
        made = Months(tmp_path, instance)
        made.make(BEFORE, "first", "second")
        made.make(BEFORE, "scored")
        made.requested()
        yield made


def test_each_month_has_the_data_version_of_its_own_content(months: Months) -> None:
    assert months.versions("first") == months.versions("second") == BEFORE


def test_months_that_come_out_the_same_leave_what_depends_on_them_fresh(months: Months) -> None:
    months.make(BEFORE, "first", "second")
    assert months.stale("scored") == []
    assert months.requested() == []


def test_one_month_that_changed_makes_stale_what_depends_on_it_and_nothing_else(
    months: Months,
) -> None:
    months.make(AFTER, "first", "second")
    assert months.versions("first") == AFTER
    assert months.stale("scored") == ["2024-02"]
    assert months.requested() == ["2024-02"]


def test_of_months_that_a_retried_task_publishes_twice_the_later_content_counts(
    months: Months, capfd: pytest.CaptureFixture[str]
) -> None:
    months.make(AFTER, "first", "second", at_first=BEFORE)
    assert months.versions("first") == AFTER
    assert months.stale("first") == months.stale("second") == []
    assert months.stale("scored") == ["2024-02"]
    latest = materialized(months.instance, "first")[-1]
    assert latest.partition_key == "2024-02"
    assert latest.event_log_entry.tags["dagster/code_version"] == FLOW.code_version
    assert "mismatch" not in capfd.readouterr().err


def test_months_made_together_and_then_singly_have_the_same_versions(months: Months) -> None:
    sound = Check(name="sound", passed=True)
    steps = [ScriptedStep("start", ["first"], checks=[sound], data_version=BEFORE)]
    resource = scripted_resource(ScriptedBackend(steps), str(months.folder))
    dg.materialize(
        [toy],
        instance=months.instance,
        resources={"metaflow": resource},
        selection=["first"],
        partition_key="2024-02",
    )
    assert months.versions("first") == BEFORE
    assert months.stale("scored") == []


def test_an_asset_of_the_same_run_that_depends_on_the_months_is_fresh(months: Months) -> None:
    months.make(AFTER, "first", "second")
    assert months.stale("second") == []


def test_every_month_knows_its_code_so_that_new_code_makes_it_stale(months: Months) -> None:
    assert months.stale("first") == months.stale("second") == []
    for event in materialized(months.instance, "first"):
        assert event.event_log_entry.tags["dagster/code_version"] == FLOW.code_version


def test_every_month_tells_of_its_run(months: Months) -> None:
    latest = {e.partition_key: told(e) for e in materialized(months.instance, "first")}
    for facts in latest.values():
        assert {"metaflow_run", "launch_id", "parameters", "backend"} <= facts.keys()


def test_dagster_has_nothing_to_warn_of_in_a_step_with_several_assets(
    months: Months, capfd: pytest.CaptureFixture[str]
) -> None:
    months.make(AFTER, "first", "second")
    assert "mismatch" not in capfd.readouterr().err


def test_a_check_of_several_months_says_that_it_is_of_all_of_them(months: Months) -> None:
    key = dg.AssetCheckKey(dg.AssetKey("first"), "sound")
    (record,) = months.instance.event_log_storage.get_asset_check_execution_history(key, limit=9)
    assert record.evaluation is not None
    assert record.evaluation.metadata["partitions"].value == "3 as one: 2024-01 to 2024-03"
