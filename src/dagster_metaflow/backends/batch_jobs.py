"""Jobs of one Metaflow run on AWS Batch: found by what Metaflow writes on them, and ended."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from dagster_metaflow.backends.aws_api import Aws

MOST_DESCRIBED = 100
"""Jobs that one DescribeJobs tells of."""

_UNFINISHED = ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING")
_ENDED_AT_ONCE = 16


def described(aws: Aws, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """What DescribeJobs tells of them, a hundred at a time."""
    client = aws.client("batch")
    for first in range(0, len(names), MOST_DESCRIBED):
        part = list(names[first : first + MOST_DESCRIBED])
        yield from client.describe_jobs(jobs=part)["jobs"]


def unfinished(aws: Aws, flow: str, run_id: str) -> list[str]:
    """Ids of the jobs of a run that have not ended, in whatever queue they are.

    run_id: Metaflow's; for Step Functions' runs the name of the execution, without `sfn-`.
    """
    client = aws.client("batch")
    pages = client.get_paginator("describe_job_queues").paginate()
    queues = [queue["jobQueueName"] for page in pages for queue in page["jobQueues"]]
    found = [
        job["jobId"]
        for queue in queues
        for status in _UNFINISHED
        for page in client.get_paginator("list_jobs").paginate(jobQueue=queue, jobStatus=status)
        for job in page["jobSummaryList"]
        if f"-{flow}-" in job["jobName"]
    ]
    return [job["jobId"] for job in described(aws, found) if _is_of(job, flow, run_id)]


def _is_of(job: dict[str, Any], flow: str, run_id: str) -> bool:
    told = job.get("parameters") or {}
    return told.get("metaflow.flow_name") == flow and told.get("metaflow.run_id") == run_id


def end(aws: Aws, flow: str, run_id: str, reason: str) -> int:
    """Terminates the jobs of a run that have not ended; how many there were."""
    client, names = aws.client("batch"), unfinished(aws, flow, run_id)
    with ThreadPoolExecutor(_ENDED_AT_ONCE) as pool:
        for done in [pool.submit(client.terminate_job, jobId=n, reason=reason) for n in names]:
            done.result()
    return len(names)
