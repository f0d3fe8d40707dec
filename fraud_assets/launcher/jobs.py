"""Where a job is, and which partitions it has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fraud_assets.launcher.client import Server, Unusable

_JOBS = """
query Jobs {
  workspaceOrError {
    __typename
    ... on Workspace { locationEntries { name loadStatus locationOrLoadError {
      __typename
      ... on PythonError { message }
      ... on RepositoryLocation { repositories { name jobs { name } } }
    } } }
    ... on PythonError { message }
  }
}
"""
_PARTITIONS = """
query Partitions($selector: PipelineSelector!) {
  pipelineOrError(params: $selector) {
    __typename
    ... on Pipeline { partitionKeysOrError { partitionKeys } }
    ... on Error { message }
  }
}
"""
_FEW = 4


@dataclass(frozen=True)
class Job:
    """A job of a code location."""

    name: str
    repository: str
    location: str

    @property
    def selector(self) -> dict[str, str]:
        return {
            "pipelineName": self.name,
            "repositoryName": self.repository,
            "repositoryLocationName": self.location,
        }


def find_job(server: Server, name: str, location: str | None = None) -> Job:
    """The one job of that name.

    Raises:
        Unusable: there is none, or several. The message lists what there is, and the code
            locations that could not be loaded.
    """
    jobs, broken = _all_jobs(server)
    found = [job for job in jobs if job.name == name and location in (None, job.location)]
    if len(found) == 1:
        return found[0]
    if found:
        places = ", ".join(job.location for job in found)
        raise Unusable(f"{name} is in several code locations ({places}): add --location.")
    known = sorted({job.name for job in jobs if location in (None, job.location)})
    where = f" in code location {location}" if location else ""
    listing = f"There are: {', '.join(known)}." if known else "There are no jobs at all."
    raise Unusable(" ".join([f"No job {name}{where} at {server.url}. {listing}", *broken]))


def check_partition(server: Server, job: Job, keys: Sequence[str]) -> None:
    """keys: one partition, the first and last of a range, or none.

    Raises:
        Unusable: a key is no partition of the job, or one is missing, or too many. The message
            names partitions nearby.
    """
    known = partitions(server, job)
    if not known and keys:
        raise Unusable(f"{job.name} has no partitions: leave out --partition.")
    if known and not keys:
        raise Unusable(
            f"{job.name} is partitioned: add --partition, from {known[0]} to {known[-1]}."
        )
    for key in keys:
        if key not in known:
            raise Unusable(
                f"{key} is no partition of {job.name}. Near it: {', '.join(_near(key, known))}; "
                f"there are {len(known):,}, from {known[0]} to {known[-1]}."
            )
    if len(keys) == 2 and known.index(keys[0]) > known.index(keys[1]):
        raise Unusable(f"--partition-range: {keys[0]} comes after {keys[1]}; the first goes first.")


def partitions(server: Server, job: Job) -> list[str]:
    """In their order; empty for a job without partitions."""
    answer = server.ask(_PARTITIONS, selector=job.selector)["pipelineOrError"]
    if "partitionKeysOrError" not in answer:
        raise Unusable(f"The partitions of {job.name} cannot be read: {answer.get('message')}")
    keys: list[str] = answer["partitionKeysOrError"]["partitionKeys"]
    return keys


def _near(key: str, known: Sequence[str]) -> list[str]:
    """Keys that would stand beside it."""
    place = sum(one < key for one in known)
    start = max(0, min(place - _FEW // 2, len(known) - _FEW))
    return list(known[start : start + _FEW])


def _all_jobs(server: Server) -> tuple[list[Job], list[str]]:
    """Jobs that people launch, and a sentence for each code location that has none to show."""
    workspace = server.ask(_JOBS)["workspaceOrError"]
    if workspace["__typename"] != "Workspace":
        raise Unusable(f"The webserver has no workspace: {workspace.get('message')}")
    jobs, broken = [], []
    for entry in workspace["locationEntries"] or []:
        loaded = entry["locationOrLoadError"] or {}
        if "message" in loaded:
            broken.append(
                f"Code location {entry['name']} did not load: {_last_line(loaded['message'])}"
            )
        elif entry["loadStatus"] == "LOADING":
            broken.append(f"Code location {entry['name']} is still loading: try again.")
        jobs += [
            Job(job["name"], repository["name"], entry["name"])
            for repository in loaded.get("repositories", [])
            for job in _shown(repository["jobs"])
        ]
    return jobs, broken


def _shown(jobs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without those that Dagster makes for itself."""
    return [job for job in jobs if not job["name"].startswith("__")]


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "no reason given"
