"""The whole flow on AWS, from Dagster: what comes out is what comes out on this machine.

Jobs have what infra/aws/Dockerfile installs, and nothing of the project or of the tests.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from aws import BUCKET, LocalAws, local_aws
from aws_image import aws_image
from cloud_kit import QUICK, failures, made
from s3fs import S3FileSystem

from dagster_metaflow import BACKEND_TAG, MetaflowFlow, MetaflowResource, metaflow_assets
from fraud_mlops import catalog
from fraud_mlops.lakehouse.partitions import Lakehouse
from fraud_mlops.lakehouse.stores import exists
from fraud_mlops.registry.pointers import read_pointer

# Most of it for pip, where nothing is in its cache.
pytestmark = [pytest.mark.flow, pytest.mark.timeout(2400)]
ROOT = Path(__file__).parents[2]
FILE = ROOT / "flows" / "fraud_detection_flow.py"
DATASET = "synthetic_claims"
ASSETS = ["raw_zone", "model_artifact", "ml_outputs", "metrics"]
GIVEN: dict[str, Any] = {"sample_size": 6000, "seed": 7}
CANDIDATE = "- {name: line, family: logistic, seed: 2, params: {epochs: 4}}\n"


INSTALLED = """
import importlib.metadata, importlib.util, json, sys
found = {one.name: one.version for one in importlib.metadata.distributions()}
print(json.dumps([found, [name for name in sys.argv[1:] if importlib.util.find_spec(name)]]))
"""


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAws]:
    with local_aws(tmp_path_factory.mktemp("aws"), image=aws_image()) as aws:
        yield aws


def written(folder: Path) -> Path:
    """One light candidate, in a file."""
    path = folder / "candidates.yaml"
    path.write_text(CANDIDATE)
    return path


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The lakehouse of a run on this machine."""
    folder = tmp_path_factory.mktemp("here")
    options = [f"--{name.replace('_', '-')}={value}" for name, value in GIVEN.items()]
    options.append(f"--candidates-file={written(folder)}")
    subprocess.run(
        [sys.executable, FILE, "run", f"--output-uri={folder / 'lake'}", *options],
        cwd=folder,
        env={**os.environ, "METAFLOW_USER": "here", "METAFLOW_HOME": str(folder / "home")},
        stdout=subprocess.DEVNULL,
        check=True,
        timeout=600,
    )
    return str(folder / "lake")


@pytest.fixture
def signed_in(aws: LocalAws, monkeypatch: pytest.MonkeyPatch) -> LocalAws:
    """Dagster's process reads the lakehouse with the account of its environment."""
    S3FileSystem.clear_instance_cache()  # clients of servers that are gone
    for name, value in aws.environment.items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, value)
    return aws


def run(
    aws: LocalAws, folder: Path, backend: str, flow: MetaflowFlow, lake: str
) -> dg.ExecuteInProcessResult:
    given = {**GIVEN, "candidates_file": str(written(folder))}

    @metaflow_assets(
        flow=flow, assets=[dg.AssetSpec([DATASET, name]) for name in ASSETS], name="toy"
    )
    def whole(context: dg.AssetExecutionContext, metaflow: MetaflowResource) -> Iterator[Any]:
        yield from metaflow.run(context, flow, given).stream()

    common = {
        "environment": {**aws.environment, "METAFLOW_USER": "there"},
        "working_directory": str(folder),
    }
    resource = MetaflowResource(
        ledger_root=lake, poll_seconds=0.2, batch=common, step_functions={**common, **QUICK}
    )
    return dg.materialize(
        [whole],
        resources={"metaflow": resource},
        raise_on_error=False,
        tags={BACKEND_TAG: backend},
    )


def assert_same(here: str, there: str) -> None:
    """Zones by content, the model by its version, a hash of its files."""
    ours, theirs = Lakehouse(here), Lakehouse(there)
    for zone in ("raw", "ml_outputs", "metrics"):
        expected, found = ours.partitions(zone, DATASET), theirs.partitions(zone, DATASET)
        assert [p.value for p in found] == [p.value for p in expected]
        assert [p.data_version for p in found] == [p.data_version for p in expected]
        assert theirs.read(found).equals(ours.read(expected))
    pointers = [read_pointer(f"{root}/models", DATASET, "champion") for root in (here, there)]
    assert pointers[0] is not None
    assert pointers[1] is not None
    assert pointers[0].version == pointers[1].version


def test_jobs_have_the_pinned_packages_and_no_others(cloud: LocalAws) -> None:
    names = ["fraud_mlops", "dagster_metaflow", "fraud_assets", "moto", "pytest"]
    told = subprocess.run(
        [cloud.image, "-c", INSTALLED, *names],
        cwd=cloud.image.parent,
        env={},
        capture_output=True,
        check=True,
    )
    installed, importable = json.loads(told.stdout)
    assert importable == []
    lock = (ROOT / "infra" / "requirements.lock").read_text()
    pinned = dict(re.findall(r"^([\w.-]+)==([^\s;]+)", lock, re.MULTILINE))
    found = {canonical(name): version.partition("+")[0] for name, version in installed.items()}
    found.pop("pip")
    assert found == {canonical(name): version for name, version in pinned.items()}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_on_step_functions(signed_in: LocalAws, here: str, tmp_path: Path) -> None:
    """With files of which tasks know nothing but what travels to them."""
    mine = tmp_path / "mine.yaml"
    shutil.copy(catalog.find(DATASET), mine)
    files = [mine, written(tmp_path)]
    flow = MetaflowFlow(FILE, inputs=files, fixed={"dataset": str(mine)})
    lake = f"s3://{BUCKET}/states"
    result = run(signed_in, tmp_path, "step_functions", flow, lake)
    assert result.success, failures(result)
    told = [m for m in result.asset_materializations_for_node("toy") if "card: data" in m.metadata]
    assert exists(str(told[0].metadata["card: data"].value))  # exported without any service
    assert sorted({key.rpartition("/")[2] for key in made(result)}) == sorted(ASSETS)
    assert_same(here, lake)


def test_on_batch(signed_in: LocalAws, here: str, tmp_path: Path) -> None:
    # By its name: contracts are in the code package.
    flow = MetaflowFlow(FILE, inputs=[written(tmp_path)], fixed={"dataset": DATASET})
    lake = f"s3://{BUCKET}/batch"
    result = run(signed_in, tmp_path, "batch", flow, lake)
    assert result.success, failures(result)
    assert_same(here, lake)
