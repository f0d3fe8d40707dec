"""Runs that were started outside Dagster are recorded in it, in order."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import dagster as dg
import external_kit
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest
from external_kit import Daemon, evaluations, materializations, publish, taken_at

from dagster_metaflow import build_external_runs_sensor
from dagster_metaflow.reports import Check

FINE = Check(name="fine", passed=True)


def test_a_run_from_the_command_line_is_recorded(daemon: Daemon, lake: Path) -> None:
    publish(lake, "17", "claims/raw", version="0a1b", checks=[FINE], rows=20, minute=5)
    made, check = daemon.tick()
    assert isinstance(made, dg.AssetMaterialization)
    assert made.asset_key == dg.AssetKey(["claims", "raw"])
    assert made.metadata == {
        "dagster/row_count": dg.MetadataValue.int(20),
        "metaflow_run": dg.MetadataValue.text("ToyFlow/17/start/1"),
        "launch_id": dg.MetadataValue.text("17"),
        "published": dg.MetadataValue.timestamp(external_kit.BEGAN.timestamp() + 300),
    }
    assert isinstance(check, dg.AssetCheckEvaluation)
    assert (check.check_name, check.passed) == ("fine", True)
    latest = daemon.instance.get_latest_data_version_record(made.asset_key)
    assert latest is not None
    assert latest.asset_materialization.tags["dagster/data_version"] == "0a1b"


def test_each_run_is_recorded_once(daemon: Daemon, lake: Path) -> None:
    publish(lake, "1", checks=[FINE])
    daemon.tick()
    assert daemon.tick() == []
    publish(lake, "2", checks=[FINE])
    daemon.tick()
    daemon.tick()
    assert materializations(daemon.instance) == ["1", "2"]
    assert evaluations(daemon.instance, "fine") == ["1", "2"]


def test_each_partition_is_a_materialization(daemon: Daemon, lake: Path) -> None:
    publish(lake, "1", partitions=["2026-01", "2026-02"])
    daemon.tick()
    assert materializations(daemon.instance) == ["1:2026-01", "1:2026-02"]


def test_runs_are_recorded_in_the_order_of_publication(daemon: Daemon, lake: Path) -> None:
    for launch, minute in [("c", 3), ("a", 1), ("b", 2)]:
        taken_at(publish(lake, launch, minute=minute), 10)
    daemon.tick()
    assert materializations(daemon.instance) == ["a", "b", "c"]


def test_a_long_backlog_takes_several_ticks_and_keeps_its_order(
    lake: Path, instance: dg.DagsterInstance
) -> None:
    for minute in range(25):
        taken_at(publish(lake, f"{minute:02}", minute=minute, checks=[FINE]), 1000 - minute)
    daemon = Daemon(build_external_runs_sensor(ledger_root=str(lake), most_events=10), instance)
    assert [len(daemon.tick()) for _ in range(6)] == [10, 10, 10, 10, 10, 0]
    assert materializations(instance) == [f"{minute:02}" for minute in range(25)]
    assert daemon.said[0].startswith("10 events recorded; 20 are left for the next tick")


def test_a_report_is_never_split(lake: Path, instance: dg.DagsterInstance) -> None:
    publish(lake, "1", partitions=[f"2026-{month:02}" for month in range(1, 13)], checks=[FINE])
    daemon = Daemon(build_external_runs_sensor(ledger_root=str(lake), most_events=5), instance)
    assert len(daemon.tick()) == 13


def test_runs_that_dagster_launched_are_left_to_it(daemon: Daemon, lake: Path) -> None:
    (publish(lake, "of-dagster").parent / ".launch.json").write_text("{}")
    publish(lake, "mine")
    daemon.tick()
    assert materializations(daemon.instance) == ["mine"]


def test_only_the_flows_that_are_named(lake: Path, instance: dg.DagsterInstance) -> None:
    for flow in ("ToyFlow", "OtherFlow", "ThirdFlow"):
        publish(lake, f"of-{flow}", flow=flow, minute=len(flow))
    one = build_external_runs_sensor("one", ledger_root=str(lake), flows=["OtherFlow"])
    Daemon(one, instance).tick()
    assert materializations(instance) == ["of-OtherFlow"]
    two = build_external_runs_sensor("two", ledger_root=str(lake), flows=["ToyFlow", "ThirdFlow"])
    Daemon(two, instance).tick()
    assert materializations(instance) == ["of-OtherFlow", "of-ToyFlow", "of-ThirdFlow"]


def test_assets_may_have_another_key_in_dagster(lake: Path, instance: dg.DagsterInstance) -> None:
    publish(lake, "1", "claims/raw")
    keys = {"claims/raw": "lake/raw"}
    daemon = Daemon(build_external_runs_sensor(ledger_root=str(lake), asset_keys=keys), instance)
    daemon.tick()
    daemon.cursor = None
    assert daemon.tick() == []
    assert materializations(instance, "lake/raw") == ["1"]


def test_assets_and_checks_that_dagster_does_not_know_can_be_left_out(
    lake: Path, instance: dg.DagsterInstance
) -> None:
    publish(lake, "1", "first", checks=[FINE, Check(name="strange", passed=True)])
    publish(lake, "1", "strange")
    spec = dg.AssetSpec("first")

    @dg.multi_asset(specs=[spec], check_specs=[dg.AssetCheckSpec("fine", asset="first")])
    def toy():
        yield from ()

    sensor = build_external_runs_sensor(ledger_root=str(lake), known_assets_only=True)
    daemon = Daemon(sensor, instance, dg.Definitions(assets=[toy], sensors=[sensor]))
    daemon.tick()
    assert materializations(instance, "first") == ["1"]
    assert materializations(instance, "strange") == []
    assert evaluations(instance, "fine") == ["1"]
    assert evaluations(instance, "strange") == []


def test_a_ledger_that_is_not_there_yet_is_empty(daemon: Daemon) -> None:
    assert daemon.tick() == []
    assert daemon.said == ["nothing new (0 reports of runs from outside Dagster)"]


@pytest.mark.flow
def test_a_flow_run_from_the_command_line(daemon: Daemon, lake: Path, tmp_path: Path) -> None:
    flow = external_kit.toy_flow(tmp_path)
    command = [sys.executable, str(flow), "run", f"--output-uri={lake}", "--size=2"]
    subprocess.run(command, check=True, cwd=tmp_path, env=external_kit.flow_environment(tmp_path))
    daemon.tick()
    [first] = materializations(daemon.instance, "first")
    assert materializations(daemon.instance, "second") == [first]
    assert evaluations(daemon.instance, "fine", "first") == [first]
    assert daemon.tick() == []


def test_what_was_made_elsewhere_is_out_of_date_by_its_inputs_and_not_by_new_code(
    instance: dg.DagsterInstance, lake: Path
) -> None:
    """With which code, and of which versions of its inputs, nobody here knows."""

    @dg.asset
    def source() -> None: ...

    @dg.asset(deps=[source], code_version="of today")
    def first() -> None: ...

    definitions = dg.Definitions([source, first])

    def is_stale() -> bool:
        context = LoadingContextForTest(instance)
        graph = definitions.resolve_asset_graph()
        resolver = CachingStaleStatusResolver(instance, graph, context)
        return resolver.get_status(dg.AssetKey("first")) == StaleStatus.STALE

    dg.materialize([source], instance=instance)
    publish(lake, "1")
    Daemon(build_external_runs_sensor(ledger_root=str(lake)), instance).tick()
    assert not is_stale()
    dg.materialize([source], instance=instance)
    assert is_stale()
