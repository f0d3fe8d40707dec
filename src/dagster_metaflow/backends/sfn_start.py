"""Starts an execution, and makes sure that it runs the definition that was deployed.

AWS changes a state machine in its own time: an execution that is started within some seconds of a
change may still run the definition before it. And somebody else may have deployed in between. So an
execution's input says which code is meant; Metaflow makes another definition of the same code each
time, and what another host has deployed of it is as good. An execution that runs other code is
stopped, and started again under the next of a few names, by which it is found also when its starter
was killed.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from dagster_metaflow.backends import batch_jobs
from dagster_metaflow.backends.aws_api import Aws
from dagster_metaflow.backends.protocol import LaunchError
from dagster_metaflow.backends.sfn_deployment import Deployed
from dagster_metaflow.backends.sfn_mark import is_made_of

LONGEST_NAME = 80
_NOT_MEANT = "not the definition that was deployed"
TRIES = 5
PAUSE_SECONDS = 3.0
_UNSEEN_LOOKS = 10
_UNSEEN_SECONDS = 0.5
_QUEUE = re.compile(r'"JobQueue":\s*"([^"]+)"')


class Found(NamedTuple):
    """An execution. told: by DescribeExecution. is_meant: it runs the definition that it should."""

    name: str
    told: Mapping[str, Any]
    is_meant: bool


def execution_arn(machine_arn: str, name: str) -> str:
    return f"{machine_arn.replace(':stateMachine:', ':execution:')}:{name}"


def started(aws: Aws, machine: Deployed, flow: str, name: str, given: str) -> str:
    """Name of the execution: the one that was asked for, unless that ran another definition.

    flow: Metaflow's name of it. given: the input. What ran another definition is stopped, and its
    jobs with it. Asked again with the same name, the same execution is found. Raises LaunchError
    when AWS goes on with another definition, and ClientError.
    """
    client, code = aws.client("stepfunctions"), _code_in(given)
    for tried in _names(name):
        # It exists already when an answer was lost on its way, and the call made again.
        with suppress(client.exceptions.ExecutionAlreadyExists):
            client.start_execution(stateMachineArn=machine.arn, name=tried, input=given)
        arn = execution_arn(machine.arn, tried)
        if _runs(aws, arn, code):
            return tried
        client.stop_execution(executionArn=arn, error="Stopped", cause=_NOT_MEANT)
        batch_jobs.end(aws, flow, tried, _NOT_MEANT, queues_of(aws, arn))
        time.sleep(PAUSE_SECONDS)
    raise LaunchError(
        f"AWS has started {TRIES} executions of {flow} with another definition than the one that "
        "was deployed, and they were stopped. Does somebody else deploy it now? Re-execute in a "
        "minute; `state_machine` gives it a name of its own."
    )


def described(aws: Aws, arn: str) -> Mapping[str, Any] | None:
    """What AWS tells of an execution; None where there is none. Raises ClientError."""
    client = aws.client("stepfunctions")
    try:
        found: dict[str, Any] = client.describe_execution(executionArn=arn)
    except client.exceptions.ExecutionDoesNotExist:
        return None
    return found


def queues_of(aws: Aws, arn: str) -> set[str] | None:
    """Those that jobs of an execution may be in; None where AWS does not tell."""
    client = aws.client("stepfunctions")
    try:
        found = client.describe_state_machine_for_execution(executionArn=arn)
    except client.exceptions.ClientError:
        return None
    return {*_QUEUE.findall(found["definition"])}


def found_again(aws: Aws, arn: str) -> Found | None:
    """The execution of a start that nobody came to note: the one that was meant, or else the last.

    arn: of the name that was asked for. None where there is none. Raises ClientError.
    """
    machine, _, name = arn.rpartition(":")
    last = None
    for tried in _names(name):
        if (told := described(aws, f"{machine}:{tried}")) is None:
            break
        last = Found(tried, told, is_meant(aws, f"{machine}:{tried}", told))
        if last.is_meant:
            break
    return last


def is_meant(aws: Aws, arn: str, told: Mapping[str, Any]) -> bool:
    """Whether an execution runs the definition that it was started for. told: of it."""
    if told.get("cause") == _NOT_MEANT:
        return False
    return _runs(aws, arn, _code_in(told["input"]))


def runs_code(aws: Aws, machine: str, name: str, code: str) -> bool:
    """Whether an execution that Metaflow's command has just started runs what was deployed with the
    mark of this code. machine, name: of both. Raises ClientError."""
    return _runs(aws, execution_arn(aws.machine_arn(machine), name), code)


def _names(name: str) -> list[str]:
    return [name, *(f"{name[: LONGEST_NAME - 2]}-{number}" for number in range(1, TRIES))]


def _code_in(given: str) -> str | None:
    """Hash of the code that an input names; one that was given by hand names none."""
    code: str | None = json.loads(given).get("CodeVersion")
    return code


def _runs(aws: Aws, arn: str, code: str | None) -> bool:
    """Whether it runs a definition of that code, as far as is known."""
    from botocore.exceptions import BotoCoreError, ClientError

    ran = _definition(aws.client("stepfunctions"), arn) if code else None
    with suppress(BotoCoreError, ClientError):  # of S3, where its commands may be
        return code is None or ran is None or is_made_of(aws, ran, code)
    return True


def _definition(client: Any, arn: str) -> str | None:
    """That an execution runs. None where AWS does not show it for long, or refuses to: it has been
    started, and only what is known to be another one is stopped."""
    from botocore.exceptions import BotoCoreError, ClientError

    for _ in range(_UNSEEN_LOOKS):
        try:
            found = client.describe_state_machine_for_execution(executionArn=arn)
        except client.exceptions.ExecutionDoesNotExist:
            time.sleep(_UNSEEN_SECONDS)
        except (BotoCoreError, ClientError):
            break
        else:
            return str(found["definition"])
    return None
