"""Launching a job once, whatever happens on the way.

GraphQL lets nobody choose the id of a run, so a request has a tag of its own. Who launches looks
for the tag before and after. The oldest run that bears it is the run; younger ones, which two
launchers at once may have made, are cancelled while they still queue, where dagster.yaml holds
them: it lets no two runs with the same tag go at the same time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fraud_assets.launcher.client import RunProblem, Server, Unreachable, Unusable
from fraud_assets.launcher.jobs import Job

REQUEST_TAG = "launch/request"  # limited to one running in dagster.yaml
KEY_TAG = "launch/idempotency_key"
SETTINGS_TAG = "launch/settings"
PARTITION_TAG = "dagster/partition"
RANGE_TAGS = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
BACKEND_TAG = "dagster_metaflow/backend"
LOST_ANSWER_SECONDS = 20.0
FINISHED = ("SUCCESS", "FAILURE", "CANCELED")

_LAUNCH = """
mutation Launch($params: ExecutionParams!) {
  launchRun(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on RunConfigValidationInvalid { errors { message } }
    ... on Error { message }
  }
}
"""
_REEXECUTE = """
mutation Reexecute($params: ReexecutionParams!) {
  launchRunReexecution(reexecutionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on RunConfigValidationInvalid { errors { message } }
    ... on Error { message }
  }
}
"""
_RUNS = """
query Runs($filter: RunsFilter!) {
  runsOrError(filter: $filter) {
    ... on Runs { results { runId status parentRunId tags { key value } } }
    ... on Error { message }
  }
}
"""
_TERMINATE = """
mutation Terminate($run: String!) {
  terminateRun(runId: $run, terminatePolicy: SAFE_TERMINATE) {
    __typename
    ... on Error { message }
    ... on TerminateRunFailure { message }
  }
}
"""


@dataclass(frozen=True)
class Request:
    """What to launch. Two requests of one key, job and partitions are the same request.

    failed: a run to go on with from where it failed. Its settings are taken, and `partitions` says
    which they are. retry: Dagster's own retry of that one, which answers the request.
    """

    job: Job
    partitions: tuple[str, ...] = ()  # one, or the first and last of a range
    backend: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    key: str | None = None
    failed: str | None = None
    retry: str | None = None

    def all_tags(self) -> dict[str, str]:
        """Tags of the run. Without a key the request is of this call alone."""
        tags = dict(self.tags)
        if self.backend:
            tags[BACKEND_TAG] = self.backend
        if len(self.partitions) == 1:
            tags[PARTITION_TAG] = self.partitions[0]
        elif self.partitions:
            tags |= dict(zip(RANGE_TAGS, self.partitions, strict=True))
        settings = json.dumps([self.config, tags], sort_keys=True, default=str)
        tags[SETTINGS_TAG] = hashlib.sha256(settings.encode()).hexdigest()[:16]
        if self.key:
            tags[KEY_TAG] = self.key
            failed = [self.failed] if self.failed else []
            same = [self.job.location, self.job.name, *self.partitions, *failed, self.key]
            tags[REQUEST_TAG] = str(uuid.uuid5(uuid.NAMESPACE_OID, json.dumps(same)))
        else:
            tags[REQUEST_TAG] = str(uuid.uuid4())
        return tags


@dataclass(frozen=True)
class Launched:
    """A run that answers a request; `followed`: somebody had launched it before."""

    run_id: str
    followed: bool
    request: str  # the value of REQUEST_TAG


def launch(
    server: Server, request: Request, on_order: Callable[[], None] = lambda: None
) -> Launched:
    """The run of a request, launched unless there is one. on_order: told before it is launched.

    Raises:
        Unusable: the configuration does not fit the job, or the key stands for other settings.
        Unreachable: no answer came, and no run was found.
        RunProblem: Dagster could not make the run.
    """
    tags = request.all_tags()
    mark = tags[REQUEST_TAG]
    if request.retry:
        return Launched(request.retry, True, mark)
    before = runs_of(server, request.job, mark) if request.key else []
    if before:
        _same_settings(before[0], tags, request)
        return Launched(before[0]["runId"], True, mark)
    on_order()
    own = _send(server, request, tags)
    oldest = None
    with contextlib.suppress(Unreachable):  # whoever follows settles it again
        oldest = settle(server, request.job, mark)
    if oldest is None:
        return Launched(own, False, mark)
    _same_settings(oldest, tags, request)  # who launched at the same time may have wanted others
    return Launched(oldest["runId"], oldest["runId"] != own, mark)


def settle(server: Server, job: Job, mark: str) -> dict[str, Any] | None:
    """The oldest run of a request; younger ones that are not finished are cancelled."""
    runs = runs_of(server, job, mark)
    for younger in runs[1:]:
        if younger["status"] not in (*FINISHED, "CANCELING"):
            terminate(server, younger["runId"])
    return runs[0] if runs else None


def runs_of(server: Server, job: Job, mark: str) -> list[dict[str, Any]]:
    """Runs that launchers made for a request, oldest first; no retries and re-executions of those,
    which bear their tags."""
    wanted = {"pipelineName": job.name, "tags": [{"key": REQUEST_TAG, "value": mark}]}
    found = server.ask(_RUNS, filter=wanted)["runsOrError"]
    if "results" not in found:
        raise Unusable(f"The runs of {job.name} cannot be listed: {found.get('message')}")
    ids = {run["runId"] for run in found["results"]}
    newest_first = [run for run in found["results"] if run["parentRunId"] not in ids]
    return newest_first[::-1]


def terminate(server: Server, run_id: str, ask: Callable[..., Any] | None = None) -> str | None:
    """Asks a run to end. The reason when it cannot, as for one that has ended.

    ask: how, if not as any other question; it may be asked twice.
    """
    answer = (ask or server.ask)(_TERMINATE, run=run_id)["terminateRun"]
    if answer["__typename"] == "TerminateRunSuccess":
        return None
    return str(answer.get("message") or answer["__typename"])


def _send(server: Server, request: Request, tags: Mapping[str, str]) -> str:
    """The new run's id, also when the connection drops between the order and its answer."""
    try:
        answer = _order(server, request, [{"key": k, "value": v} for k, v in tags.items()])
    except Unreachable as lost:
        run_id = _look_for(server, request.job, tags[REQUEST_TAG])
        if run_id is None:
            raise Unreachable(
                f"{lost.message} {request.job.name} may have been launched nevertheless: look for "
                f"a run with the tag {REQUEST_TAG}={tags[REQUEST_TAG]} when it is back."
            ) from None
        return run_id
    kind = answer["__typename"]
    if kind == "LaunchRunSuccess":
        return str(answer["run"]["runId"])
    if kind == "RunConfigValidationInvalid":
        told = "; ".join(error["message"] for error in answer["errors"])
        raise Unusable(f"--config does not fit {request.job.name}: {told}")
    if kind in ("PipelineNotFoundError", "InvalidSubsetError"):
        raise Unusable(f"{request.job.name} cannot be launched: {answer['message']}")
    raise RunProblem(f"Dagster could not launch {request.job.name}: {_short(answer, kind)}")


def _order(server: Server, request: Request, tags: list[dict[str, str]]) -> Any:
    if request.failed:
        strategy = {"parentRunId": request.failed, "strategy": "FROM_FAILURE", "extraTags": tags}
        return server.order(_REEXECUTE, params=strategy)["launchRunReexecution"]
    params = {
        "selector": request.job.selector,
        "runConfigData": request.config,
        "executionMetadata": {"tags": tags},
    }
    return server.order(_LAUNCH, params=params)["launchRun"]


def _look_for(server: Server, job: Job, mark: str) -> str | None:
    """A run that a lost order made, which may take the server a moment."""
    deadline = time.monotonic() + LOST_ANSWER_SECONDS
    with server.patience(lambda: time.monotonic() > deadline):
        while True:
            with contextlib.suppress(Unreachable):
                if runs := runs_of(server, job, mark):
                    return str(runs[0]["runId"])
            if time.monotonic() > deadline:
                return None
            time.sleep(0.5)


def _same_settings(run: Mapping[str, Any], tags: Mapping[str, str], request: Request) -> None:
    theirs = {tag["key"]: tag["value"] for tag in run["tags"]}.get(SETTINGS_TAG)
    if theirs != tags[SETTINGS_TAG]:
        raise Unusable(
            f"--idempotency-key {request.key} has launched run {run['runId']} of "
            f"{request.job.name}, with other configuration, tags or backend. Give another key "
            "for another run."
        )


def _short(answer: Mapping[str, Any], kind: str) -> str:
    return str(answer.get("message") or kind).strip().splitlines()[-1]
