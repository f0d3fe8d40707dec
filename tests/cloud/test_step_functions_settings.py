"""What a deployment is made of: what one sets, wherever Metaflow reads it, and not who deploys."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from aws import LocalAws
from shell_kit import FLOW, BatchStage, StepFunctionsStage

from dagster_metaflow.backends.aws_api import Aws
from dagster_metaflow.backends.protocol import LaunchError
from dagster_metaflow.backends.sfn_deployment import Deployer
from dagster_metaflow.backends.sfn_mark import mark_option
from dagster_metaflow.backends.sfn_schedule import SCHEDULE_TAG, Schedule

pytestmark = pytest.mark.flow


@pytest.fixture
def stage(aws: LocalAws, tmp_path: Path) -> StepFunctionsStage:
    found = StepFunctionsStage(aws, tmp_path)
    found.variables["METAFLOW_HOME"] = str(tmp_path / "home")
    return found


def deployer(stage: StepFunctionsStage, **variables: str) -> Deployer:
    return Deployer(
        aws=stage.backend().aws(),
        python="python",
        working_directory=None,
        environment={**stage.environment(), **variables},
        options=[],
        create_options=[],
        name=None,
        read=["SHELL_CRON"],
    )


def configure(folder: Path, name: str = "config.json", **values: str) -> None:
    """As `metaflow configure aws` leaves it."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps(values))


def code(stage: StepFunctionsStage, **variables: str) -> str:
    return deployer(stage, **variables).code(stage.request())


def test_what_metaflow_configure_sets_is_part_of_it(stage: StepFunctionsStage) -> None:
    home, found = stage.folder / "home", [code(stage)]
    for version in ("1", "2"):
        configure(home, METAFLOW_SERVICE_URL=f"https://metadata.example.com/{version}")
        found.append(code(stage))
    configure(home, "config_team.json", METAFLOW_SERVICE_URL="https://team.example.com")
    found.append(code(stage, METAFLOW_PROFILE="team"))
    assert len({*found}) == 4
    # A variable goes before the file.
    image = stage.environment()["METAFLOW_BATCH_CONTAINER_IMAGE"]
    configure(home)
    assert code(stage) == found[0]
    configure(home, METAFLOW_BATCH_CONTAINER_IMAGE=f"other-{image}")
    assert code(stage) == found[0]


def test_who_deploys_and_where_the_settings_lie_is_not(stage: StepFunctionsStage) -> None:
    elsewhere = str(stage.folder / "elsewhere")
    assert code(stage) == code(stage, METAFLOW_USER="other", METAFLOW_HOME=elsewhere)
    with_token = replace(deployer(stage), create_options=["--authorize=token"])
    assert code(stage) == with_token.code(stage.request())


def test_nor_is_what_metaflow_keeps_on_the_host_that_deploys(stage: StepFunctionsStage) -> None:
    of_the_host = {
        "METAFLOW_DATASTORE_SYSROOT_LOCAL": "/opt/dagster/storage",
        "METAFLOW_CARD_LOCALROOT": "/opt/dagster/cards",
        "METAFLOW_CLIENT_CACHE_PATH": "/opt/dagster/cache",
        "METAFLOW_TEMPDIR": "/scratch",
        "METAFLOW_UI_URL": "https://metaflow.example.com",
    }
    assert code(stage) == code(stage, **of_the_host)
    assert code(stage) != code(stage, METAFLOW_DATASTORE_SYSROOT_S3="s3://other/metaflow")


def test_a_variable_that_the_flow_reads_is(stage: StepFunctionsStage) -> None:
    assert code(stage) != code(stage, SHELL_CRON="0 5 * * ? *")
    assert code(stage) == code(stage, SHELL_OTHER="x")


def test_a_prefix_of_machines_is_read_where_metaflow_reads_it(stage: StepFunctionsStage) -> None:
    configure(stage.folder / "home", METAFLOW_SFN_STATE_MACHINE_PREFIX="team")
    assert deployer(stage).machine(stage.request()) == "team_ShellFlow"


def test_settings_that_cannot_be_read_are_named(stage: StepFunctionsStage) -> None:
    (stage.folder / "home").mkdir()
    (stage.folder / "home" / "config.json").write_text("{")
    with pytest.raises(LaunchError, match=r"config\.json cannot be read"):
        stage.backend().prepare(stage.request())


LAUNCHED = """
import json, sys
from pathlib import Path
from dagster_metaflow.backends.protocol import LaunchRequest
from dagster_metaflow.backends.step_functions import StepFunctionsBackend
environment, flow, folder = json.loads(sys.argv[1])
backend = StepFunctionsBackend(environment=environment)
request = LaunchRequest(launch_id="killed", flow_file=Path(flow), flow_name="ShellFlow",
    parameters={}, tags=(), folder=Path(folder), code_version="changed")
backend.launch(request, backend.prepare(request))
"""


@pytest.mark.parametrize(
    ("since", "becomes"), [("nothing", "ENABLED"), ("deployed without", "DISABLED")]
)
def test_a_schedule_that_a_killed_launch_has_left_off_is_switched_on_by_the_next(
    stage: StepFunctionsStage, since: str, becomes: str
) -> None:
    stage.variables["SHELL_CRON"] = "0 5 * * ? *"
    stage.ended(stage.launched())
    del stage.variables["SHELL_CRON"]
    given = [{**stage.environment(), "SHELL_KILLS_LAUNCHER": "yes"}, str(FLOW), str(stage.folder)]
    killed = subprocess.run([sys.executable, "-c", LAUNCHED, json.dumps(given)], timeout=60)
    assert killed.returncode == -signal.SIGKILL
    events = stage.aws.client("events")
    assert events.describe_rule(Name="ShellFlow")["State"] == "DISABLED"
    if since != "nothing":  # from a shell, by somebody who does not want it
        create = [sys.executable, str(FLOW), "step-functions", "create"]
        subprocess.run(create, env={**os.environ, **stage.environment()}, check=True, timeout=60)
    stage.ended(stage.launched())
    assert events.describe_rule(Name="ShellFlow")["State"] == becomes


def create(stage: StepFunctionsStage, code: str) -> None:
    """As Metaflow's `create` does it for a launch, which does not say when the flow is to run."""
    command = [sys.executable, str(FLOW), "step-functions", "create", mark_option(code)]
    subprocess.run(command, env={**os.environ, **stage.environment()}, check=True, timeout=60)


def test_a_schedule_stays_on_when_two_hosts_deploy_at_once(stage: StepFunctionsStage) -> None:
    stage.variables["SHELL_CRON"] = "0 5 * * ? *"
    stage.ended(stage.launched())
    del stage.variables["SHELL_CRON"]
    aws, states = Aws(stage.environment()), stage.aws.client("stepfunctions")
    arn = aws.machine_arn("ShellFlow")

    def noted() -> str | None:
        tags = states.list_tags_for_resource(resourceArn=arn)["tags"]
        return {tag["key"]: tag["value"] for tag in tags}.get(SCHEDULE_TAG)

    ours, theirs = Schedule(aws, arn, {}), Schedule(aws, arn, {})  # of the machine as it was
    with ExitStack() as our_end, ExitStack() as their_end:
        their_end.enter_context(theirs.kept("theirs"))
        create(stage, "theirs")
        our_end.enter_context(ours.kept("ours"))
        their_end.close()
        assert noted() == "ours"  # should we be killed now
        create(stage, "ours")
    assert stage.aws.client("events").describe_rule(Name="ShellFlow")["State"] == "ENABLED"
    assert noted() == "settled"


def test_a_launch_leaves_on_the_schedule_that_a_shell_has_set(stage: StepFunctionsStage) -> None:
    events = stage.aws.client("events")
    stage.variables["SHELL_CRON"] = "0 5 * * ? *"
    stage.backend().launch(stage.request(), stage.backend().prepare(stage.request()))
    assert events.describe_rule(Name="ShellFlow")["State"] == "ENABLED"
    del stage.variables["SHELL_CRON"]
    stage.code_version = "changed"
    stage.ended(stage.launched())
    assert events.describe_rule(Name="ShellFlow")["State"] == "ENABLED"
    events.disable_rule(Name="ShellFlow")
    stage.code_version = "changed again"
    stage.ended(stage.launched())
    assert events.describe_rule(Name="ShellFlow")["State"] == "DISABLED"


def test_a_run_is_linked_to_in_metaflows_ui_where_one_says_where_that_is(
    stage: StepFunctionsStage,
) -> None:
    configure(stage.folder / "home", METAFLOW_UI_URL="https://metaflow.example.com/")
    backend = stage.backend()
    handle = backend.prepare(stage.request())
    page = f"https://metaflow.example.com/ShellFlow/sfn-{handle['execution']}"
    assert backend.links(handle)["run"] == page
    batch = BatchStage(stage.aws, stage.folder)
    batch.variables = stage.variables
    handle = batch.backend().prepare(batch.request())
    assert "run" not in batch.backend().links(handle)  # it has no id yet
    Path(handle["folder"], "run.json").write_text('{"run_id": "7"}')
    page = "https://metaflow.example.com/ShellFlow/7"
    assert batch.backend().links(handle)["run"] == page
