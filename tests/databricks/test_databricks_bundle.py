"""databricks.yml against the Jobs API's own shapes, as databricks-sdk has them.

The bundle's JSON schema is published under a licence that does not let it stand in this repository;
docs/databricks.md says how to check against it by hand.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from databricks_kit import ROOT
from workspace_rules import check_job

from dagster_metaflow.backends.databricks_bundle import job_settings
from dagster_metaflow.backends.databricks_driver import place_by
from dagster_metaflow.backends.databricks_settings import ENVIRONMENT_VERSION
from dagster_metaflow.backends.protocol import LaunchError

FILE = ROOT / "databricks.yml"
LAKE = "abfss://lake@account.dfs.core.windows.net/fraud"
GIT = {"git_url": "https://github.com/me/mine", "git_provider": "gitHub", "git_branch": "main"}
TARGETS = ("dev", "staging", "prod")
FLOWS = {
    "fraud_detection": "flows/fraud_detection_flow.py",
    "training": "flows/training_flow.py",
    "scoring": "flows/scoring_flow.py",
}


def job(key: str, target: str = "dev", lake: str | None = LAKE) -> dict[str, Any]:
    return job_settings(
        FILE,
        key,
        target,
        variables={"lakehouse_uri": lake} if lake else {},
        git_source=GIT,
        requirements=lambda path: (ROOT / path).read_text().splitlines(),
    )


@pytest.fixture(scope="module")
def bundle() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(FILE.read_text())
    return found


def test_it_has_the_jobs_and_the_targets(bundle: dict[str, Any]) -> None:
    assert set(bundle["resources"]["jobs"]) == set(FLOWS)
    assert tuple(bundle["targets"]) == TARGETS
    assert [t for t, about in bundle["targets"].items() if about.get("default")] == ["dev"]
    assert set(bundle) == {"bundle", "variables", "resources", "targets"}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("key", FLOWS)
def test_the_jobs_api_takes_each_job(key: str, target: str) -> None:
    made = job(key, target)
    access = made.pop("access_control_list")
    check_job(made)
    assert access == [{"group_name": "users", "level": "CAN_MANAGE_RUN"}]
    assert "${" not in str(made)


@pytest.mark.parametrize("key", FLOWS)
def test_each_runs_its_flow_on_the_serverless_environment(key: str, bundle: dict[str, Any]) -> None:
    task = bundle["resources"]["jobs"][key]["tasks"][0]
    python = task["spark_python_task"]
    assert f"--flow={FLOWS[key]}" in python["parameters"]
    assert (ROOT / FLOWS[key]).is_file()
    assert (ROOT / python["python_file"]).is_file()
    assert "libraries" not in task
    assert task["disable_auto_optimization"]
    (environment,) = bundle["resources"]["jobs"][key]["environments"]
    assert environment["environment_key"] == task["environment_key"] == "Default"
    spec = environment["spec"]
    assert spec["environment_version"] == ENVIRONMENT_VERSION
    assert spec["dependencies"][0] == "-r requirements.txt"
    assert all((ROOT / line.removeprefix("-r ")).is_file() for line in spec["dependencies"])


def test_what_a_run_leaves_is_found_by_its_number() -> None:
    parameters = job("scoring")["tasks"][0]["spark_python_task"]["parameters"]
    assert place_by(parameters, "77") == f"{LAKE}/_databricks/scoring_flow/77"


def test_schedules_run_in_production_only() -> None:
    states = {target: job("scoring", target)["schedule"]["pause_status"] for target in TARGETS}
    assert states == {"dev": "PAUSED", "staging": "PAUSED", "prod": "UNPAUSED"}


def test_what_has_no_value_is_named_with_how_to_give_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LaunchError, match="BUNDLE_VAR_lakehouse_uri"):
        job("training", lake=None)
    monkeypatch.setenv("BUNDLE_VAR_lakehouse_uri", LAKE)
    assert f"--store={LAKE}" in str(job("training", lake=None))


def test_a_file_that_is_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(LaunchError, match="cannot be read"):
        job_settings(
            tmp_path / "none", "x", "dev", variables={}, git_source=GIT, requirements=lambda _: []
        )
