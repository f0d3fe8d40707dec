"""A build of the real Jenkinsfile for each cloud: what it launches runs there."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from jenkins_kit import MARKED, ROOT, Jenkins
from registry_kit import DATASET, publish
from webhook import Webhook

from fraud_mlops.registry.pointers import promote

sys.path.append(str(ROOT / "tests" / "cloud"))
sys.path.append(str(ROOT / "tests" / "databricks"))

import dagster_servers
from aws import local_aws
from databricks_kit import QUICK, Repository
from interpreters import with_packages_of_tests
from workspace_server import local_workspace

pytestmark = pytest.mark.flow
LOCATION = Path(__file__).with_name("clouds_location.py")
TOY = ROOT / "tests" / "cloud" / "toy" / "cloud_toy_flow.py"
LOOKS: dict[str, Any] = {"look_seconds": 0.2, "most_look_seconds": 0.5, "log_lag_seconds": 0.0}


@contextlib.contextmanager
def step_functions(folder: Path) -> Iterator[tuple[Path, dict[str, Any], Callable[[], str]]]:
    """The flow, the backend's settings, and what the cloud says that it has run."""
    with local_aws(folder / "aws") as aws:
        home = {"METAFLOW_HOME": str(folder / "metaflow_home"), "METAFLOW_USER": "toy"}
        settings = {"environment": {**aws.environment, **home}, "working_directory": str(folder)}
        yield TOY, {"step_functions": settings | LOOKS}, lambda: " ".join(aws.calls())


@contextlib.contextmanager
def databricks(folder: Path) -> Iterator[tuple[Path, dict[str, Any], Callable[[], str]]]:
    """The same of Databricks, which clones the flow from a repository of Git."""
    repository = Repository.of_the_toys(folder / "repository")
    with local_workspace(
        folder / "workspace", with_packages_of_tests(folder / "python")
    ) as workspace:
        environment = {**workspace.environment, **repository.environment(), "METAFLOW_USER": "toy"}
        settings = {"databricks": {"environment": environment, **QUICK}}

        def told() -> str:
            return " ".join(run.name for run in workspace.jobs.runs.values())

        yield repository.root / "flows" / TOY.name, settings, told


@pytest.mark.parametrize(
    ("backend", "cloud", "proof"),
    [
        ("step-functions", step_functions, "states:StartExecution"),
        ("databricks", databricks, "CloudToyFlow"),
    ],
)
def test_a_build_runs_its_job_in_a_cloud(
    jenkins: Jenkins,
    quick: Callable[..., dict[str, Any]],
    room: Webhook,
    tmp_path: Path,
    backend: str,
    cloud: Callable[[Path], Any],
    proof: str,
) -> None:
    models = tmp_path / "lake" / "models"
    metrics = {n: {"value": 0.8, "low": 0.7, "high": 0.9} for n in ("average_precision", "roc_auc")}
    version = publish(models, metrics=metrics, oot={"report": {"rows": 1000, "frauds": 50}})
    promote(str(models), DATASET, version, expected=None, by="ann", reason="the first")
    for name in ("aws", "workspace", "toy"):
        (tmp_path / name).mkdir()
    with cloud(tmp_path) as (flow, backends, told):
        variables = {
            "TOY_FLOW": str(flow),
            "TOY_FOLDER": str(tmp_path / "toy"),
            "TOY_BACKENDS": json.dumps({"poll_seconds": 0.1, **backends}),
        }
        home = tmp_path / "home"
        with dagster_servers.dagster(home, LOCATION, environment=variables) as servers:
            jenkins.environment["DAGSTER_WEBSERVER_URL"] = servers.url
            ended = jenkins.build(**quick(JOB="ingest_job", BACKEND=backend, DATASET=DATASET))
            assert proof in told()
    assert ended.result == "SUCCESS", ended.output
    assert ended.stages()["Run"] == ended.stages()["Quality gate"] == "SUCCESS"
    assert ended.json("run.json")["status"] == "SUCCESS"
    steps = (tmp_path / "toy" / "count").read_text().split()
    assert steps == ["start", "work", "join"]
    assert room.titles == ["fraud/main #17 succeeded"]
    assert MARKED not in ended.output
