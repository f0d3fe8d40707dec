"""A build's parameters as options of the launcher."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import click

from fraud_assets.launcher.client import Server, Unusable

_JOBS = """
query Jobs {
  repositoriesOrError {
    ... on RepositoryConnection { nodes { jobs { name tags { key value } } } }
    ... on Error { message }
  }
}
"""
_SAMPLED = ("ingest_job", "fraud_pipeline_job")
_DATASET = "dataset"


def arguments_of(server: Server, given: Mapping[str, str], config: Mapping[str, Any]) -> list[str]:
    """given: JOB, DATASET, BACKEND, PARTITION, SAMPLE_SIZE. config: of the run, to which the size
    is added.

    Raises:
        Unusable: the server has no such job of that dataset.
        UsageError: a parameter is none.
    """
    job, dataset = given.get("JOB", ""), given.get("DATASET", "")
    found = job_of(server, job, dataset)
    arguments = [found]
    if backend := given.get("BACKEND", ""):
        arguments += ["--backend", backend.replace("-", "_")]
    arguments += _partition(given.get("PARTITION", "").split())
    config = dict(config)
    if size := given.get("SAMPLE_SIZE", "").strip():
        if not size.isdigit() or job not in _SAMPLED:
            raise click.UsageError(
                f"SAMPLE_SIZE is {size!r} for {job}: give a number of claims, to one of "
                f"{' and '.join(_SAMPLED)}"
            )
        config = _merged(
            config, {"ops": {f"{dataset}__ingest": {"config": {"sample_size": int(size)}}}}
        )
    return [*arguments, "--config", json.dumps(config)] if config else arguments


def job_of(server: Server, job: str, dataset: str) -> str:
    """What the server calls the job of that dataset: the first dataset's have plain names."""
    nodes = server.ask(_JOBS)["repositoriesOrError"].get("nodes", [])
    of_dataset: dict[str, str | None] = {}
    for one in (one for node in nodes for one in node["jobs"]):
        tags = {tag["key"]: tag["value"] for tag in one["tags"]}
        of_dataset[one["name"]] = tags.get(_DATASET)
    for name in (job, f"{dataset}__{job}"):
        if name in of_dataset and of_dataset[name] in (None, dataset):
            return name
    known = sorted(name for name, found in of_dataset.items() if found in (None, dataset))
    told = f"it has {', '.join(known)}" if known else "it has none of that dataset at all"
    raise Unusable(f"No job {job} of dataset {dataset} at {server.url}: {told}.")


def _partition(keys: list[str]) -> list[str]:
    if len(keys) > 2:
        raise click.UsageError("PARTITION takes one key, or the first and the last of a range")
    if len(keys) == 2:
        return ["--partition-range", *keys]
    return ["--partition", *keys] if keys else []


def _merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """other goes before one, key by key at any depth."""
    found = dict(one)
    for key, value in other.items():
        before = found.get(key)
        both = isinstance(before, Mapping) and isinstance(value, Mapping)
        found[key] = _merged(before, value) if both else value  # type: ignore[arg-type]
    return found
