"""What sets an account up is sound, and gives no more than is needed."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cfnlint.decode import cfn_yaml

ROOT = Path(__file__).parents[2]
STACK = ROOT / "infra" / "aws" / "stack.yaml"
NO_RESOURCE = {  # calls for which AWS takes none
    "batch:Describe", "batch:ListJobs", "states:ListStateMachines", "logs:CreateLogDelivery",
}  # fmt: skip


@pytest.fixture(scope="module")
def resources() -> dict[str, Any]:
    found: dict[str, Any] = cfn_yaml.load(str(STACK))["Resources"]
    return found


def statements(resources: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for one in resources.values():
        given = one["Properties"]
        documents = [policy["PolicyDocument"] for policy in given.get("Policies", [])]
        if one["Type"] == "AWS::IAM::ManagedPolicy":
            documents.append(given["PolicyDocument"])
        for document in documents:
            yield from document["Statement"]


def test_cloudformation_takes_the_template() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("cfn-lint"), STACK], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


def test_no_role_may_do_whatever_it_likes(resources: dict[str, Any]) -> None:
    for statement in statements(resources):
        actions = statement["Action"]
        actions = [actions] if isinstance(actions, str) else actions
        assert not any("*" in action for action in actions)
        if statement["Resource"] == "*":
            assert any(actions[0].startswith(known) for known in NO_RESOURCE), actions


def test_the_bucket_is_closed_and_encrypted(resources: dict[str, Any]) -> None:
    given = resources["Bucket"]["Properties"]
    assert all(given["PublicAccessBlockConfiguration"].values())
    assert given["BucketEncryption"]
    assert resources["Bucket"]["DeletionPolicy"] == "Retain"


def test_what_the_stack_puts_out_is_what_metaflow_asks_for() -> None:
    outputs = re.findall(r"Description: (METAFLOW_\w+|LAKEHOUSE_URI)", STACK.read_text())
    page = (ROOT / "docs" / "aws.md").read_text()
    assert len(outputs) == 8
    for name in outputs:
        assert f"`{name}`" in page


def test_the_image_holds_the_packages_and_not_the_project() -> None:
    text = (ROOT / "infra" / "aws" / "Dockerfile").read_text()
    copied = re.findall(r"^COPY (\S+)", text, re.MULTILINE)
    assert copied == ["requirements.txt"]
    assert re.search(r"^USER (?!root)", text, re.MULTILINE)


def test_shell_scripts_are_clean() -> None:
    scripts = sorted((ROOT / "scripts").glob("*.sh"))
    done = subprocess.run(
        [Path(sys.executable).with_name("shellcheck"), *scripts], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
