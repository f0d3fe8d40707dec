"""What a script does with a run on Databricks: start it, follow it, repair it, look into it."""

from __future__ import annotations

import secrets
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dagster_metaflow.backends import databricks_settings as settings
from dagster_metaflow.backends.databricks import DatabricksBackend
from dagster_metaflow.backends.databricks_api import said
from dagster_metaflow.backends.databricks_bundle import job_settings, put_job
from dagster_metaflow.backends.databricks_driver import OWN_NUMBER
from dagster_metaflow.backends.databricks_looking import inspection, opened, watch
from dagster_metaflow.backends.protocol import LaunchError, LaunchRequest

INTERRUPTED = 130


def parameters_of(words: Sequence[str]) -> dict[str, str]:
    """`--option value` and `--option=value` by option. Raises LaunchError for anything else."""
    found, rest = dict[str, str](), list(words)
    while rest:
        word = rest.pop(0)
        name, given, value = word.removeprefix("--").partition("=")
        if not word.startswith("--") or not name or not (given or rest):
            raise LaunchError(f"{word}: parameters of the flow are --option VALUE")
        found[name] = value if given else rest.pop(0)
    return found


@dataclass(frozen=True)
class Job:
    """root: of this machine's checkout. folder: for this call's files. requirements: files in the
    repository. wait: follow the run to its end."""

    root: Path
    folder: Path
    requirements: Sequence[str]
    wait: bool = True

    def submit(
        self, flow: str, parameters: Mapping[str, str], store: str, *, max_workers: int | None
    ) -> int:
        """A one-time run."""
        file = self.root / flow
        backend = self._backend(max_workers=max_workers)
        request = LaunchRequest(
            launch_id=f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(2)}",
            flow_file=file,
            flow_name=file.stem,
            parameters=parameters,
            tags=(),
            folder=self.folder / "run",
            ledger_root=store,
        )
        handle = backend.launch(request, backend.prepare(request))
        return self._followed(backend, handle)

    def existing(
        self,
        file: Path,
        key: str,
        target: str,
        variables: Mapping[str, str],
        parameters: Sequence[str],
    ) -> int:
        """A run of a job, which is made or brought up to date first. variables: of the bundle, with
        `lakehouse_uri` among them."""
        backend = self._backend()
        store = variables.get("lakehouse_uri", "")
        given = settings.read(backend.model_dump(), backend.environment, store)
        found = settings.with_commit(given)

        def lines(path: str) -> Sequence[str]:
            return settings.requirements(self.root, found.source, [path])

        made = job_settings(
            file, key, target, variables=variables, git_source=found.source.as_dict(),
            requirements=lines,
        )  # fmt: skip
        workspace = backend.workspace()
        with said(f"to make the job {made['name']}"):
            number, done = put_job(workspace, made)
        print(f"job {number} {made['name']}: {done}", flush=True)
        print(f"code: {found.source.words()}", flush=True)
        own = made["tasks"][0]["spark_python_task"]["parameters"]
        with said("to start the job"):
            run = workspace.client.jobs.run_now(
                number,
                idempotency_token=secrets.token_hex(16),
                python_params=_with(own, parameters_of(parameters)) if parameters else None,
            ).bind()["run_id"]
        return self._followed(backend, self._handle(backend, int(run)))

    def repair(self, run: int) -> int:
        """Goes on with a run that failed."""
        backend = self._backend()
        handle = self._handle(backend, run, after=True)
        with said(f"to repair run {run}"):
            backend.workspace().repair(run)
        return self._followed(backend, handle)

    def inspect(self, run: int) -> int:
        with said(f"to tell of run {run}"):
            print(inspection(self._backend().workspace(), run))
        return 0

    # -- how it does it ------------------------------------------------------------------------

    def _backend(self, **given: Any) -> DatabricksBackend:
        return DatabricksBackend(
            repository=str(self.root), requirements=list(self.requirements), **given
        )

    def _handle(
        self, backend: DatabricksBackend, run: int, *, after: bool = False
    ) -> dict[str, Any]:
        with said(f"to tell of run {run}"):
            return opened(backend.workspace(), run, self.folder / "run", after=after)

    def _followed(self, backend: DatabricksBackend, handle: Mapping[str, Any]) -> int:
        print(f"run {handle['run']}: {backend.links(handle).get('databricks_run', '')}", flush=True)
        if not self.wait:
            print(f"look into it with --inspect-run-id {handle['run']}")
            return 0
        try:
            ended = watch(backend, handle)
        except KeyboardInterrupt:
            return _uninterrupted(lambda: _cancelled(backend, handle))
        if ended:
            told = f"--inspect-run-id {handle['run']} tells more; --repair {handle['run']} goes on"
            print(told)
        return ended


def _with(given: Sequence[str], more: Mapping[str, str]) -> list[str]:
    """A job's parameters and more, which go before. The run's number is known only in a job's own
    parameters: a name of its own does as well."""
    token = f"shell-{secrets.token_hex(6)}"
    own = [text.replace(OWN_NUMBER, token) for text in given]
    return [*own, *[f"--{option}={value}" for option, value in more.items()]]


def _cancelled(backend: DatabricksBackend, handle: Mapping[str, Any]) -> int:
    print(f"cancelling run {handle['run']}", file=sys.stderr)
    backend.cancel(handle)
    return INTERRUPTED


def _uninterrupted(call: Callable[[], int]) -> int:
    """Ctrl-C twice is meant once."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        return call()
    finally:
        signal.signal(signal.SIGINT, before)
