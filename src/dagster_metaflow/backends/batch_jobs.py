"""Jobs of one Metaflow run on AWS Batch: found by what Metaflow writes on them, and ended."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from dagster_metaflow.backends.aws_api import Aws
from dagster_metaflow.backends.protocol import LaunchError

MOST_DESCRIBED = 100
"""Jobs that one DescribeJobs tells of."""

_UNFINISHED = ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING")
_ENDED_AT_ONCE = 16
_END_SECONDS = 180.0
_LOOK_SECONDS = 1.0


def described(aws: Aws, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """What DescribeJobs tells of them, a hundred at a time."""
    client = aws.client("batch")
    for first in range(0, len(names), MOST_DESCRIBED):
        part = list(names[first : first + MOST_DESCRIBED])
        yield from client.describe_jobs(jobs=part)["jobs"]


def unfinished(aws: Aws, flow: str, run_id: str, queues: Iterable[str] | None = None) -> list[str]:
    """Ids of the jobs of a run that have not ended.

    run_id: Metaflow's; for Step Functions' runs the name of the execution, without `sfn-`. queues:
    that they may be in, by name or address; None for all of the account, which may be many.
    """
    client = aws.client("batch")
    found = [
        job["jobId"]
        for queue in (_all_queues(aws) if queues is None else _names(queues))
        for status in _UNFINISHED
        for page in client.get_paginator("list_jobs").paginate(jobQueue=queue, jobStatus=status)
        for job in page["jobSummaryList"]
        if f"-{flow}-" in job["jobName"]
    ]
    return [job["jobId"] for job in described(aws, found) if _is_of(job, flow, run_id)]


def queues_in(aws: Aws, jobs: Iterable[str]) -> set[str]:
    """Those of jobs that AWS still knows."""
    return {job["jobQueue"] for job in described(aws, list(jobs))}


def existing(aws: Aws, queues: Iterable[str]) -> set[str]:
    """Those that are there: a run may have failed for a queue that is not."""
    if not (asked := sorted(queues)):
        return set()
    found = aws.client("batch").describe_job_queues(jobQueues=asked)["jobQueues"]
    return {queue["jobQueueName"] for queue in found}


def _all_queues(aws: Aws) -> list[str]:
    pages = aws.client("batch").get_paginator("describe_job_queues").paginate()
    return [queue["jobQueueName"] for page in pages for queue in page["jobQueues"]]


def _names(queues: Iterable[str]) -> list[str]:
    return sorted({queue.rpartition("/")[2] for queue in queues})


def _is_of(job: dict[str, Any], flow: str, run_id: str) -> bool:
    told = job.get("parameters") or {}
    return told.get("metaflow.flow_name") == flow and told.get("metaflow.run_id") == run_id


def end(aws: Aws, flow: str, run_id: str, reason: str, queues: Iterable[str] | None) -> list[str]:
    """Terminates the jobs of a run that have not ended, and names them."""
    client, names = aws.client("batch"), unfinished(aws, flow, run_id, queues)
    with ThreadPoolExecutor(_ENDED_AT_ONCE) as pool:
        for done in [pool.submit(client.terminate_job, jobId=n, reason=reason) for n in names]:
            done.result()
    return names


def end_for_good(
    aws: Aws, flow: str, run_id: str, reason: str, queues: Iterable[str] | None
) -> None:
    """Comes back when none of them does anything any more: a task has half a minute to end in.

    Raises LaunchError where that takes too long.
    """
    deadline = time.monotonic() + _END_SECONDS
    left = end(aws, flow, run_id, reason, queues)
    while left := [job["jobId"] for job in described(aws, left) if job["status"] in _UNFINISHED]:
        if time.monotonic() > deadline:
            raise LaunchError(
                f"{len(left)} jobs of the run go on though they were told to end ({left[0]}). "
                "Re-execute when AWS Batch shows them as failed."
            )
        time.sleep(_LOOK_SECONDS)
