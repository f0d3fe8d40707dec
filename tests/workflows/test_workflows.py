"""GitHub's workflows have the Jenkinsfile's gates, and give no secret to what does not need it."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from check_jsonschema.builtin_schemas import get_builtin_schema
from jsonschema.validators import validator_for

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
RUN = ROOT / ".github" / "workflows" / "run.yml"
SCRIPT = re.compile(r"scripts/[a-z_0-9]+\.(?:py|sh)")


def workflow(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.load(path.read_text(), Loader=yaml.BaseLoader)  # noqa: S506 - `on` stays a word
    return found


def own_jobs(path: Path) -> dict[str, dict[str, Any]]:
    """Those that are not another workflow."""
    return {name: job for name, job in workflow(path)["jobs"].items() if "uses" not in job}


def steps(path: Path) -> list[dict[str, Any]]:
    return [step for job in own_jobs(path).values() for step in job["steps"]]


def step(job: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = (one for one in job["steps"] if one.get("name") == name)
    return dict(found)


def gates(text: str) -> set[str]:
    return {script for script in SCRIPT.findall(text) if "ci_stage" not in script}


def before(path: Path, name: str) -> str:
    """All of a job, of what it needs, and of the workflows that these are."""
    job = workflow(path)["jobs"][name]
    if "uses" in job:
        return (ROOT / job["uses"]).read_text()
    needs = job.get("needs", [])
    needs = [needs] if isinstance(needs, str) else needs
    return "".join([str(job), *(before(path, need) for need in needs)])


def test_nothing_is_deployed_that_has_not_passed_every_gate_of_the_jenkinsfile() -> None:
    job = workflow(RUN)["jobs"]["deploy"]
    assert "always()" not in job["if"]
    assert "failure()" not in job["if"]
    assert gates(before(RUN, "deploy")) == gates((ROOT / "Jenkinsfile").read_text())


def test_the_jenkinsfile_is_linted_by_the_command_that_people_are_told_of() -> None:
    """With a version that is pinned; whatever it says fails."""
    checks = workflow(ROOT / ".github" / "workflows" / "checks.yml")["jobs"]["checks"]
    command = step(checks, "Jenkinsfile")["run"]
    assert re.fullmatch(
        r"npx --yes npm-groovy-lint@\d+\.\d+\.\d+ --failon info Jenkinsfile", command
    )
    assert f"`{command}`" in (ROOT / "CONTRIBUTING.md").read_text()


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
    for job in own_jobs(path).values():
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
    """What is deployed is the version that was judged, whose name whoever approves it sees."""
    jobs = workflow(RUN)["jobs"]
    job = jobs["deploy"]
    assert job["needs"] == ["checks", "run"]
    assert "needs.run.outputs.version != ''" in job["if"]
    assert "github.ref == 'refs/heads/main'" in job["if"]
    assert job["environment"] == "production"
    assert "cat ci/deployable" in step(jobs["run"], "Quality gate")["run"]
    assert "needs.run.outputs.version" in job["name"]
    assert "needs.run.outputs.version" in step(job, "Environment")["env"]["VERSION"]
    assert '"$VERSION" > ci/deployable' in step(job, "Environment")["run"]


def test_every_job_that_touches_production_keeps_its_reports() -> None:
    for name in ("run", "deploy"):
        job = workflow(RUN)["jobs"][name]
        assert "scripts/ci_begin.sh" in step(job, "Environment")["run"], name
        kept = [s for s in job["steps"] if s.get("uses", "").startswith("actions/upload-artifact")]
        assert [one["if"] for one in kept] == ["always()"], name


def test_the_end_of_a_run_is_told_once_whatever_it_is() -> None:
    jobs = workflow(RUN)["jobs"]
    told = jobs["told"]
    assert set(told["needs"]) == jobs.keys() - {"told"}
    assert told["if"] == step(told, "Notification")["if"] == "always()"
    before = told["steps"][1:-1]
    assert [one["continue-on-error"] for one in before] == ["true"] * len(before)
    status = step(told, "Notification")["env"]["STATUS"]
    assert "contains(needs.*.result, 'failure') && 'failed'" in status


@pytest.mark.parametrize(
    ("deployment", "noted", "more"),
    [("success", False, ""), ("failure", True, ""), ("failure", False, "--step Deploy --reason")],
)
def test_a_deployment_that_a_reviewer_rejects_is_told_as_that(
    tmp_path: Path, deployment: str, noted: bool, more: str
) -> None:
    """None of its steps runs, and so none leaves a note."""
    notify = tmp_path / "scripts" / "ci_notify.sh"
    notify.parent.mkdir()
    notify.write_text('#!/bin/sh\necho "$@"\n')
    notify.chmod(0o755)
    (tmp_path / "ci" / ("failed" if noted else "junit")).mkdir(parents=True)
    command = step(workflow(RUN)["jobs"]["told"], "Notification")["run"]
    said = subprocess.run(
        ["bash", "-e", "-c", command],
        cwd=tmp_path,
        env={"DEPLOYMENT": deployment, "STATUS": "failed", "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.strip().startswith(f"failed {more}".strip())
    assert ("rejected" in said.stdout) is bool(more)


def test_a_lakehouse_in_the_workspace_is_refused_before_a_checkout_empties_it() -> None:
    for job in (workflow(RUN)["jobs"][name] for name in ("run", "deploy")):
        refusing, checkout = job["steps"][:2]
        assert checkout["uses"].startswith("actions/checkout")
        for uri, code in (("", 1), ("lakehouse", 1), ("/srv/lake", 0), ("s3://lake", 0)):
            command = ["bash", "-e", "-c", refusing["run"]]
            done = subprocess.run(command, env={"LAKEHOUSE_URI": uri}, capture_output=True)
            assert done.returncode == code


def test_the_end_of_the_checks_on_main_is_told_once_whatever_it_is() -> None:
    told = workflow(ROOT / ".github" / "workflows" / "checks.yml")["jobs"]["told"]
    assert told["needs"] == "checks"
    assert told["if"].startswith("always() && github.ref == 'refs/heads/main'")
    assert "needs.checks.result" in step(told, "Notification")["env"]["STATUS"]


def test_an_environment_is_kept_for_all_that_is_pinned() -> None:
    """The key of GitHub's cache names what the script's own key is made of."""
    script = (ROOT / "scripts" / "ci_environment.sh").read_text()
    files = re.search(r"cat ([\w./ -]+?) <\(", script)
    assert files
    keys = [
        s["with"]["key"] for path in FILES for s in steps(path) if "cache@" in s.get("uses", "")
    ]
    assert keys
    for key in keys:
        assert set(re.findall(r"'([^']+)'", key)) == set(files[1].split())
