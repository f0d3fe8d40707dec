"""AWS from a shell: Metaflow's own commands, and the script that does them all."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from aws import BUCKET, KEY, SECRET, LocalAws
from cloud_kit import undeploy
from shell_kit import FLOW, StepFunctionsStage

from dagster_metaflow.backends.aws_api import Aws

pytestmark = pytest.mark.flow
ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "run_step_functions.sh"
SECRETS = {
    "SNOWFLAKE_PASSWORD": "snow-9d1c",
    "SNOWFLAKE_PRIVATE_KEY_PASSPHRASE": "phrase-77aa",
    "AZURE_STORAGE_ACCOUNT_KEY": "azure-5b0e",
    "DAGSTER_POSTGRES_PASSWORD": "postgres-31f2",
    "AWS_SECRET_ACCESS_KEY": SECRET,
}


def metaflow(
    aws: LocalAws, folder: Path, flow: str, *words: str, **variables: str
) -> subprocess.CompletedProcess[str]:
    home = {"METAFLOW_HOME": str(folder / "home"), "METAFLOW_USER": "someone"}
    return subprocess.run(
        [sys.executable, ROOT / "flows" / flow, *words],
        env={**os.environ, **home, **aws.environment, **variables},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_the_commands_of_the_readme_and_no_secret_in_what_they_leave(
    aws: LocalAws, tmp_path: Path
) -> None:
    undeploy(aws, "FraudDetectionFlow")
    flow = "fraud_detection_flow.py"
    created = metaflow(aws, tmp_path, flow, "step-functions", "create", **SECRETS)
    assert created.returncode == 0, created.stdout + created.stderr
    started = metaflow(aws, tmp_path, flow, "step-functions", "trigger", "--seed", "3", **SECRETS)
    assert started.returncode == 0, started.stdout + started.stderr
    told = created.stdout + created.stderr + started.stdout + started.stderr
    run_id = told.partition("(run-id ")[2].partition(")")[0]
    states = aws.client("stepfunctions")
    arn = next(
        machine["stateMachineArn"]
        for machine in states.list_state_machines()["stateMachines"]
        if machine["name"] == "FraudDetectionFlow"
    )
    execution = f"{arn.replace(':stateMachine:', ':execution:')}:{run_id.removeprefix('sfn-')}"
    given = json.loads(states.describe_execution(executionArn=execution)["input"])
    assert json.loads(given["Parameters"])["seed"] == 3
    states.stop_execution(executionArn=execution)

    everything = list(aws.everything())
    assert any(b"class FraudDetectionFlow" in data for _, data in everything)
    assert any(b"name: synthetic_claims" in data for _, data in everything)
    assert_no_secret(everything, told)


def assert_no_secret(everything: list[tuple[str, bytes]], told: str) -> None:
    for secret in SECRETS.values():
        assert [where for where, data in everything if secret.encode() in data] == []
        assert secret not in told


def test_the_lakehouse_of_the_shell_goes_to_tasks_that_do_not_see_the_shell(
    aws: LocalAws, tmp_path: Path
) -> None:
    lake = f"s3://{BUCKET}/of-the-shell"
    words = ("run", "--with", "batch", "--sample-size", "1000")
    done = metaflow(aws, tmp_path, "ingest_flow.py", *words, LAKEHOUSE_URI=lake, **SECRETS)
    assert done.returncode == 0, done.stdout + done.stderr
    everything = list(aws.everything())
    assert any(b'"METAFLOW_CODE_SHA"' in data for where, data in everything if where[:4] == "job ")
    assert_no_secret(everything, done.stdout + done.stderr)
    found = aws.client("s3").list_objects_v2(Bucket=BUCKET, Prefix="of-the-shell/raw/")
    assert found["KeyCount"] > 0
    assert not (tmp_path / "lakehouse").exists()


def test_a_deployment_keeps_the_lakehouse_of_whoever_made_it(aws: LocalAws, tmp_path: Path) -> None:
    words = ("step-functions", "create", "--only-json")
    roots = {"LAKEHOUSE_URI": "s3://here/lake", "FRAUD_MODEL_URI": "s3://there/models"}
    made = metaflow(aws, tmp_path, "scoring_flow.py", *words, **roots)
    assert made.returncode == 0, made.stdout + made.stderr
    for root in roots.values():
        assert root in made.stdout
    signed = {"LAKEHOUSE_URI": "https://account.blob.core.windows.net/lake?sig=s3cr3t"}
    made = metaflow(aws, tmp_path, "scoring_flow.py", *words, **signed)
    assert "s3cr3t" not in made.stdout + made.stderr


def test_settings_of_the_shell_go_to_every_task_and_secrets_and_its_size_do_not(
    aws: LocalAws, tmp_path: Path
) -> None:
    size = {"FRAUD_THREADS": "17", "FRAUD_MEMORY_LIMIT": "64GB"}
    given = {"FRAUD_STORE_TIMEOUT": "30", "FRAUD_STORE_RETRIES": "7"} | size
    words = ("step-functions", "create", "--only-json")
    made = metaflow(aws, tmp_path, "scoring_flow.py", *words, **given, **SECRETS)
    assert made.returncode == 0, made.stdout + made.stderr
    states = json.loads(made.stdout)["States"]
    steps = [s for s in states.values() if s["Type"] == "Task" and "batch" in s["Resource"]]
    assert len(steps) == 5
    for step in steps:
        told = step["Parameters"]["ContainerOverrides"]["Environment"]
        variables = {one["Name"]: one.get("Value") for one in told}
        assert variables["FRAUD_STORE_TIMEOUT"] == "30"
        assert variables["FRAUD_STORE_RETRIES"] == "7"
        assert not variables.keys() & {*size, *SECRETS}


def test_a_job_refuses_a_lakehouse_that_would_go_with_it(aws: LocalAws, tmp_path: Path) -> None:
    words = ("run", "--with", "batch", "--sample-size", "1000")
    done = metaflow(aws, tmp_path, "ingest_flow.py", *words, SHARED_FOLDERS="")
    assert done.returncode != 0
    assert "would be a folder of a job of AWS Batch, and go with it" in done.stdout + done.stderr


LOOK = """
import sys
sys.path.insert(0, ".mf_code")
import dagster_metaflow.reports, fraud_mlops.pipeline.plan, user_errors
from fraud_mlops import catalog
print(catalog.load("synthetic_claims").name, catalog.__file__)
"""


def test_the_code_package_is_enough_where_nothing_is_installed(
    aws: LocalAws, tmp_path: Path
) -> None:
    saved = metaflow(aws, tmp_path, "fraud_detection_flow.py", "package", "save", "code.tgz")
    assert saved.returncode == 0, saved.stdout + saved.stderr
    unpacked = tmp_path / "unpacked"
    unpacked.mkdir()
    subprocess.run(["tar", "xzf", tmp_path / "code.tgz"], cwd=unpacked, check=True)
    found = subprocess.run([aws.image, "-c", LOOK], cwd=unpacked, capture_output=True, text=True)
    assert found.stdout.split() == [
        "synthetic_claims",
        str(unpacked / ".mf_code" / "fraud_mlops" / "catalog.py"),
    ], found.stderr


def test_scoring_is_scheduled_where_one_says_when(aws: LocalAws, tmp_path: Path) -> None:
    events, flow = aws.client("events"), "scoring_flow.py"
    cron = {"FRAUD_SCORING_CRON": "0 5 * * ? *"}
    done = metaflow(aws, tmp_path, flow, "step-functions", "create", **cron)
    assert done.returncode == 0, done.stdout + done.stderr
    (rule,) = events.list_rules(NamePrefix="ScoringFlow")["Rules"]
    assert (rule["ScheduleExpression"], rule["State"]) == ("cron(0 5 * * ? *)", "ENABLED")
    (target,) = events.list_targets_by_rule(Rule="ScoringFlow")["Targets"]
    assert target["Arn"].endswith(":stateMachine:ScoringFlow")
    metaflow(aws, tmp_path, flow, "step-functions", "create")
    (rule,) = events.list_rules(NamePrefix="ScoringFlow")["Rules"]
    assert rule["State"] == "DISABLED"
    mistaken = metaflow(
        aws, tmp_path, flow, "step-functions", "create", **cron, FRAUD_THREADS="many"
    )
    told = mistaken.stdout + mistaken.stderr
    assert (mistaken.returncode, "FRAUD_THREADS='many'" in told) == (1, True)
    assert "Traceback" not in told


# -- the script --------------------------------------------------------------------------------


@pytest.fixture
def stage(aws: LocalAws, tmp_path: Path) -> StepFunctionsStage:
    return StepFunctionsStage(aws, tmp_path)


def script(stage: StepFunctionsStage, *arguments: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [SCRIPT, *arguments],
        env={
            **os.environ,
            **stage.environment(),
            "PYTHON": sys.executable,
            "TMPDIR": str(stage.folder),
            "METAFLOW_CREATE_OPTIONS": "--tag=of-the-script",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def test_the_script_shows_the_log_and_ends_with_the_runs_end(stage: StepFunctionsStage) -> None:
    done = script(stage, FLOW, "--word=x")
    told, _ = done.communicate(timeout=60)
    assert done.returncode == 0, told
    assert "work is done" in told
    assert "succeeded" in told.splitlines()[-2]
    assert "executions/details" in told.splitlines()[-1]
    machine = Aws(stage.environment()).machine_arn("ShellFlow")
    made = stage.aws.client("stepfunctions").describe_state_machine(stateMachineArn=machine)
    assert "--tag of-the-script" in made["definition"]


def test_of_a_run_that_fails_it_tells_the_step(stage: StepFunctionsStage) -> None:
    stage.fail_once()
    done = script(stage, FLOW)
    told, _ = done.communicate(timeout=60)
    assert done.returncode == 1
    assert "failed: step work: Essential container in task exited (exit code 1)" in told


@pytest.mark.parametrize("to_all", [True, False], ids=["to all", "to the script"])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_and_sigterm_stop_the_run(
    stage: StepFunctionsStage, number: int, code: int, to_all: bool
) -> None:
    stage.hold()
    done = script(stage, FLOW)
    assert done.stdout is not None
    while "work runs" not in done.stdout.readline():
        pass
    (os.killpg if to_all else os.kill)(done.pid, number)
    done.communicate(timeout=60)
    assert done.returncode == code
    assert not going(stage)
    assert not list(stage.folder.glob("tmp*"))


def test_an_execution_of_the_definition_from_before_is_started_again(
    stage: StepFunctionsStage,
) -> None:
    """Also while AWS shows the state machine, too, as it was before."""
    script(stage, FLOW).communicate(timeout=60)
    stage.variables["SHELL_TIMEOUT"] = "777"
    stage.aws.start_stale(1)
    stage.aws.look_late(25)
    stage.hold()
    done = script(stage, FLOW)
    assert done.stdout is not None
    while "ran another definition than the one deployed; stopped" not in done.stdout.readline():
        assert done.poll() is None
    stage.release()
    told, _ = done.communicate(timeout=60)
    assert done.returncode == 0, told
    states, (last, before, _) = stage.aws.client("stepfunctions"), executions(stage)[:3]
    ran = states.describe_state_machine_for_execution(executionArn=last["executionArn"])
    assert json.loads(ran["definition"])["TimeoutSeconds"] == 777
    assert (last["status"], before["status"]) == ("SUCCEEDED", "ABORTED")


def test_of_a_run_that_it_may_not_look_at_it_says_where_to(stage: StepFunctionsStage) -> None:
    stage.aws.fail("states", "GetExecutionHistory", "AccessDeniedException", times=100)
    told, _ = (done := script(stage, FLOW)).communicate(timeout=60)
    stage.aws.mend()
    (last, *_) = executions(stage)
    assert done.returncode == 3, told
    assert f"Execution {last['name']} of state machine ShellFlow goes on" in told
    assert "re-execut" not in told.lower()
    stage.aws.client("stepfunctions").stop_execution(executionArn=last["executionArn"])


def test_of_a_run_that_failed_it_says_so_also_where_its_jobs_may_not_be_looked_for(
    stage: StepFunctionsStage,
) -> None:
    stage.aws.fail("batch", "ListJobs", "AccessDeniedException", times=100)
    stage.fail_once()
    told, _ = (done := script(stage, FLOW)).communicate(timeout=60)
    stage.aws.mend()
    assert done.returncode == 1, told
    assert "failed: step work" in told
    assert "What it may have left running was not ended: AWS refused" in told
    assert "goes on" not in told


@pytest.mark.parametrize("value", ["$(echo pwned)", "a`b`", "Z\u00fcrich", "two\nlines", "\x7f"])
def test_a_value_that_a_tasks_shell_would_read_is_wrong_usage(
    stage: StepFunctionsStage, value: str
) -> None:
    for words in (("--word", value), (f"--word={value}",)):
        told, _ = (done := script(stage, FLOW, *words)).communicate(timeout=10)
        assert done.returncode == 2
        assert "parameter --word: on Step Functions a value may hold no $" in told
    assert not stage.aws.calls(KEY)


def executions(stage: StepFunctionsStage) -> list[Any]:
    """Of the flow, the newest first."""
    states = stage.aws.client("stepfunctions")
    (arn,) = (
        machine["stateMachineArn"]
        for machine in states.list_state_machines()["stateMachines"]
        if machine["name"] == "ShellFlow"
    )
    found: list[Any] = states.list_executions(stateMachineArn=arn)["executions"]
    return sorted(found, key=lambda each: each["startDate"], reverse=True)


def test_a_second_ctrl_c_ends_a_start_that_hangs(stage: StepFunctionsStage) -> None:
    (stage.folder / "hold_trigger").touch()
    done = script(stage, FLOW)
    assert done.stdout is not None
    while not (stage.folder / "triggering").exists():
        assert done.poll() is None
        time.sleep(0.05)
    os.kill(done.pid, signal.SIGINT)
    while "once more ends that" not in done.stdout.readline():
        assert done.poll() is None
    os.kill(done.pid, signal.SIGINT)
    told, _ = done.communicate(timeout=30)  # which the start would hold open
    assert done.returncode == 130
    assert "a run may have started all the same" in told


HANGING = """
import sys
from dagster_metaflow.backends import watch_execution
watch_execution._START_SECONDS = 0.1
command = [sys.executable, "-c", "import time; time.sleep(100)"]
sys.exit(watch_execution.main("--tag=a:b", command, watch_execution.Signals()))
"""


def test_a_start_that_hangs_ends_in_time() -> None:
    command = [sys.executable, "-c", HANGING]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert "a run may have started all the same" in done.stderr


def test_it_leaves_no_job_of_a_run_that_took_too_long(stage: StepFunctionsStage) -> None:
    stage.variables["SHELL_TIMEOUT"] = "2"
    stage.hold()
    done = script(stage, FLOW)
    told, _ = done.communicate(timeout=60)
    assert done.returncode == 1
    assert "failed: the execution took longer than the state machine's time-out" in told
    assert not going(stage)


def going(stage: StepFunctionsStage) -> bytes:
    """Processes of jobs; one that is terminated takes a moment to end, there as here."""
    deadline = time.monotonic() + 5
    while True:
        found = subprocess.run(["pgrep", "-f", f"cd {stage.folder};"], capture_output=True).stdout
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.1)


def test_a_parameter_that_the_flow_does_not_have_is_wrong_usage(stage: StepFunctionsStage) -> None:
    done = script(stage, FLOW, "--no-such=1")
    told, _ = done.communicate(timeout=60)
    assert done.returncode == 2
    assert "--no-such" in told


@pytest.mark.parametrize("arguments", [(), ("--dataset", "x"), ("no_such_flow.py",)])
def test_wrong_usage_is_told(stage: StepFunctionsStage, arguments: tuple[str, ...]) -> None:
    done = script(stage, *arguments)
    told, _ = done.communicate(timeout=10)
    assert done.returncode == 2
    assert "flow" in told


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("METAFLOW_SERVICE_AUTH_KEY", "service-4e2f"),
        ("METAFLOW_SERVICE_URL", "https://someone:service-4e2f@metadata.example.com"),
        ("METAFLOW_SERVICE_INTERNAL_URL", "http://someone:service-4e2f@metadata.internal"),
        ("METAFLOW_S3_ENDPOINT_URL", "https://s3.example.com/?key=service-4e2f"),
        ("METAFLOW_OTEL_ENDPOINT", "https://someone:service-4e2f@otel.example.com"),
        ("METAFLOW_CONDA_DEFAULT_PYPI_SOURCE", "https://ci:service-4e2f@pypi.example.com/simple"),
    ],
)
def test_with_a_secret_that_jobs_would_show_nothing_is_deployed(
    stage: StepFunctionsStage, name: str, value: str
) -> None:
    stage.variables[name] = value
    told, _ = (done := script(stage, FLOW)).communicate(timeout=10)
    assert done.returncode == 2
    assert f"{name}: on AWS whoever may look" in told
    assert "service-4e2f" not in told
    assert not stage.aws.calls(KEY)
