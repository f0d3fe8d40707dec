"""GitHub's workflows have the Jenkinsfile's gates, and give no secret to what does not need it."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from check_jsonschema.builtin_schemas import get_builtin_schema
from jsonschema.validators import validator_for

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
SCRIPT = re.compile(r"scripts/[a-z_0-9]+\.(?:py|sh)")


def workflow(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.load(path.read_text(), Loader=yaml.BaseLoader)  # noqa: S506 - `on` stays a word
    return found


def steps(path: Path) -> list[dict[str, Any]]:
    return [step for job in workflow(path)["jobs"].values() for step in job["steps"]]


def gates(text: str) -> set[str]:
    return {script for script in SCRIPT.findall(text) if "ci_stage" not in script}


def test_both_have_the_same_gates() -> None:
    on_github = set().union(*(gates(path.read_text()) for path in FILES))
    assert on_github == gates((ROOT / "Jenkinsfile").read_text())


def test_every_script_that_is_named_is_there_and_can_be_executed() -> None:
    for path in [*FILES, ROOT / "Jenkinsfile"]:
        for name in SCRIPT.findall(path.read_text()):
            assert (ROOT / name).is_file(), name
            assert name.endswith(".py") or os.access(ROOT / name, os.X_OK), name


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_workflow_is_what_github_takes(path: Path) -> None:
    """By the schema that check-jsonschema carries."""
    schema = get_builtin_schema("vendor.github-workflows")
    found = yaml.safe_load(path.read_text())
    found["on"] = found.pop(True)  # YAML 1.1 takes the word for a truth value
    assert [e.message for e in validator_for(schema)(schema).iter_errors(found)] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_jobs_may_only_read_and_end_in_time(path: Path) -> None:
    found = workflow(path)
    assert found["permissions"] == {"contents": "read"}
    for job in found["jobs"].values():
        assert int(job["timeout-minutes"]) <= 300
        assert "runs-on" in job


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_what_a_person_types_reaches_a_shell_as_a_variable_only(path: Path) -> None:
    for step in steps(path):
        assert "${{" not in step.get("run", ""), step["name"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_secrets_are_given_to_single_steps(path: Path) -> None:
    found = workflow(path)
    outer = [found.get("env", {}), *(job.get("env", {}) for job in found["jobs"].values())]
    assert "secrets." not in str(outer)
    assert "secrets." in str(steps(path))


def test_a_deployment_waits_for_the_gate_and_for_a_person() -> None:
    job = workflow(ROOT / ".github" / "workflows" / "run.yml")["jobs"]["deploy"]
    assert job["needs"] == "run"
    assert "needs.run.outputs.deployable == 'true'" in job["if"]
    assert job["environment"] == "production"
