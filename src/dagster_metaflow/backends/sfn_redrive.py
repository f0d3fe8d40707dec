"""Lets AWS go on with an execution that failed, in the same run.

A `foreach` is made ready for that. Each of its last tasks notes its id in a set in DynamoDB, which
the join reads. One that an execution has given up, as when another iteration failed, may still come
to do so, and is repeated under another id: the join would have an input too many, at every redrive.
So ids that the history does not know as ended well are taken out of the set before.
"""

from __future__ import annotations

from dagster_metaflow.backends import batch_jobs
from dagster_metaflow.backends.aws_api import Aws, code_of
from dagster_metaflow.backends.sfn_history import History
from dagster_metaflow.backends.sfn_start import queues_of

_PAGE = 1000
_IDS = "parent_task_ids_for_foreach_join"  # Metaflow's name of the set
_NOT_REDRIVEN = (
    "ExecutionNotRedrivable", "ExecutionDoesNotExist", "StateMachineDeleting",
    "StateMachineDoesNotExist", "ValidationException",
)  # fmt: skip


def history_of(aws: Aws, arn: str) -> History:
    """The whole history of an execution. Raises ClientError."""
    found = History()
    pages = aws.client("stepfunctions").get_paginator("get_execution_history")
    for page in pages.paginate(executionArn=arn, PaginationConfig={"PageSize": _PAGE}):
        found.take(page["events"])
    return found


def redriven(aws: Aws, arn: str, flow: str, history: History) -> str | None:
    """Why it is not. history: of the execution. Raises ClientError, and LaunchError for jobs that
    do not end."""
    if history.open_map_runs:
        return "what its distributed Map has finished cannot be told from what it has not"
    # What the failure left running would go on beside its own repetition.
    batch_jobs.end_for_good(aws, flow, arn.rpartition(":")[2], "redriven", queues_of(aws, arn))
    _forget_what_is_repeated(aws, history)
    client = aws.client("stepfunctions")
    try:
        client.redrive_execution(executionArn=arn)
    except client.exceptions.ClientError as error:
        if code_of(error) not in _NOT_REDRIVEN:
            raise
        words = error.response["Error"]["Message"].rstrip(".")
        return f"AWS does not redrive it ({words})"
    return None


def _forget_what_is_repeated(aws: Aws, history: History) -> None:
    kept = {task.job for task in history.tasks.values() if task.left}
    for split, table in history.splits.items():
        client, key = aws.client("dynamodb"), {"pathspec": {"S": split}}
        told = client.get_item(
            TableName=table, Key=key, ConsistentRead=True, ProjectionExpression=_IDS
        )
        noted = told.get("Item", {}).get(_IDS, {}).get("SS", [])
        if repeated := sorted({*noted} - kept):
            client.update_item(
                TableName=table,
                Key=key,
                UpdateExpression=f"DELETE {_IDS} :repeated",
                ExpressionAttributeValues={":repeated": {"SS": repeated}},
            )
