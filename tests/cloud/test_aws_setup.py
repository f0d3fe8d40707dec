"""What sets an account up is sound, and gives no more than is needed."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cfnlint.decode import cfn_yaml

from dagster_metaflow.backends.aws_api import Aws

ROOT = Path(__file__).parents[2]
STACK = ROOT / "infra" / "aws" / "stack.yaml"
NO_RESOURCE = (  # calls for which AWS takes none
    r"batch:(Describe\w+|ListJobs)|states:ListStateMachines"
    r"|logs:(\w+LogDelivery|ListLogDeliveries|PutResourcePolicy|Describe(ResourcePolicies|LogGroups))"
)


@pytest.fixture(scope="module")
def resources() -> dict[str, Any]:
    found: dict[str, Any] = cfn_yaml.load(str(STACK))["Resources"]
    return found


def statements(resources: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for one in resources.values():
        given = one["Properties"]
        documents = [policy["PolicyDocument"] for policy in given.get("Policies", [])]
        if one["Type"] in ("AWS::IAM::ManagedPolicy", "AWS::IAM::Policy"):
            documents.append(given["PolicyDocument"])
        for document in documents:
            yield from document["Statement"]


def test_cloudformation_takes_the_template() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("cfn-lint"), STACK], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


def actions(statement: dict[str, Any]) -> list[str]:
    given = statement["Action"]
    return [given] if isinstance(given, str) else list(given)


def test_no_role_may_do_whatever_it_likes(resources: dict[str, Any]) -> None:
    for statement in statements(resources):
        for action in actions(statement):
            assert "*" not in action
            if statement["Resource"] == "*":
                assert re.fullmatch(NO_RESOURCE, action), action


def test_a_state_machine_may_run_a_distributed_map(resources: dict[str, Any]) -> None:
    """Whose iterations are executions that it starts, and whose results go through S3."""
    found: dict[str, str] = {}
    for statement in statements({"role": resources["StatesRole"]}):
        found |= dict.fromkeys(actions(statement), str(statement["Resource"]))
    assert "stateMachine:*Flow" in found["states:StartExecution"]
    for action in ("DescribeExecution", "StopExecution", "RedriveExecution"):
        assert "execution:*Flow/*:*" in found[f"states:{action}"]
    for action in ("GetObject", "PutObject"):
        assert "/metaflow/sfn_distributed_map_output/*" in found[f"s3:{action}"]


def test_a_launcher_may_put_a_foreach_right_before_a_redrive(resources: dict[str, Any]) -> None:
    found = statements({"policy": resources["LauncherPolicy"]})
    allowed = {action for statement in found for action in actions(statement)}
    assert allowed >= {"dynamodb:GetItem", "dynamodb:UpdateItem"}


def test_jobs_may_read_the_secrets_that_the_stack_is_given_and_no_others(
    resources: dict[str, Any],
) -> None:
    readers = {
        name: statement
        for name, one in resources.items()
        for statement in statements({name: one})
        if any(action.startswith("secretsmanager:") for action in actions(statement))
    }
    assert list(readers) == ["JobSecrets"]
    assert actions(readers["JobSecrets"]) == ["secretsmanager:GetSecretValue"]
    assert readers["JobSecrets"]["Resource"] == {"Ref": "Secrets"}
    assert resources["JobSecrets"]["Properties"]["Roles"] == [{"Ref": "JobRole"}]


def test_the_bucket_is_closed_and_encrypted(resources: dict[str, Any]) -> None:
    given = resources["Bucket"]["Properties"]
    assert all(given["PublicAccessBlockConfiguration"].values())
    assert given["BucketEncryption"]
    assert resources["Bucket"]["DeletionPolicy"] == "Retain"


def test_what_the_stack_puts_out_is_what_metaflow_asks_for() -> None:
    outputs = re.findall(r"Description: (METAFLOW_\w+|LAKEHOUSE_URI)", STACK.read_text())
    page = (ROOT / "docs" / "aws.md").read_text()
    assert len(outputs) == 9
    for name in outputs:
        assert f"`{name}`" in page


def test_the_image_is_kept_where_no_tag_is_moved(resources: dict[str, Any]) -> None:
    given = resources["Images"]["Properties"]
    assert given["ImageTagMutability"] == "IMMUTABLE"
    assert given["ImageScanningConfiguration"]["ScanOnPush"]


def test_the_image_holds_the_packages_and_not_the_project() -> None:
    text = (ROOT / "infra" / "aws" / "Dockerfile").read_text()
    (copied,) = re.findall(r"^(?:COPY|ADD) (.+)", text, re.MULTILINE)
    assert copied.split()[:-1] == ["requirements.txt", "infra/requirements.lock"]
    assert re.search(r"^USER (?!root)", text, re.MULTILINE)


def test_a_step_whose_machine_is_taken_away_is_tried_again() -> None:
    """Machines are Spot by default."""
    flows = sorted((ROOT / "flows").glob("*_flow.py"))
    assert len(flows) == 4
    for flow in flows:
        for node in ast.walk(ast.parse(flow.read_text())):
            if isinstance(node, ast.FunctionDef):
                words = [ast.unparse(decorator) for decorator in node.decorator_list]
                if "step" in words:
                    assert any(w.startswith("retry(") for w in words), f"{flow.name}: {node.name}"


def test_shell_scripts_are_clean() -> None:
    scripts = sorted((ROOT / "scripts").glob("*.sh"))
    done = subprocess.run(
        [Path(sys.executable).with_name("shellcheck"), *scripts], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


def test_disks_are_encrypted_and_no_job_becomes_its_machine(resources: dict[str, Any]) -> None:
    compute = resources["Compute"]["Properties"]["ComputeResources"]
    assert compute["LaunchTemplate"]["LaunchTemplateId"] == {"Ref": "Machines"}
    made = resources["Machines"]["Properties"]["LaunchTemplateData"]
    assert made["MetadataOptions"] == {"HttpTokens": "required", "HttpPutResponseHopLimit": 1}
    assert [one["Ebs"]["Encrypted"] for one in made["BlockDeviceMappings"]] == [True]


@pytest.mark.parametrize(
    ("region", "host"),
    [
        ("eu-central-1", "eu-central-1.console.aws.amazon.com"),
        ("us-gov-west-1", "us-gov-west-1.console.amazonaws-us-gov.com"),
        ("cn-north-1", "cn-north-1.console.amazonaws.cn"),
    ],
)
def test_links_lead_to_the_console_of_the_partition(region: str, host: str) -> None:
    page = Aws({"AWS_REGION": region}).jobs_page()
    assert page == f"https://{host}/batch/home?region={region}#jobs"
