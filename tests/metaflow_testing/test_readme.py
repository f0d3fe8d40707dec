"""Everything that the library's README shows has been run."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

import dagster_metaflow

README = Path(dagster_metaflow.__file__).with_name("README.md")
BLOCK = re.compile(r"^```(\w+)(?: file=(\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[tuple[str, str]]:
    """File name (or none) and text of each example."""
    found = BLOCK.findall(README.read_text("utf-8"))
    return [(name, text) for kind, name, text in found if kind == language]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a reader tries the examples."""
    for name, text in blocks("python"):
        if name:
            (tmp_path / name).write_text(text)
    (tmp_path / ".metaflow").mkdir()  # else Metaflow looks for one in the folders above
    monkeypatch.chdir(tmp_path)
    for name in ("METAFLOW_USER", "SUDO_USER", "USERNAME"):  # as in a container, where root is all
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("USER", "root")
    monkeypatch.setenv("LAKE", str(tmp_path / "lake"))
    return tmp_path


@pytest.fixture
def shown(folder: Path) -> dict[str, Any]:
    """What the examples define, one after the other."""
    names: dict[str, Any] = {"__name__": "readme"}
    for name, text in blocks("python"):
        if not name:
            exec(compile(text, str(README), "exec"), names)  # noqa: S102 - our own examples
    return names


@pytest.mark.flow
def test_the_first_example_materializes_both_assets(shown: dict[str, Any]) -> None:
    result = shown["defs"].resolve_implicit_global_asset_job_def().execute_in_process()
    made = [event.asset_key.to_user_string() for event in result.get_asset_materialization_events()]
    assert made == ["numbers", "total"]
    numbers = result.asset_materializations_for_node("small_flow")[0]
    assert numbers.metadata["dagster/row_count"].value == 3
    assert Path(numbers.metadata["card: numbers"].value).is_file()


@pytest.mark.flow
def test_the_example_with_partitions_and_checks(shown: dict[str, Any]) -> None:
    metaflow = shown["MyResource"](ledger_root="lake", backend="patient")
    result = dg.materialize(
        [shown["monthly"]], partition_key="2026-02-01", resources={"metaflow": metaflow}
    )
    numbers, total = result.asset_materializations_for_node("monthly")
    assert (numbers.partition, numbers.metadata["dagster/row_count"].value) == ("2026-02-01", 4)
    assert total.metadata["total"].value == 6
    assert [check.passed for check in result.get_asset_check_evaluations()] == [True]
    spec = shown["monthly"].specs_by_key[dg.AssetKey("numbers")]
    assert spec.group_name == "lake"


@pytest.mark.flow
def test_a_run_from_the_command_line_is_recorded(folder: Path, shown: dict[str, Any]) -> None:
    command = [sys.executable, "small_flow.py", "run", "--output-uri", str(folder / "lake")]
    by_hand = os.environ | {"METAFLOW_USER": "reader"}
    subprocess.run(command, env=by_hand, check=True, stdout=subprocess.DEVNULL, timeout=120)
    with dg.DagsterInstance.ephemeral() as instance:
        tick = shown["elsewhere"].evaluate_tick(dg.build_sensor_context(instance=instance))
    keys = [e.asset_key.to_user_string() for e in tick.asset_events if hasattr(e, "partition")]
    assert {"numbers", "total"} <= set(keys)


@pytest.mark.flow
def test_the_yaml_makes_a_code_location_that_runs(folder: Path) -> None:
    ((_, text),) = blocks("yaml")
    place = folder / "reader_project" / "defs" / "small"
    place.mkdir(parents=True)
    for package in place.parents[:2]:
        (package / "__init__.py").touch()
    (folder / "dg.toml").write_text(
        'directory_type = "project"\n[project]\nroot_module = "reader_project"\n'
    )
    (folder / "small_flow.py").rename(place / "small_flow.py")
    (place / "defs.yaml").write_text(text)
    sys.path.insert(0, str(folder))
    try:
        definitions = dg.load_from_defs_folder(path_within_project=folder)
        result = definitions.resolve_job_def("small_flow_job").execute_in_process()
    finally:
        sys.path.remove(str(folder))
    numbers = result.asset_materializations_for_node("small_flow")[0]
    assert (
        numbers.metadata["dagster/row_count"].value
        == yaml.safe_load(text)["attributes"]["parameters"]["size"]
    )


def test_the_parameters_and_names_of_its_tables_exist() -> None:
    text = README.read_text("utf-8")
    for name in dagster_metaflow.ProtocolParameters().names():
        assert f"`{name}`" in text
    for name in ("prepare", "launch", "resume", "poll", "read_log", "cancel", "links"):
        assert f"`{name}`" in text
