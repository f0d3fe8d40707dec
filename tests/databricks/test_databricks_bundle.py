"""databricks.yml: jobs against the Jobs API's own shapes, as databricks-sdk has them, what stands
around them against the keys that the documentation of bundles knows.

The bundle's own JSON schema, and the package `databricks-bundles` that is made from it, are under a
licence that does not let them into this repository; docs/databricks.md says how to check by hand.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from databricks_kit import ROOT
from workspace_rules import ApiError, check_bundle, check_job

from dagster_metaflow.backends.databricks_bundle import job_settings
from dagster_metaflow.backends.databricks_driver import place_by
from dagster_metaflow.backends.databricks_settings import ENVIRONMENT_VERSION
from dagster_metaflow.backends.protocol import LaunchError, UsageError

FILE = ROOT / "databricks.yml"
LAKE = "abfss://lake@account.dfs.core.windows.net/fraud"
GIT = {"git_url": "https://github.com/me/mine", "git_provider": "gitHub", "git_branch": "main"}
TARGETS = ("dev", "staging", "prod")
PRINCIPAL = "11111111-2222-3333-4444-555555555555"
OF_PROD = {
    "notified": "on-call@insurer.example",
    "operators": "ops",
    "service_principal": PRINCIPAL,
}
FLOWS = {
    "fraud_detection": "flows/fraud_detection_flow.py",
    "training": "flows/training_flow.py",
    "scoring": "flows/scoring_flow.py",
}


def job(
    key: str, target: str = "dev", lake: str | None = LAKE, file: Path = FILE, **given: str
) -> dict[str, Any]:
    of_target = OF_PROD if target == "prod" and not given else given
    return job_settings(
        file,
        key,
        target,
        variables={**of_target, **({"lakehouse_uri": lake} if lake else {})},
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
    may = ("ops", "CAN_MANAGE_RUN") if target == "prod" else ("users", "CAN_VIEW")
    assert access == [{"group_name": may[0], "level": may[1]}]
    python = made["tasks"][0]["spark_python_task"]
    assert f"--secret-scope=fraud-mlops-{target}" in python["parameters"]
    assert made["name"] == f"[git {target}] {key}"
    assert made["tags"]["dagster_metaflow"] == "git"
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


@pytest.mark.parametrize(
    ("place", "key"),
    [
        ((), "target"),
        (("bundle",), "title"),
        (("variables", "dataset"), "defualt"),
        (("targets", "staging"), "preset"),
        (("targets", "staging", "presets"), "prefix"),
        (("targets", "prod", "workspace"), "rootpath"),
        (("targets", "prod", "run_as"), "service_principal"),
        (("targets", "prod", "permissions", 0), "group"),
        (("targets", "prod", "variables"), "schedule"),
        (("resources",), "job"),
        (("resources", "jobs", "scoring"), "schedules"),
        (("resources", "jobs", "scoring", "schedule"), "cron"),
        (("resources", "jobs", "scoring", "permissions", 0), "group"),
        (("resources", "jobs", "scoring", "environments", 0, "spec"), "version"),
        (("resources", "jobs", "scoring", "tasks", 0), "retries"),
        (("resources", "jobs", "scoring", "tasks", 0, "spark_python_task"), "file"),
    ],
)
def test_no_slip_of_a_key_passes(
    bundle: dict[str, Any], place: tuple[str | int, ...], key: str
) -> None:
    check_bundle(bundle)
    at: Any = (changed := copy.deepcopy(bundle))
    for name in place:
        at = at[name]
    at[key] = "x"
    with pytest.raises(ApiError, match=f"unknown .*{key}"):
        check_bundle(changed)


def test_what_a_run_leaves_is_found_by_its_number() -> None:
    parameters = job("scoring")["tasks"][0]["spark_python_task"]["parameters"]
    assert place_by(parameters, "77") == f"{LAKE}/_databricks/scoring_flow/77"


def test_schedules_run_in_production_only_and_of_what_the_cli_deploys(
    bundle: dict[str, Any],
) -> None:
    assert bundle["variables"]["schedules"]["default"] == "PAUSED"
    unpaused = [
        target
        for target, about in bundle["targets"].items()
        if about.get("variables", {}).get("schedules") == "UNPAUSED"
    ]
    assert unpaused == ["prod"]
    states = {job("scoring", target)["schedule"]["pause_status"] for target in TARGETS}
    assert states == {"PAUSED"}


@pytest.mark.parametrize("target", TARGETS)
def test_nobody_else_can_write_the_code_that_runs_with_a_targets_secrets(
    target: str, bundle: dict[str, Any]
) -> None:
    """/Workspace/Shared is every user's. In dev it is the CLI's own choice, the user's folder."""
    root = bundle["targets"][target].get("workspace", {}).get("root_path")
    owner = {
        "dev": None,
        "staging": "/Workspace/Users/${workspace.current_user.userName}/",
        "prod": "/Workspace/Users/${var.service_principal}/",
    }[target]
    assert root is None if owner is None else str(root).startswith(owner)


@pytest.mark.parametrize("name", OF_PROD)
def test_production_has_no_silent_defaults(name: str, bundle: dict[str, Any]) -> None:
    assert "default" not in bundle["variables"][name]
    assert name not in bundle["targets"]["prod"].get("variables", {})
    for target in set(TARGETS) - {"prod"}:
        assert name in bundle["targets"][target]["variables"]
    given = {key: value for key, value in OF_PROD.items() if key != name}
    with pytest.raises(LaunchError, match=f"BUNDLE_VAR_{name}"):
        job("scoring", "prod", **given)


def test_production_runs_as_its_service_principal() -> None:
    assert job("scoring", "prod")["run_as"] == {"service_principal_name": PRINCIPAL}
    assert "run_as" not in job("scoring", "staging")


@pytest.mark.parametrize(
    ("where", "odd", "words"),
    [
        ((), {"resources": {"jobs": {}}}, "resources of target 'staging'"),
        (("presets",), {"trigger_pause_status": "PAUSED"}, "presets.trigger_pause_status"),
    ],
)
def test_what_only_the_cli_does_is_refused(
    bundle: dict[str, Any],
    tmp_path: Path,
    where: tuple[str, ...],
    odd: dict[str, Any],
    words: str,
) -> None:
    changed = copy.deepcopy(bundle)
    at = changed["targets"]["staging"]
    for name in where:
        at = at[name]
    at |= odd
    (tmp_path / "databricks.yml").write_text(yaml.safe_dump(changed))
    with pytest.raises(LaunchError, match=words):
        job("scoring", "staging", file=tmp_path / "databricks.yml")


def test_permissions_of_all_that_a_bundle_deploys_are_a_jobs_too(
    bundle: dict[str, Any], tmp_path: Path
) -> None:
    """As the CLI has it: a job's own word on somebody goes before."""
    changed = copy.deepcopy(bundle)
    changed["permissions"] = [{"user_name": "me@insurer.example", "level": "CAN_MANAGE"}]
    changed["targets"]["staging"]["permissions"] = [
        {"group_name": "${var.operators}", "level": "CAN_RUN"},
        {"service_principal_name": PRINCIPAL, "level": "CAN_RUN"},
    ]
    (tmp_path / "databricks.yml").write_text(yaml.safe_dump(changed))
    assert job("scoring", "staging", file=tmp_path / "databricks.yml")["access_control_list"] == [
        {"group_name": "users", "level": "CAN_VIEW"},
        {"user_name": "me@insurer.example", "level": "CAN_MANAGE"},
        {"service_principal_name": PRINCIPAL, "level": "CAN_MANAGE_RUN"},
    ]


def test_no_target_has_anothers_secrets(bundle: dict[str, Any]) -> None:
    assert "default" not in bundle["variables"]["secret_scope"]
    scopes = {about["variables"]["secret_scope"] for about in bundle["targets"].values()}
    assert len(scopes) == len(TARGETS)


def test_what_has_no_value_is_named_with_how_to_give_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LaunchError, match="BUNDLE_VAR_lakehouse_uri"):
        job("training", lake=None)
    monkeypatch.setenv("BUNDLE_VAR_lakehouse_uri", LAKE)
    assert f"--store={LAKE}" in str(job("training", lake=None))


PYTHON = {"task_key": "flow", "spark_python_task": {"python_file": "x", "parameters": []}}


def of(tmp_path: Path, **more: Any) -> dict[str, Any]:
    """The job `x` of a small bundle."""
    file = tmp_path / "databricks.yml"
    made = {"bundle": {"name": "small"}, "targets": {"dev": None}, **more}
    file.write_text(yaml.safe_dump(made))
    return job("x", lake=None, file=file)


@pytest.mark.parametrize(
    ("default", "told"),
    [
        ("${bundle.name}/${bundle.target}", "small/dev"),
        ("${var.other}/there", "other-small/there"),
        (True, "true"),
        (False, "false"),
        (3, "3"),
    ],
)
def test_a_variable_is_put_in_as_the_cli_writes_it(tmp_path: Path, default: Any, told: str) -> None:
    task = copy.deepcopy(PYTHON)
    task["spark_python_task"]["parameters"] = ["--at=${var.the-one}"]
    variables = {"the-one": {"default": default}, "other": {"default": "other-${bundle.name}"}}
    made = of(tmp_path, variables=variables, resources={"jobs": {"x": {"tasks": [task]}}})
    assert made["tasks"][0]["spark_python_task"]["parameters"] == [f"--at={told}"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("${var.round}", "has itself in its value"),
        ("${var.typo}", "there is no variable 'typo'"),
        ("${var.list}", "put in by the Databricks CLI alone"),
        ("${workspace.current_user.userName}", "known to the Databricks CLI alone"),
    ],
)
def test_what_cannot_be_put_in_is_told_with_what_helps(
    tmp_path: Path, text: str, words: str
) -> None:
    variables = {"round": {"default": "${var.more}"}, "more": {"default": "${var.round}"}}
    variables |= {"list": {"default": ["a"]}}
    jobs = {"x": {"description": text, "tasks": [PYTHON]}}
    with pytest.raises(UsageError, match=words) as told:
        of(tmp_path, variables=variables, resources={"jobs": jobs})
    assert "BUNDLE_VAR" not in str(told.value)


@pytest.mark.parametrize(
    ("it", "words"),
    [
        ({"tasks": [{"task_key": "y", "notebook_task": {}}]}, "tasks.0.spark_python_task: Field"),
        (None, "job 'x' cannot be run from here: tasks: Field required"),
        ({"tasks": []}, "tasks: List should have at least 1 item"),
        ({"tasks": [PYTHON], "environments": [{"environment_key": "e"}]}, "environments.0.spec: F"),
        ({"tasks": [PYTHON], "permissions": [{"group_name": "g"}]}, "permissions.0.level: Field"),
    ],
)
def test_a_job_that_is_none_of_a_python_file_is_told(
    tmp_path: Path, it: dict[str, Any] | None, words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        of(tmp_path, resources={"jobs": {"x": it}})


def test_what_a_file_includes_is_said_not_to_be_read(tmp_path: Path) -> None:
    for jobs in ({"y": {}}, None):
        with pytest.raises(UsageError, match=r"there is no job 'x'.*not read: more/\*.yml"):
            of(tmp_path, include=["more/*.yml"], resources={"jobs": jobs})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "cannot be read"),
        (b"\xff\xfe", "cannot be read"),
        (b"a: [", "cannot be read"),
        (b"", "is no bundle"),
        (b"- a\n", "is no bundle"),
        (b"targets: dev", "is no bundle: targets: Input should be"),
        (b"resources: {jobs: [a]}", "is no bundle: resources.jobs: Input should be"),
    ],
)
def test_a_file_that_is_none_is_told(tmp_path: Path, text: bytes | None, words: str) -> None:
    if text is not None:
        (tmp_path / "file").write_bytes(text)
    with pytest.raises(UsageError, match=words):
        job("x", lake=None, file=tmp_path / "file")
