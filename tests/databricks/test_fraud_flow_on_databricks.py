"""The whole flow by scripts/run_databricks_job.py: what comes out is what comes out here.

The workspace is this machine's; the code that runs is a clone of a repository with the project in
it, by a Python that has what requirements.txt and infra/azure/requirements.txt name, really
installed, and nothing of the project or of the tests. Each secret of the shell and of the scope is
a mark, which must be in nothing that is left behind, and the claims hold markup, which must not be
any in a card; docs/security.md tells of both.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from databricks_kit import ROOT, Repository
from left_behind import held, leaks
from marks import DATASET, HEADERS, MARKS, MARKUP, mark, write_claims, write_contract
from workspace_server import LocalWorkspace

from dagster_metaflow.reports import read_reports
from fraud_mlops.lakehouse.partitions import Lakehouse
from fraud_mlops.models.candidates import Candidate
from fraud_mlops.models.params import LogisticParams
from fraud_mlops.pipeline.choosing import Result, choose, refit_winner
from fraud_mlops.pipeline.ingesting import ingest, prepare
from fraud_mlops.pipeline.leading import leader_to_be
from fraud_mlops.pipeline.monitoring import monitor
from fraud_mlops.pipeline.plan import plan_run
from fraud_mlops.pipeline.publishing import keep_bundle, publish
from fraud_mlops.pipeline.scoring import score
from fraud_mlops.pipeline.training import train_candidate
from fraud_mlops.pipeline.validation import validate
from fraud_mlops.registry.pointers import read_pointer

pytestmark = pytest.mark.flow
SCOPE = {"snowflake-password": mark("the scope's")}
CANDIDATE = "- {name: line, family: logistic, seed: 2, params: {epochs: 3}}\n"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """A repository with this project in it, as it lies here, and one light candidate."""
    made = Repository(tmp_path_factory.mktemp("project"))
    made.copy("flows", "src", "datasets", "scripts/databricks_entry.py", "pyproject.toml")
    made.copy("requirements.txt", "infra/azure/requirements.txt")
    (made.root / "light.yaml").write_text(CANDIDATE)
    claims = tmp_path_factory.mktemp("landing") / "claims.parquet"
    write_claims(claims)
    write_contract(made.root / "claims.yaml", claims)
    made.git("init", "-q", "-b", "main")
    made.commit("as it lies here")
    return made


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory, project: Repository) -> str:
    """The lakehouse of the same steps in this process, one after the other."""
    lake = str(tmp_path_factory.mktemp("here") / "lake")
    plan = plan_run(str(project.root / "claims.yaml"), run="Here/1", output_uri=lake)
    light = Candidate(name="line", seed=2, params=LogisticParams(epochs=3))
    plan = plan.model_copy(update={"candidates": (light,)})
    ingested = ingest(plan)
    features = prepare(plan, ingested)
    trained = train_candidate(light, features, print)
    choice = choose(plan, features, [Result(light, trained, None)])
    files, log = refit_winner(plan, choice, features, print)
    validated = validate(plan, features, ingested, files)
    keep_bundle(plan, ingested, features, choice, log, validated)
    leader = leader_to_be(plan, features, validated)
    monitor(plan, features, leader, score(plan, features, leader))
    publish(plan, validated)
    return lake


@pytest.mark.timeout(2400)  # most of it for pip, where nothing is in its cache
def test_the_flow_from_git_leaves_what_a_run_here_leaves(
    workspace: LocalWorkspace,
    project: Repository,
    here: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(workspace.machine, "builds", True)
    lake = str(tmp_path / "lake")
    workspace.tokens.add(MARKS["DATABRICKS_TOKEN"])
    workspace.secrets["marked"] = SCOPE
    shell = {**workspace.environment, **MARKS, **HEADERS}
    shell |= {"DATABRICKS_SECRET_SCOPE": "marked"}
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "run_databricks_job.py", "--dataset", "claims.yaml",
         "--candidates-file", "light.yaml", "--output-uri", lake],
        env={**os.environ, **shell, **project.environment()},
        capture_output=True,
        text=True,
        timeout=2000,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"of commit {project.head()}" in done.stdout
    assert_same(here, lake)
    found = re.search(r"Metaflow run (\d+): succeeded", done.stdout)
    assert found
    reports = read_reports(lake, "FraudDetectionFlow", found[1])
    assert [report.asset_key[1] for report in reports] == [
        "raw_zone",
        "ml_outputs",
        "metrics",
        "model_artifact",
    ]
    (tmp_path / "told").write_text(done.stdout + done.stderr)
    logs = [run.last.logs() for run in workspace.jobs.runs.values()]
    (tmp_path / "workspace").write_text("\n".join([*workspace.bodies, *logs]))
    runs = workspace.machine.folder
    marks = MARKS | SCOPE
    assert leaks(tmp_path, marks) + leaks(runs, marks) == []
    cards = list(runs.rglob("blank-*.html"))
    assert len(cards) >= 4
    assert [path for path in cards if any(MARKUP.encode() in text for text in held(path))] == []


def assert_same(here: str, there: str) -> None:
    """Zones by content, the model by its version, a hash of its files."""
    ours, theirs = Lakehouse(here), Lakehouse(there)
    for zone in ("raw", "ml_outputs", "metrics"):
        expected, found = ours.partitions(zone, DATASET), theirs.partitions(zone, DATASET)
        assert [p.value for p in found] == [p.value for p in expected]
        assert [p.data_version for p in found] == [p.data_version for p in expected]
    pointers = [read_pointer(f"{root}/models", DATASET, "champion") for root in (here, there)]
    assert pointers[0] is not None
    assert pointers[1] is not None
    assert pointers[0].version == pointers[1].version
