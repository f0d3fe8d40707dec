"""Going on with a run that failed: what it was, and whether it can be gone on with."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from fraud_assets.launcher.client import Server, Unusable
from fraud_assets.launcher.jobs import Job
from fraud_assets.launcher.submit import PARTITION_TAG, RANGE_TAGS, Request

RETRY_SECONDS = 60.0  # until the daemon has launched the retry that it announced

_RUN = """
query Failed($run: ID!) {
  runOrError(runId: $run) {
    __typename
    ... on Run {
      jobName status
      repositoryOrigin { repositoryName repositoryLocationName }
      tags { key value }
    }
    ... on Error { message }
  }
}
"""


def find_failed(
    server: Server, run_id: str, job: str | None, tags: Mapping[str, str], key: str | None
) -> Request:
    """The request to go on with a run from where it failed. job: whose run it should be, if said.

    A run that Dagster retries by itself is not retried beside that: the retry is followed, and gone
    on with when it has failed too.

    Raises:
        Unusable: there is no such run, it is another job's, or it has not failed.
    """
    run = server.ask(_RUN, run=run_id)["runOrError"]
    if run["__typename"] != "Run":
        raise Unusable(
            f"There is no run {run_id} at {server.url}: --from-failure takes the whole id, as the "
            "launcher prints it and the run's page has it in its address."
        )
    name, status = run["jobName"], run["status"]
    if job not in (None, name):
        raise Unusable(f"Run {run_id} is one of {name}, not of {job}: leave {job} out.")
    if status not in ("FAILURE", "CANCELED"):
        raise Unusable(
            f"Run {run_id} of {name} is {status}; only a run that failed or was cancelled can be "
            "gone on with."
        )
    origin = run["repositoryOrigin"]
    if origin is None:
        raise Unusable(f"Run {run_id} of {name} was not launched from a code location.")
    found = Job(name, origin["repositoryName"], origin["repositoryLocationName"])
    parts = _partitions(_tags(run))
    last, run = _last_retry(server, run_id, run)
    retry = last if last != run_id and run["status"] not in ("FAILURE", "CANCELED") else None
    failed = run_id if retry else last
    return Request(found, parts, tags=tags, key=key, failed=failed, retry=retry)


def _last_retry(server: Server, run_id: str, run: Any) -> tuple[str, Any]:
    """The run itself, or the last of Dagster's own retries of it: id and what there is of it."""
    while (retry := _retry_of(server, run_id, run)) is not None:
        found = server.ask(_RUN, run=retry)["runOrError"]
        if found["__typename"] != "Run":  # deleted
            break
        run_id, run = retry, found
    return run_id, run


def _retry_of(server: Server, run_id: str, run: Any) -> str | None:
    """None without one, also where one was announced that no daemon has made for a minute."""
    deadline = time.monotonic() + RETRY_SECONDS
    while True:
        tags = _tags(run)
        if (retry := tags.get("dagster/auto_retry_run_id")) is not None:
            return retry
        announced = run["status"] == "FAILURE" and tags.get("dagster/will_retry") == "true"
        if not announced or time.monotonic() > deadline:
            return None
        server.pause(1.0)
        run = server.ask(_RUN, run=run_id)["runOrError"]
        if run["__typename"] != "Run":
            return None


def _tags(run: Any) -> dict[str, str]:
    return {tag["key"]: tag["value"] for tag in run["tags"]}


def _partitions(tags: Mapping[str, str]) -> tuple[str, ...]:
    one = tags.get(PARTITION_TAG)
    if one is not None:
        return (one,)
    return tuple(tags[name] for name in RANGE_TAGS if name in tags)
