"""The real Jenkinsfile, run: what a build does, what it leaves, and whom it tells."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import api_kit as served
import pytest
from api_kit import make_published
from dagster_servers import Servers
from jenkins_kit import MARKED, QUICK, ROOT, Ended, Jenkins, agent_environment
from osv_server import Osv
from registry_kit import DATASET, publish
from webhook import Webhook

from fraud_mlops.registry.pointers import promote, read_pointer

pytestmark = pytest.mark.flow
Quick = Callable[..., dict[str, Any]]

METRICS = ("average_precision", "roc_auc")


def no_secret_in(ended: Ended, *secrets: str) -> None:
    """Neither on the build's page nor in anything that it archives."""
    texts = {name: (ended.workspace / name).read_bytes() for name in ended.archived}
    texts["output"] = ended.output.encode()
    for name, text in texts.items():
        for secret in secrets:
            assert secret.encode() not in text, f"{secret} in {name}"


def test_a_push_runs_the_checks_and_launches_nothing(
    jenkins: Jenkins, room: Webhook, tmp_path: Path
) -> None:
    """In the first build of a branch Jenkins has no parameters in the environment yet, and knows of
    no commit that was good: all of the repository is searched for secrets."""
    text = (ROOT / "Jenkinsfile").read_text()
    for usual, quick in (
        ("lint", "help"),
        ("-n auto --dist loadfile --no-loadscope-reorder", QUICK),
    ):
        assert f"defaultValue: '{usual}'" in text
        text = text.replace(f"defaultValue: '{usual}'", f"defaultValue: '{quick}'")
    (tmp_path / "Jenkinsfile").write_text(text)
    ended = jenkins.build(first=True, jenkinsfile=tmp_path / "Jenkinsfile")
    assert ended.result == "SUCCESS", ended.output
    done = {name for name, became in ended.stages().items() if became == "SUCCESS"}
    assert done == {"Environment", "Checks", "Lint", "Unit tests", "Security"}
    assert ended.of("junit")[0]["tests"] == 1
    assert "\n0 strings that look like secrets" in ended.output
    assert room.titles == ["fraud/main #17 succeeded"]


def test_from_a_push_to_production(
    jenkins: Jenkins, quick: Quick, room: Webhook, vulnerabilities: Osv, tmp_path: Path
) -> None:
    """The build's own Dagster reads a month of claims in a Metaflow run, and the champion that was
    trained before is judged, approved and deployed: that one, though there is another by then."""
    published = make_published(tmp_path)
    promotion = [str(Path(sys.executable).parent / "fraud-mlops"), "models", "promote"]
    promotion += [published.versions["second"], "--dataset", served.DATASET]
    jenkins.environment |= {
        "LAKEHOUSE_URI": str(published.root),
        "FRAUD_DATASETS": str(published.contract),
    }
    ended = jenkins.build(
        **quick(
            JOB="ingest_job",
            DATASET=served.DATASET,
            PARTITION="2024-01",
            LINT="style",
            DEPLOY=True,
            DEPLOY_TO=str(tmp_path / "served"),
        ),
        meanwhile=[*promotion, "--output-uri", str(published.root)],
    )
    assert ended.result == "SUCCESS", ended.output
    assert set(ended.stages().values()) == {"SUCCESS"}
    # Every check really ran, and left its report.
    tests, run = (event["tests"] for event in ended.of("junit"))
    assert tests == 1
    assert run > 1
    assert {"torch", "snowflake-connector-python", "pytest"} <= set(vulnerabilities.asked)
    assert 0 <= ended.of("coverage")[0]["rate"] < 1
    for report in ("coverage.xml", "audit.json", "secrets.json", "junit/run.xml", "dagster.log"):
        assert f"ci/{report}" in ended.archived
    # The run's record: in Dagster, in Metaflow, and for people.
    log = ended.json("run.json")
    (metaflow,) = log["metaflow"]
    assert (log["job"], log["status"], metaflow["status"]) == ("ingest_job", "SUCCESS", "succeeded")
    assert metaflow["run"].startswith("IngestFlow/")
    assert metaflow["parameters"]["partition_start"] == "2024-01"
    text = (ended.workspace / "ci" / "run.md").read_text()
    assert "# ingest_job: success in " in text
    assert f"| {served.DATASET}/raw_zone | 2024-01 | row_count: " in text
    assert ended.of("description")[0]["text"] == "ingest_job success, 2024-01"
    assert any(name.startswith("ci/cards/") for name in ended.archived)
    # The gate, the approval, the deployment.
    first = published.versions["first"]
    assert (ended.json("gate.json")["verdict"], ended.json("gate.json")["version"]) == (
        "passed",
        first,
    )
    (asked,) = ended.of("input")
    assert (asked["stage"], asked["message"]) == ("Deploy", f"Deploy {first}?")
    assert asked["submitter"] == "fraud-deployers"
    champion = read_pointer(published.models, served.DATASET, "champion")
    assert champion is not None
    assert champion.version == published.versions["second"]
    pointer = json.loads((tmp_path / "served" / served.DATASET / "champion.json").read_text())
    assert pointer["version"] == first
    assert pointer["by"] == "deploy_from_s3.sh, eve"  # who has approved it
    # Who was told; and nothing was left running, or was shown.
    assert room.titles == ["fraud/main #17 succeeded"]
    assert f"Quality gate: champion {first} may be deployed" in room.received[0]["message"]
    assert "Dagster was ended" in ended.output
    # Nothing but the message itself has the address of the room.
    bound = [i for i, e in enumerate(ended.events) if e.get("id") == "fraud-notify-urls"]
    assert ["ci_notify.sh" in ended.events[i + 1].get("script", "") for i in bound] == [True]
    no_secret_in(ended, MARKED, room.address, "room-s3cret-path")


def test_a_failing_test_stops_the_build_and_is_told_with_the_command(
    jenkins: Jenkins, quick: Quick, room: Webhook
) -> None:
    jenkins.check_out()
    failing = jenkins.workspace / "tests" / "test_that_fails.py"
    failing.write_text("def test_premium():\n    assert 1 + 1 == 3, 'premiums do not add up'\n")
    ended = jenkins.build(**quick(PYTEST_ARGS="tests/test_that_fails.py", JOB="ingest_job"))
    failing.unlink()
    assert ended.result == "FAILURE"
    stages = ended.stages()
    assert stages["Unit tests"] == stages["Checks"] == "FAILURE"
    assert stages["Lint"] == stages["Security"] == "SUCCESS"
    assert stages["Run"] == stages["Deploy"] == "SKIPPED"
    assert ended.of("junit")[0]["failed"] == 1
    (told,) = room.received
    assert told["title"] == "fraud/main #17 failed in Unit tests"
    assert "premiums do not add up" in told["message"]
    assert "Last change: Ann, " in told["message"]
    assert "Next: scripts/ci_tests.sh" in told["message"]
    assert "Link: http://jenkins.example.org/job/fraud/17/" in told["message"]


def test_a_failing_run_is_told_with_its_reason_and_how_to_go_on(
    jenkins: Jenkins, quick: Quick, room: Webhook, dagster: Servers
) -> None:
    jenkins.environment["DAGSTER_WEBSERVER_URL"] = dagster.url
    ended = jenkins.build(**quick(JOB="ingest_job"))
    assert ended.result == "FAILURE"
    assert ended.stages()["Run"] == "FAILURE"
    assert ended.stages()["Quality gate"] == "SKIPPED"
    run = ended.json("launch.json")["run_id"]
    (told,) = room.received
    first = told["message"]
    assert told["title"] == "fraud/main #17 failed in Run"
    assert "The landing zone is empty" in first
    assert "Next: python -m fraud_assets.launch --from-failure" in first
    assert f"Run: {dagster.url}/runs/" in first
    # What failed has a record too.
    assert ended.json("run.json")["run_id"] == run
    assert ended.of("description")[0]["text"] == "ingest_job failure"
    no_secret_in(ended, MARKED, "room-s3cret-path")


def test_an_aborted_build_cancels_its_run(
    jenkins: Jenkins, quick: Quick, room: Webhook, dagster: Servers
) -> None:
    jenkins.environment["DAGSTER_WEBSERVER_URL"] = dagster.url
    process = jenkins.start(**quick(JOB="scoring_job"))
    jenkins.wait_for(lambda: started_runs(dagster), "the run to start")
    process.terminate()
    ended = jenkins.end(process)
    assert ended.result == "ABORTED", ended.output
    assert ended.stages()["Run"] == "ABORTED"
    # The run took longer to end than Jenkins waits: what comes after has waited for it.
    assert "process did not stop" in ended.output
    assert "the run may go on" not in ended.output
    assert runs(dagster, "scoring_job") == ["CANCELED"]
    assert ended.json("run.json")["status"] == "CANCELED"
    (told,) = room.received
    assert told["title"].startswith("fraud/main #17 was aborted")


def test_nothing_is_deployed_that_nobody_approves(
    jenkins: Jenkins, quick: Quick, dagster: Servers, room: Webhook, tmp_path: Path
) -> None:
    jenkins.environment["DAGSTER_WEBSERVER_URL"] = dagster.url
    metrics = {name: {"value": 0.8, "low": 0.7, "high": 0.9} for name in METRICS}
    models = tmp_path / "lake" / "models"
    version = publish(models, metrics=metrics, oot={"report": {"rows": 1000, "frauds": 50}})
    promote(str(models), DATASET, version, expected=None, by="ann", reason="the first")
    ended = jenkins.build(
        approve=False,
        **quick(
            JOB="warehouse_sync_job",
            DATASET=DATASET,
            DEPLOY=True,
            DEPLOY_TO=str(tmp_path / "served"),
        ),
    )
    assert ended.result == "ABORTED", ended.output
    assert ended.stages()["Quality gate"] == "SUCCESS"
    assert ended.stages()["Deploy"] == "ABORTED"
    assert not (tmp_path / "served").exists()
    assert room.titles == ["fraud/main #17 was aborted"]


def test_a_deployment_that_there_is_no_model_for_is_a_failure(
    jenkins: Jenkins, quick: Quick, room: Webhook, tmp_path: Path
) -> None:
    ended = jenkins.build(**quick(DATASET="motr", DEPLOY=True, DEPLOY_TO=str(tmp_path / "served")))
    assert ended.result == "FAILURE", ended.output
    assert ended.stages()["Run"] == "SKIPPED"
    assert ended.of("input") == []
    (told,) = room.received
    assert told["title"] == "fraud/main #17 failed in Quality gate"
    assert "asked to deploy, and there is nothing to deploy: there is no champion of motr" in str(
        told
    )


def test_a_run_that_trains_leaves_its_model_in_the_record(dagster: Servers, tmp_path: Path) -> None:
    metrics = {"average_precision": {"value": 0.8, "low": 0.7, "high": 0.9}}
    version = publish(tmp_path / "models", metrics=metrics)
    config = {"ops": {"motor__model_artifact": {"config": {"version": version}}}}
    (tmp_path / "ci" / "junit").mkdir(parents=True)
    environment = agent_environment() | {
        "DAGSTER_WEBSERVER_URL": dagster.url,
        "FRAUD_MODEL_URI": str(tmp_path / "models"),
        "JOB": "training_job",
        "DATASET": DATASET,
        "RUN_CONFIG": json.dumps(config),
        "PYTHONPATH": str(ROOT),
    }

    def script(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(ROOT / "scripts" / name), *arguments]
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True
        )

    assert script("ci_launch.py").returncode == 0
    ended = script("log_metaflow_run.py", "--folder", "ci")
    assert ended.returncode == 0, ended.stderr
    told = f"motor__training_job success, model {version} (first), AP 0.800 (0.700 to 0.900)\n"
    assert ended.stdout == told
    assert (tmp_path / "ci" / "description.txt").read_text() == told
    text = (tmp_path / "ci" / "run.md").read_text()
    assert f"## Model {version}: first" in text
    assert "| average precision | 0.8000 | 0.7000 to 0.9000 |" in text
    assert json.loads((tmp_path / "ci" / "manifest.json").read_text())["version"] == version
    # A damaged one is in the record too, and no other is judged in its place.
    (tmp_path / "models" / DATASET / version / "manifest.json").unlink()
    champion = publish(tmp_path / "models", "b", metrics=metrics)
    promote(str(tmp_path / "models"), DATASET, champion, expected=None, by="ann", reason="first")
    ended = script("log_metaflow_run.py", "--folder", "ci")
    assert (ended.returncode, ended.stdout) == (
        0,
        f"motor__training_job success, model {version} (not read)\n",
    )
    assert "manifest.json" in (tmp_path / "ci" / "run.md").read_text()
    judged = script("quality_gate.py", "--folder", "ci")
    assert (judged.returncode, version in judged.stderr) == (1, True)
    (tmp_path / "ci" / "run.json").unlink()
    judged = script("quality_gate.py", "--folder", "ci")
    assert judged.returncode == 1
    assert "Next: python scripts/log_metaflow_run.py --folder ci" in judged.stderr
    assert not (tmp_path / "ci" / "deployable").exists()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"DATASET": "parcels"}, "No job training_job of dataset parcels"),
        ({"PARTITION": "2024-01 2024-02 2024-03"}, "PARTITION takes one key, or the first"),
        ({"SAMPLE_SIZE": "many"}, "SAMPLE_SIZE is 'many' for training_job"),
        ({"RUN_CONFIG": "no/such.yaml"}, "RUN_CONFIG cannot be read"),
    ],
)
def test_mistaken_parameters_are_told_and_launch_nothing(
    dagster: Servers, tmp_path: Path, given: dict[str, str], told: str
) -> None:
    usual = {"JOB": "training_job", "DATASET": DATASET, "DAGSTER_WEBSERVER_URL": dagster.url}
    command = [sys.executable, str(ROOT / "scripts" / "ci_launch.py")]
    environment = agent_environment() | usual | {"PYTHONPATH": str(ROOT)} | given
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert ended.returncode == 2
    assert told in ended.stderr
    assert not (tmp_path / "ci").exists()


def started_runs(dagster: Servers) -> bool:
    return runs(dagster, "scoring_job") == ["STARTED"]


def runs(dagster: Servers, job: str) -> list[str]:
    query = """query($job: String!) { runsOrError(filter: {pipelineName: $job}) {
      ... on Runs { results { status } } } }"""
    return [run["status"] for run in dagster.query(query, job=job)["runsOrError"]["results"]]
