"""The toy in a deployment: webserver, daemon, code server and run workers, as operators run it."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
from toy_kit import HERE, Toy, wait_for

sys.path.insert(0, str(HERE.parents[1] / "benchmarks"))

import dagster_servers

LOCATION = HERE / "toy_defs.py"
LEFT_BY_A_TEST = ("count", "published", "anew", "deaf", "daemon", "hold_*", "held_*", "fail_*")
SETTINGS: Mapping[str, Any] = {
    # A dead worker is noticed sooner than in production; nothing else differs from dagster.yaml.
    "run_monitoring": {"enabled": True, "poll_interval_seconds": 1, "cancel_timeout_seconds": 60},
}
_ENDED = ("SUCCESS", "FAILURE", "CANCELED")
_DONE = (
    "LaunchRunSuccess",
    "LaunchBackfillSuccess",
    "TerminateRunSuccess",
    "WorkspaceLocationEntry",
)
_REPOSITORY = {"repositoryName": "__repository__", "repositoryLocationName": LOCATION.name}


class Served(Toy):
    """A toy whose assets are materialized by asking the webserver."""

    def __init__(self, folder: Path, servers: dagster_servers.Servers) -> None:
        super().__init__(folder)
        self.servers = servers

    @property
    def home(self) -> Path:
        return self.servers.home

    @cached_property
    def history(self) -> dg.DagsterInstance:
        return dg.DagsterInstance.from_config(str(self.home))

    def clear(self) -> None:
        """As if nothing had ever been launched; the deployment goes on."""
        self.stop_all()
        for pattern in LEFT_BY_A_TEST:
            for path in self.folder.glob(pattern):
                path.unlink()
        shutil.rmtree(self.lake, ignore_errors=True)
        shutil.rmtree(self.folder / ".metaflow", ignore_errors=True)
        for name in ("first", "second", "summary", "monthly/first", "monthly/second"):
            self.history.wipe_assets([dg.AssetKey(name.split("/"))])

    # -- what an operator does -----------------------------------------------------------------

    def launch(
        self, job: str = "toy_job", *, config: Any = None, tags: Mapping[str, str] | None = None
    ) -> str:
        """Its run id. config: of the job's run."""
        given = [{"key": key, "value": value} for key, value in (tags or {}).items()]
        params = {
            "selector": {"pipelineName": job, **_REPOSITORY},
            "runConfigData": config or {},
            "executionMetadata": {"tags": given},
        }
        return str(self._mutate(_LAUNCH, params=params)["run"]["runId"])

    def retry(self, run: str) -> str:
        """Re-execute from failure; the id of the new run."""
        params = {"parentRunId": run, "strategy": "FROM_FAILURE"}
        return str(self._mutate(_REEXECUTE, params=params)["run"]["runId"])

    def terminate(self, run: str) -> None:
        self._mutate(_TERMINATE, run=run)

    def backfill(self, *partitions: str) -> str:
        keys = [{"path": ["monthly", name]} for name in ("first", "second")]
        params = {"assetSelection": keys, "partitionNames": list(partitions)}
        return str(self._mutate(_BACKFILL, params=params)["backfillId"])

    @contextmanager
    def without_daemon(self, *, alone: bool) -> Iterator[None]:
        """It is killed, alone or with its code server and workers; and started at the end."""
        daemon = self.servers.processes["dagster-daemon"]
        os.kill(daemon.pid if alone else -daemon.pid, signal.SIGKILL)
        daemon.wait()
        try:
            yield
        finally:
            with suppress(ProcessLookupError):
                os.killpg(daemon.pid, signal.SIGKILL)
            self.servers.restart("dagster-daemon")

    def reload(self) -> None:
        self._mutate(_RELOAD, location=LOCATION.name)

    def _mutate(self, text: str, **variables: Any) -> Any:
        [answer] = self.servers.query(text, **variables).values()
        assert answer["__typename"] in _DONE, answer
        return answer

    # -- what an operator sees -----------------------------------------------------------------

    def run(self, run: str) -> dg.DagsterRun:
        found = self.history.get_run_by_id(run)
        assert found is not None
        return found

    def wait_end(self, run: str, seconds: float = 60.0) -> str:
        """Status with which it ended."""
        wait_for(lambda: self.run(run).is_finished, f"the end of run {run}", seconds)
        return self.run(run).status.value

    def wait_first_end(self, *runs: str) -> str:
        """The run that ends first."""
        ended = wait_for(
            lambda: [run for run in runs if self.run(run).is_finished], "the end of one", 60.0
        )
        return ended[0]

    def wait_retry(self, run: str) -> str:
        """The run by which the daemon retries another."""
        found = wait_for(
            lambda: self.history.get_runs(dg.RunsFilter(tags={"dagster/parent_run_id": run})),
            f"the daemon to retry {run}",
        )
        return found[0].run_id

    def wait_backfill(self, backfill: str) -> list[str]:
        """The runs that the daemon makes of it."""
        wanted = dg.RunsFilter(tags={"dagster/backfill": backfill})
        found = wait_for(lambda: self.history.get_runs(wanted), "the backfill's runs")
        return [run.run_id for run in found]

    def worker(self, run: str) -> psutil.Process:
        """The process in which the op runs."""
        for entry in self.history.all_logs(run, of_type=dg.DagsterEventType.ENGINE_EVENT):
            data: Any = entry.dagster_event.event_specific_data if entry.dagster_event else None
            if data and "pid" in data.metadata:
                return psutil.Process(int(data.metadata["pid"].value))
        raise LookupError(f"run {run} has not said its process")

    def worker_lives(self, run: str) -> bool:
        try:
            return bool(self.worker(run).status() != psutil.STATUS_ZOMBIE)
        except psutil.NoSuchProcess:
            return False

    def wait_log(self, run: str, words: str) -> None:
        """Until the run's page says so."""
        said = self.history.all_logs
        wait_for(lambda: any(words in entry.message for entry in said(run)), repr(words))

    def message(self, run: str) -> str:
        """Why the step of a run failed, as the run's page shows it."""
        for entry in self.history.all_logs(run, of_type=dg.DagsterEventType.STEP_FAILURE):
            error = entry.dagster_event.step_failure_data.error if entry.dagster_event else None
            if error:
                return error.cause.message if error.cause else error.message
        raise LookupError(f"no step of run {run} failed")

    def staleness(self, asset: str) -> tuple[str, list[str]]:
        """Status, and the reasons."""
        answer = self.servers.query(_STALE, key={"path": [asset]})["assetNodeOrError"]
        return answer["staleStatus"], [cause["reason"] for cause in answer["staleCauses"]]

    def wait_gone(self, seconds: float = 10.0) -> float:
        """Seconds until no process of the toy's launches was left."""
        began = time.monotonic()
        wait_for(lambda: not self.processes(), "the last process to go", seconds)
        return time.monotonic() - began


@contextmanager
def serve(folder: Path) -> Iterator[Served]:
    """Servers over a copy of the flow, which a test may change."""
    play = folder / "play"
    shutil.copytree(HERE / "toy", play / "flows", ignore=shutil.ignore_patterns("__pycache__"))
    environment = {
        "TOY_FOLDER": str(play),
        "TOY_FLOW": str(play / "flows" / "toy_flow.py"),
        "XDG_CACHE_HOME": str(folder / "cache"),
    }
    with dagster_servers.dagster(
        folder / "home", LOCATION, environment=environment, settings=SETTINGS
    ) as servers:
        served = Served(play, servers)
        try:
            yield served
        finally:
            served.stop_all()


_LAUNCH = """
mutation($params: ExecutionParams!) { launchRun(executionParams: $params) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on Error { message }
  ... on RunConfigValidationInvalid { errors { message } } } }
"""
_REEXECUTE = """
mutation($params: ReexecutionParams!) { launchRunReexecution(reexecutionParams: $params) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on Error { message }
  ... on RunConfigValidationInvalid { errors { message } } } }
"""
_TERMINATE = """
mutation($run: String!) { terminateRun(runId: $run) { __typename ... on Error { message } } }
"""
_BACKFILL = """
mutation($params: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $params) {
  __typename ... on LaunchBackfillSuccess { backfillId } ... on Error { message } } }
"""
_RELOAD = """
mutation($location: String!) { reloadRepositoryLocation(repositoryLocationName: $location) {
  __typename ... on Error { message } } }
"""
_STALE = """
query($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) {
  __typename ... on AssetNode { staleStatus staleCauses { reason } } } }
"""
