"""Going on with a run that failed: what it was, and whether it can be gone on with."""

from __future__ import annotations

from collections.abc import Mapping

from fraud_assets.launcher.client import Server, Unusable
from fraud_assets.launcher.jobs import Job
from fraud_assets.launcher.submit import PARTITION_TAG, RANGE_TAGS, Request

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
    known = {tag["key"]: tag["value"] for tag in run["tags"]}
    return Request(found, _partitions(known), tags=tags, key=key, failed=run_id)


def _partitions(tags: Mapping[str, str]) -> tuple[str, ...]:
    one = tags.get(PARTITION_TAG)
    if one is not None:
        return (one,)
    return tuple(tags[name] for name in RANGE_TAGS if name in tags)
