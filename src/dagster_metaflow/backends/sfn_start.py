"""Starts an execution, and makes sure that it runs the definition that was deployed.

AWS changes a state machine in its own time: an execution that is started within some seconds of a
change may still run the definition before it. And somebody else may have deployed in between.
"""

from __future__ import annotations

import json
import time
from contextlib import suppress
from typing import Any

from dagster_metaflow.backends import batch_jobs
from dagster_metaflow.backends.aws_api import Aws
from dagster_metaflow.backends.protocol import LaunchError
from dagster_metaflow.backends.sfn_deployment import Deployed

LONGEST_NAME = 80
_TRIES = 5
_PAUSE_SECONDS = 3.0
_UNSEEN_LOOKS = 10
_UNSEEN_SECONDS = 0.5


def execution_arn(machine_arn: str, name: str) -> str:
    return f"{machine_arn.replace(':stateMachine:', ':execution:')}:{name}"


def started(aws: Aws, machine: Deployed, flow: str, name: str, given: str) -> str:
    """Name of the execution: the one that was asked for, unless that ran another definition.

    flow: Metaflow's name of it. given: the input. What ran another definition is stopped, and its
    jobs with it. Asked again with the same name, the same execution is found. Raises LaunchError
    when AWS goes on with another definition, and ClientError.
    """
    client = aws.client("stepfunctions")
    for number in range(_TRIES):
        tried = f"{name[: LONGEST_NAME - 2]}-{number}" if number else name
        # It exists already when an answer was lost on its way, and the call made again.
        with suppress(client.exceptions.ExecutionAlreadyExists):
            client.start_execution(stateMachineArn=machine.arn, name=tried, input=given)
        arn = execution_arn(machine.arn, tried)
        try:
            if _runs(client, arn, machine.definition):
                return tried
        except client.exceptions.ClientError:
            _stop(aws, arn, flow)  # nobody would follow it
            raise
        _stop(aws, arn, flow)
        time.sleep(_PAUSE_SECONDS)
    raise LaunchError(
        f"AWS has started {_TRIES} executions of {flow} with another definition than the one that "
        "was deployed, and they were stopped. Does somebody else deploy it now? Re-execute in a "
        "minute; `state_machine` gives it a name of its own."
    )


def _runs(client: Any, arn: str, definition: str) -> bool:
    """Also where AWS does not show the execution for long: it has been started."""
    for _ in range(_UNSEEN_LOOKS):
        try:
            found = client.describe_state_machine_for_execution(executionArn=arn)["definition"]
        except client.exceptions.ExecutionDoesNotExist:
            time.sleep(_UNSEEN_SECONDS)
            continue
        return bool(json.loads(found) == json.loads(definition))
    return True


def _stop(aws: Aws, arn: str, flow: str) -> None:
    client, why = aws.client("stepfunctions"), "not the definition that was deployed"
    client.stop_execution(executionArn=arn, error="Stopped", cause=why)
    batch_jobs.end(aws, flow, arn.rpartition(":")[2], why)
