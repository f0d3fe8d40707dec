"""Where a run runs is said by the resource, by run config, or by a tag of the run."""

import json
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from aws import LocalAws
from cloud_kit import CloudToy, failures

from dagster_metaflow import BACKEND_TAG, MetaflowResource

NOWHERE = "There is no backend 'nowhere'; this resource has batch, "

CONFIG = {"ledger_root": "lake", "backend": "nowhere"}  # run config says a resource whole


@pytest.mark.parametrize(
    ("backend", "options"),
    [
        ("nowhere", {}),
        ("local", {"run_config": {"resources": {"metaflow": {"config": CONFIG}}}}),
        ("local", {"tags": {BACKEND_TAG: "nowhere"}}),
    ],
    ids=["resource", "run config", "tag"],
)
def test_the_backend_is_chosen(
    aws: LocalAws, tmp_path: Path, backend: str, options: dict[str, Any]
) -> None:
    toy = CloudToy(aws, tmp_path)
    resource = MetaflowResource(ledger_root=str(toy.lake), backend=backend)
    result = dg.materialize(
        [toy.assets()],
        resources={"metaflow": resource},
        instance=toy.instance,
        raise_on_error=False,
        **options,
    )
    (words,) = failures(result)
    assert NOWHERE in words
    toy.instance.dispose()


@pytest.mark.parametrize("backend", ["batch", "step_functions"])
def test_tasks_elsewhere_are_not_told_to_write_to_a_folder_of_this_machine(
    aws: LocalAws, tmp_path: Path, backend: str
) -> None:
    toy = CloudToy(aws, tmp_path)
    environment = {**toy.environment(), "SHARED_FOLDERS": "/mnt/efs"}
    result = toy.materialize(backend, toy.resource(common={"environment": environment}))
    (words,) = failures(result)
    assert f"{toy.lake} is a folder of this machine" in words
    assert "s3://... (LAKEHOUSE_URI)" in words
    assert toy.launches == []
    toy.instance.dispose()


@pytest.mark.parametrize("where", ["variable", "file"])
@pytest.mark.parametrize("backend", ["batch", "step_functions"])
def test_a_secret_that_metaflow_would_write_into_jobs_is_refused_and_not_shown(
    aws: LocalAws, tmp_path: Path, backend: str, where: str
) -> None:
    toy = CloudToy(aws, tmp_path)
    environment, secret = toy.environment(), {"METAFLOW_SERVICE_AUTH_KEY": "service-4e2f"}
    if where == "file":
        home = Path(environment["METAFLOW_HOME"])
        home.mkdir()
        (home / "config.json").write_text(json.dumps(secret))
    else:
        environment |= secret
    result = toy.materialize(backend, toy.resource(common={"environment": environment}))
    (words,) = failures(result)
    assert "METAFLOW_SERVICE_AUTH_KEY: on AWS whoever may look at jobs" in words
    assert "service-4e2f" not in words
    assert toy.launches == []
    toy.instance.dispose()
