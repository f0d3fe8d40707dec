"""Dagster's own run launcher, with an eye on its workers.

A worker that is killed is noticed by the code server that started it. When both go at once, as
when a machine restarts, nobody is left to tell: the run would be "started" for ever, and hold its
place in the queue, its pool and its partition. Here the daemon looks whether the process is there;
of a code server elsewhere, such as in another container, it asks whether that knows the run.
"""

from __future__ import annotations

import json
from typing import Any

import psutil
from dagster import DagsterEventType, DagsterRun, DefaultRunLauncher
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.launcher import CheckRunHealthResult, WorkerStatus
from dagster._grpc.client import DagsterGrpcClient
from dagster._grpc.types import CanCancelExecutionRequest, CanCancelExecutionResult
from dagster._serdes import deserialize_value

SERVER_TAG = ".dagster/grpc_info"
CLOCK_SECONDS = 2.0
ASK_SECONDS = 10


class WatchedRunLauncher(DefaultRunLauncher):
    """Named by dagster.yaml; run monitoring asks it about each run that goes on."""

    @property
    def supports_check_run_worker_health(self) -> bool:
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """NOT_FOUND for a worker that is gone; a server that does not answer may be back soon."""
        if _is_here(run):
            started = self._started(run)
            is_gone = started is not None and not _lives(*started)
        else:
            is_gone = self._is_forgotten(run)
        if is_gone:
            return CheckRunHealthResult(WorkerStatus.NOT_FOUND, "The worker's process is gone.")
        return CheckRunHealthResult(WorkerStatus.RUNNING)

    def _is_forgotten(self, run: DagsterRun) -> bool:
        """Its code server was started after the run was, and so has no worker of it."""
        client: DagsterGrpcClient | None
        client = self._get_grpc_client_for_termination(run.run_id)  # type: ignore[no-untyped-call]
        if client is None:
            return False
        try:
            answer = client.can_cancel_execution(
                CanCancelExecutionRequest(run_id=run.run_id), timeout=ASK_SECONDS
            )
        except DagsterUserCodeUnreachableError:
            return False
        return not deserialize_value(answer, CanCancelExecutionResult).can_cancel

    def _started(self, run: DagsterRun) -> tuple[int, float] | None:
        """The worker's process id, and the time, in s since 1970, that it said so."""
        logs = self._instance.all_logs(run.run_id, of_type=DagsterEventType.ENGINE_EVENT)
        for entry in logs:
            data: Any = entry.dagster_event.event_specific_data if entry.dagster_event else None
            pid = data.metadata.get("pid") if data else None
            if pid is not None:
                return int(pid.value), entry.timestamp
        return None


def _is_here(run: DagsterRun) -> bool:
    """Its code server, and so its worker, is of this machine."""
    server = json.loads(run.tags.get(SERVER_TAG, "{}"))
    return "socket" in server or server.get("host") in ("localhost", "127.0.0.1")


def _lives(pid: int, said: float) -> bool:
    """Ids are used again: who came later is somebody else."""
    try:
        process = psutil.Process(pid)
        is_older = process.create_time() <= said + CLOCK_SECONDS
        return bool(is_older and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
