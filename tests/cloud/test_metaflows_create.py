"""What Metaflow's own `step-functions create` makes of a deployment, and when it refuses one."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from aws import KEY, LocalAws
from cloud_kit import CloudToy, failures

from dagster_metaflow import MetaflowFlow
from dagster_metaflow.backends.aws_api import Aws
from dagster_metaflow.backends.protocol import LaunchError, LaunchRequest
from dagster_metaflow.backends.sfn_deployment import Deployer
from dagster_metaflow.backends.sfn_mark import is_made_of

pytestmark = pytest.mark.flow
FLOW = Path(__file__).parent / "toy" / "card_flow.py"
OF_A_PROJECT = """
from metaflow import FlowSpec, Parameter, project, step

@project(name="team")
class ProjectFlow(FlowSpec):
    folder = Parameter("folder", default=".")

    @step
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        pass

if __name__ == "__main__":
    ProjectFlow()
"""


def deployer(aws: LocalAws, folder: Path, user: str) -> Deployer:
    (folder / ".metaflow").mkdir(exist_ok=True)  # else Metaflow looks for one in the folders above
    home = {"METAFLOW_HOME": str(folder / f"home-{user}"), "METAFLOW_USER": user}
    environment = {**aws.environment, **home}
    return Deployer(
        aws=Aws(environment),
        python=sys.executable,
        working_directory=str(folder),
        environment=environment,
        options=["--datastore=s3"],
        create_options=[],
        name=None,
    )


def request(folder: Path) -> LaunchRequest:
    place = folder / "launches" / "one"
    return LaunchRequest(
        launch_id="one", flow_file=FLOW, flow_name="CardFlow", parameters={}, tags=(), folder=place
    )


def test_a_definition_says_of_which_code_it_is_made_and_others_deploy_with_its_token(
    aws: LocalAws, tmp_path: Path
) -> None:
    asked = request(tmp_path)
    first = replace(deployer(aws, tmp_path, "ci"), name="CreatedFlow")
    made = first.deployed(asked)
    assert is_made_of(first.aws, made.definition, first.code(asked))

    other = replace(deployer(aws, tmp_path, "dagster"), name="CreatedFlow")
    changed = replace(asked, code_version="changed")
    with pytest.raises(LaunchError, match=r"\(user ci\).*create_options: \[--authorize=TOKEN\]"):
        other.deployed(changed)

    start = json.loads(made.definition)["States"]["start"]
    token = start["Parameters"]["Parameters"]["metaflow.production_token"]
    words = [f"--authorize={token}", "--compress-state-machine"]
    other = replace(other, create_options=words)
    again = other.deployed(changed)
    assert other.code(changed) not in again.definition  # its commands are in S3
    assert is_made_of(other.aws, again.definition, other.code(changed))
    assert not is_made_of(other.aws, again.definition, first.code(asked))


@pytest.mark.parametrize("is_there", [False, True])
def test_a_flow_of_a_project_is_refused_before_it_is_deployed(
    aws: LocalAws, tmp_path: Path, is_there: bool
) -> None:
    """is_there: a state machine of its plain name, from before it was a project's."""
    file = tmp_path / "project_flow.py"
    file.write_text(OF_A_PROJECT)
    if is_there:
        aws.client("stepfunctions").create_state_machine(
            name="ProjectFlow", definition="{}", roleArn="arn:aws:iam::123456789012:role/local"
        )
    toy = CloudToy(aws, tmp_path / "toy", MetaflowFlow(file))
    result = toy.materialize("step_functions")
    toy.instance.dispose()
    (why,) = failures(result)
    assert "ProjectFlow has @project" in why
    assert "backend `batch`" in why
    assert not {"states:CreateStateMachine", "states:UpdateStateMachine"} & aws.calls(KEY).keys()
    assert toy.launches == []
