"""A flow of Metaflow's on AWS Step Functions, from Dagster."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from aws import LocalAws
from cloud_kit import CloudToy, failures, made

from dagster_metaflow.backends.aws_api import Aws

pytestmark = pytest.mark.flow


@pytest.fixture
def toy(aws: LocalAws, tmp_path: Path) -> Iterator[CloudToy]:
    found = CloudToy(aws, tmp_path)
    yield found
    found.instance.dispose()


def test_a_run_that_fails_twice_is_redriven_twice_and_finished_steps_are_not_run_again(
    toy: CloudToy, capfd: pytest.CaptureFixture[str]
) -> None:
    toy.fail("join", times=2)
    toy.aws.fail("s3", "GetObject", "InternalError", status=500, times=2, key="AKIDJOB")
    resource = toy.resource(step_functions={"max_workers": 3})
    result = toy.materialize("step_functions", resource, retries=2)
    assert result.success
    (record,) = toy.launches
    words, again = failures(result)
    assert "ValueError: the toy breaks in join" in again
    assert f"in CloudToyFlow/{record.run_id}/join/" in words
    assert "ValueError: the toy breaks in join" in words
    assert "console.aws.amazon.com/states/home?region=us-east-1#/v2/executions/details/" in words
    assert "console.aws.amazon.com/cloudwatch/home" in words
    assert "toy works on part 1" in capfd.readouterr().out

    assert record.run_ids == (record.run_id,)  # redriven: the same run
    # By each execution: what ended well before it was redriven is told by one that fails again too.
    assert made(result) == ["first", "first", "first", "second"]
    assert toy.steps_run == {"start": 1, "work": 2, "join": 3}
    assert toy.aws.calls()["states:RedriveExecution"] == 2
    (path,) = toy.aws.failed()  # the download of the code by the first job, which was borne
    assert path in toy.aws.code_packages()
    assert toy.aws.failed()[path] == 2
    assert (toy.folder / "python_work").read_text() == str(toy.aws.image)
    assert at_once(toy) == 3


def at_once(toy: CloudToy) -> int:
    """Tasks of the `foreach`, as they are deployed."""
    found = toy.aws.client("stepfunctions").describe_state_machine(
        stateMachineArn=Aws(toy.environment()).machine_arn("CloudToyFlow")
    )
    return int(json.loads(found["definition"])["States"]["*work"]["MaxConcurrency"])


def test_the_python_of_tasks_does_not_know_the_project(aws: LocalAws) -> None:
    for module in ("fraud_mlops.errors", "dagster_metaflow.reports", "fraud_assets.flows"):
        command = [aws.image, "-c", f"import {module}"]
        done = subprocess.run(command, capture_output=True, text=True, cwd=aws.image.parent)
        assert "ModuleNotFoundError: No module named" in done.stderr
    subprocess.run([aws.image, "-c", "import metaflow"], check=True)
