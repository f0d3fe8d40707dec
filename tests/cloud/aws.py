"""An AWS on loopback for tests: started on a free port, gone with the `with`.

    with local_aws(folder) as aws:
        subprocess.run(["python", "flow.py", "run", "--with", "batch"], env=aws.environment)

Batch jobs are processes in empty folders, of an interpreter in which this project is not installed.
"""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import psutil
from aws_image import image_variables
from interpreters import with_packages_of_tests

SERVER = Path(__file__).with_name("aws_server.py")
BUCKET = "local-bucket"
QUEUE = "local-queue"
TABLE = "local-foreach"
KEY = "AKIDCLIENT"
SECRET = "a-secret-of-the-client"  # noqa: S105 - of nothing but this server
_ROLE = "arn:aws:iam::123456789012:role/local"
_STOP_SECONDS = 20
_STATUSES = ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED", "FAILED")


@dataclass(frozen=True)
class LocalAws:
    """url: of every service. image: the interpreter of Batch jobs."""

    url: str
    image: Path

    @property
    def environment(self) -> dict[str, str]:
        """What a user's shell has after `metaflow configure aws`, and nothing secret beside."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "METAFLOW_DEFAULT_DATASTORE": "s3",
            "METAFLOW_DATASTORE_SYSROOT_S3": f"s3://{BUCKET}/metaflow",
            "METAFLOW_S3_ENDPOINT_URL": self.url,
            "METAFLOW_BATCH_JOB_QUEUE": QUEUE,
            "METAFLOW_BATCH_CONTAINER_IMAGE": "fraud-mlops:local",
            "METAFLOW_ECS_S3_ACCESS_IAM_ROLE": _ROLE,
            "METAFLOW_SFN_IAM_ROLE": _ROLE,
            "METAFLOW_EVENTS_SFN_ACCESS_IAM_ROLE": _ROLE,
            "METAFLOW_SFN_DYNAMO_DB_TABLE": TABLE,
            "SHARED_FOLDERS": "/",  # jobs run on this machine
        }

    def client(self, service: str) -> Any:
        import boto3

        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id="AKIDTEST",
            aws_secret_access_key="x",  # noqa: S106 - of nothing but this server
        )

    # -- strings to pull -----------------------------------------------------------------------

    def fail(
        self, service: str, operation: str, code: str, *, status: int = 400, times: int = 1,
        key: str | None = None,
    ) -> None:  # fmt: skip
        """The next calls fail; key: only those that are signed with this access key."""
        fault = {"service": service, "operation": operation, "code": code, "status": status}
        self._ask("faults", {**fault, "times": times, "key": key})

    def mend(self) -> None:
        """No call fails any more."""
        self._ask("faults", {})

    def failed(self) -> Mapping[str, int]:
        """How often a call failed as told since `mend`, by its path."""
        return self._ask("played", {})

    def code_packages(self) -> set[str]:
        """That jobs which have ended well were told to download, as paths."""
        batch = self.client("batch")
        ids = [job["jobId"] for job in self.jobs("SUCCEEDED")]
        told = [
            variable["value"]
            for first in range(0, len(ids), 100)
            for job in batch.describe_jobs(jobs=ids[first : first + 100])["jobs"]
            for variable in job["container"]["environment"]
            if variable["name"] == "METAFLOW_CODE_URL"
        ]
        return {f"/{url.removeprefix('s3://')}" for url in told}

    def calls(self, key: str | None = None) -> Mapping[str, int]:
        """How often each operation was called since `forget_calls`: `batch:DescribeJobs`.

        key: calls that are signed with this access key only.
        """
        found: Counter[str] = Counter()
        for name, count in self._ask("calls", {}).items():
            signer, _, operation = name.partition(" ")
            if key in (None, signer):
                found[operation] += count
        return found

    def forget_calls(self) -> None:
        self._ask("calls", {"forget": True})

    def age(self, execution: str, days: float) -> None:
        """An execution that has ended has ended so many days ago."""
        self._ask("age", {"arn": execution, "days": days})

    def start_stale(self, times: int) -> None:
        """The next executions run what their machine was before its last change, as AWS does for
        some seconds."""
        self._ask("stale", {"times": times})

    def look_late(self, times: int) -> None:
        """The next looks at the machine that is changed next show what it was before."""
        self._ask("late", {"times": times})

    def _ask(self, what: str, given: Mapping[str, Any]) -> dict[str, int]:
        request = Request(f"{self.url}/_local/{what}", json.dumps(given).encode())  # noqa: S310
        with urlopen(request, timeout=10) as answer:  # noqa: S310 - our own server
            found: dict[str, int] = json.loads(answer.read())
        return found

    # -- what there is -------------------------------------------------------------------------

    def jobs(self, status: str = "RUNNING") -> list[dict[str, Any]]:
        found = self.client("batch").list_jobs(jobQueue=QUEUE, jobStatus=status)
        summaries: list[dict[str, Any]] = found["jobSummaryList"]
        return summaries

    def everything(self) -> Iterator[tuple[str, bytes]]:
        """All that could hold a secret, and where: definitions, jobs with their variables,
        objects unpacked, logs."""
        states, batch, logs = (self.client(name) for name in ("stepfunctions", "batch", "logs"))
        for machine in states.list_state_machines()["stateMachines"]:
            arn = machine["stateMachineArn"]
            found = states.describe_state_machine(stateMachineArn=arn)
            yield f"state machine {machine['name']}", found["definition"].encode()
            for one in states.list_executions(stateMachineArn=arn)["executions"]:
                with suppress(states.exceptions.ExecutionDoesNotExist):  # AWS keeps it no more
                    told = states.describe_execution(executionArn=one["executionArn"])
                    yield f"execution {one['name']}", told["input"].encode()
        for definition in batch.describe_job_definitions()["jobDefinitions"]:
            yield "a job definition", json.dumps(definition, default=str).encode()
        ids = [job["jobId"] for status in _STATUSES for job in self.jobs(status)]
        for first in range(0, len(ids), 100):
            for job in batch.describe_jobs(jobs=ids[first : first + 100])["jobs"]:
                yield f"job {job['jobName']}", json.dumps(job, default=str).encode()
        for key, data in self.objects().items():
            yield key, gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
        pages = logs.get_paginator("filter_log_events").paginate(logGroupName="/aws/batch/job")
        for page in pages:
            yield "a log", "\n".join(event["message"] for event in page["events"]).encode()

    def objects(self, prefix: str = "") -> dict[str, bytes]:
        """Contents of the bucket by key."""
        s3 = self.client("s3")
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
        return {key: s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() for key in keys}


@contextmanager
def local_aws(
    folder: Path, *, image: Path | None = None, at_once: int = 2, pace: float = 0.02
) -> Iterator[LocalAws]:
    """folder: of the caller; jobs run below it. image: the interpreter of jobs, one with all
    packages of the tests when left out. at_once: jobs at one time. pace: seconds that a state
    machine waits here for one of its retries'."""
    image = image or with_packages_of_tests(folder / "image")
    settings = {
        "folder": str(folder / "jobs"),
        "environment": _job_environment(image),
        "at_once": at_once,
        "pace": pace,
    }
    with (folder / "aws_server.log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, str(SERVER), json.dumps(settings)],
            env={**os.environ, "AWS_ACCESS_KEY_ID": "AKIDSERVER", "AWS_SECRET_ACCESS_KEY": "x"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    assert server.stdin is not None
    assert server.stdout is not None
    try:
        port = server.stdout.readline().strip()
        assert port, (folder / "aws_server.log").read_text()
        aws = LocalAws(f"http://127.0.0.1:{port}", image)
        _furnish(aws)
        yield aws
    finally:
        server.stdin.close()
        try:
            server.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            for process in psutil.Process(server.pid).children(recursive=True):
                process.kill()
            server.kill()
            server.wait()
        server.stdout.close()


def _furnish(aws: LocalAws) -> None:
    """What infra/aws makes in an account."""
    aws.client("s3").create_bucket(Bucket=BUCKET)
    aws.client("dynamodb").create_table(
        TableName=TABLE,
        KeySchema=[{"AttributeName": "pathspec", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pathspec", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )


def _job_environment(image: Path) -> dict[str, str]:
    return {
        "PATH": f"{image.parent}:/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "AWS_ACCESS_KEY_ID": "AKIDJOB",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        **image_variables(),
        "METAFLOW_S3_WORKER_COUNT": "2",  # processes, of which each copy makes so many
        # Metaflow asks an instance's metadata, which is not there: refused at once, not in time.
        "HTTP_PROXY": "http://127.0.0.1:9",
        "NO_PROXY": "127.0.0.1,localhost",
    }
