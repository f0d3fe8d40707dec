"""Assets of a flow declared in YAML alone: a folder with a flow and a `defs.yaml`."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest
from dagster.components.core.component_tree import ComponentTreeException

from dagster_metaflow import MetaflowResource

FLOW = Path(__file__).parents[1] / "dagster_metaflow" / "toy" / "toy_flow.py"

PROJECT = """
directory_type = "project"

[project]
root_module = "toy_project"
"""

YAML = """
type: dagster_metaflow.MetaflowComponent
attributes:
  flow: toy_flow.py
  parameters:
    size: 3
  resource:
    ledger_root: "{{ env.TOY_LAKE }}"
    poll_seconds: 0.05
    local:
      working_directory: "{{ env.TOY_FOLDER }}"
  assets:
    - key: first
      deps: [landing]
      group_name: toys
      kinds: [parquet]
      owners: ["team:toys"]
      description: The first one.
    - key: second
      deps: [first]
      group_name: toys
  checks:
    - name: sound
      asset: first
  op:
    name: toy
    pool: toys
  retry_policy:
    max_retries: 2
  schedule:
    cron_schedule: "0 6 * * 1"
  external_runs:
    minimum_interval_seconds: 60
    running: true
"""

PARTITIONED = """
type: dagster_metaflow.MetaflowComponent
attributes:
  flow: toy_flow.py
  assets:
    - key: first
      partitions_def: {type: static, partition_keys: [2024-01, 2024-02, 2024-03]}
  schedule:
    cron_schedule: "0 6 * * 1"
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project whose one component is a folder with a flow."""
    monkeypatch.setenv("TOY_FOLDER", str(tmp_path))
    monkeypatch.setenv("TOY_LAKE", str(tmp_path / "lake"))
    monkeypatch.setenv("METAFLOW_USER", "toy")
    monkeypatch.setenv("METAFLOW_DATASTORE_SYSROOT_LOCAL", str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "dg.toml").write_text(PROJECT)
    folder = tmp_path / "toy_project" / "defs" / "toys"
    folder.mkdir(parents=True)
    for package in folder.parents[:2]:
        (package / "__init__.py").touch()
    shutil.copy(FLOW, folder)
    yield tmp_path
    for name in [n for n in sys.modules if n.partition(".")[0] == "toy_project"]:
        del sys.modules[name]


def load(project: Path, yaml: str) -> dg.Definitions:
    (project / "toy_project" / "defs" / "toys" / "defs.yaml").write_text(yaml)
    return dg.load_from_defs_folder(path_within_project=project)


def with_resource(definitions: dg.Definitions, project: Path) -> dg.Definitions:
    metaflow = MetaflowResource(ledger_root=str(project / "lake"))
    return dg.Definitions.merge(definitions, dg.Definitions(resources={"metaflow": metaflow}))


@pytest.mark.flow
def test_a_folder_with_a_flow_and_a_yaml_is_a_code_location(project: Path) -> None:
    job = load(project, YAML).resolve_job_def("toy_job")
    with dg.DagsterInstance.local_temp(str(project)) as instance:
        result = job.execute_in_process(instance=instance)
    made = {
        event.asset_key.to_user_string(): event.step_materialization_data.materialization
        for event in result.get_asset_materialization_events()
        if event.asset_key
    }
    assert made.keys() == {"first", "second"}
    assert made["second"].metadata["dagster/row_count"].value == 3
    assert [check.check_name for check in result.get_asset_check_evaluations()] == ["sound"]


def test_what_the_yaml_says_of_an_asset_is_what_dagster_shows(project: Path) -> None:
    graph = load(project, YAML).resolve_asset_graph()
    first = graph.get(dg.AssetKey("first"))
    assert first.parent_keys == {dg.AssetKey("landing")}
    assert first.group_name == "toys"
    assert first.kinds == {"parquet", "metaflow"}
    assert first.owners == ["team:toys"]
    assert first.description == "The first one."
    assert first.code_version
    assert graph.get(dg.AssetKey("second")).description.startswith("Makes the assets first and")
    assert first.pools == {"toys"}


def test_a_settled_parameter_is_not_asked_for(project: Path) -> None:
    (op,) = load(project, YAML).resolve_job_def("toy_job").graph.node_defs
    fields = op.config_schema.config_type.fields
    assert "size" not in fields
    assert {"rate", "word"} <= fields.keys()
    assert op.retry_policy == dg.RetryPolicy(max_retries=2, delay=0.0)


def test_a_sensor_for_runs_from_elsewhere(project: Path) -> None:
    sensor = load(project, YAML).resolve_sensor_def("toy_external_runs")
    assert sensor.minimum_interval_seconds == 60
    assert sensor.default_status is dg.DefaultSensorStatus.RUNNING
    assert str(project / "lake") in str(sensor.description)


def test_a_schedule_runs_the_job(project: Path) -> None:
    definitions = load(project, YAML)
    schedule = definitions.resolve_schedule_def("toy_schedule")
    assert (schedule.cron_schedule, schedule.job_name) == ("0 6 * * 1", "toy_job")
    tick = schedule.evaluate_tick(dg.build_schedule_context())
    assert [request.partition_key for request in tick.run_requests] == [None]


def test_a_schedule_of_partitioned_assets_runs_the_latest_partition(project: Path) -> None:
    definitions = with_resource(load(project, PARTITIONED), project)
    schedule = definitions.resolve_schedule_def("toy_flow_schedule")
    moment = datetime(2024, 6, 3, 6, tzinfo=UTC)
    context = dg.build_schedule_context(
        scheduled_execution_time=moment, repository_def=definitions.get_repository_def()
    )
    tick = schedule.evaluate_tick(context)
    assert [request.partition_key for request in tick.run_requests] == ["2024-03"]


def test_without_settings_the_locations_resource_is_used(project: Path) -> None:
    alone = load(project, PARTITIONED)
    with pytest.raises(dg.DagsterInvalidDefinitionError, match="resource with key 'metaflow'"):
        alone.resolve_job_def("toy_flow_job")
    assert with_resource(alone, project).resolve_job_def("toy_flow_job")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (("toy_flow.py", "no_flow.py"), "no_flow.py: there is no such flow file"),
        (("size: 3", "width: 3"), "ToyFlow has no parameter width"),
        (("size: 3", "size: many"), "parameter size of the flow takes int, not 'many'"),
        (("working_directory:", "workdir:"), "local.LocalBackend.workdir at "),
        (("    poll_seconds", "    backend: spark\n    poll_seconds"), "no backend 'spark'"),
        (("poll_seconds: 0.05", "poll_seconds: never"), "poll_seconds"),
        (("  assets:", "  things: 1\n  assets:"), "things"),
    ],
)
def test_what_is_wrong_is_told(project: Path, wrong: tuple[str, str], words: str) -> None:
    with pytest.raises(ComponentTreeException) as caught:
        load(project, YAML.replace(*wrong))
    assert words in str(caught.value.__cause__)


def test_external_runs_need_to_know_where_runs_report(project: Path) -> None:
    with pytest.raises(ComponentTreeException) as caught:
        load(project, PARTITIONED + "  external_runs: {}\n")
    assert "`external_runs` needs `resource`" in str(caught.value.__cause__)
