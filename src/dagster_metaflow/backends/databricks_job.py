"""What a script does with a run on Databricks: start it, follow it, repair it, look into it."""

from __future__ import annotations

import json
import secrets
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dagster_metaflow.backends import databricks_settings as settings
from dagster_metaflow.backends.copied_log import print_lines
from dagster_metaflow.backends.databricks import DatabricksBackend
from dagster_metaflow.backends.databricks_api import said
from dagster_metaflow.backends.databricks_attempt import probe, submitted_at
from dagster_metaflow.backends.databricks_bundle import job_settings, put_job
from dagster_metaflow.backends.databricks_git import PACKAGES_OF_HERE
from dagster_metaflow.backends.databricks_looking import inspection, opened, watch
from dagster_metaflow.backends.databricks_repair import BEGINS_SECONDS, repair
from dagster_metaflow.backends.databricks_requirements import requirements
from dagster_metaflow.backends.databricks_sent import sent
from dagster_metaflow.backends.databricks_start import CLOCKS, begun
from dagster_metaflow.backends.databricks_states import is_over, words_of
from dagster_metaflow.backends.protocol import (
    Handle,
    LaunchError,
    LaunchRequest,
    OutOfSightError,
    UsageError,
)
from dagster_metaflow.stores import write_file

_CANCEL_SECONDS = 30.0
_LOOK_SECONDS = 0.5


def parameters_of(words: Sequence[str]) -> dict[str, str]:
    """`--option value` and `--option=value` by option. Raises UsageError for anything else."""
    found, rest = dict[str, str](), list(words)
    while rest:
        word = rest.pop(0)
        name, given, value = word.removeprefix("--").partition("=")
        if not word.startswith("--") or not name or not (given or rest):
            raise UsageError(f"{word}: parameters of the flow are --option VALUE")
        found[name] = value if given else rest.pop(0)
    return found


@dataclass(frozen=True)
class Job:
    """root: of this machine's checkout. folder: for this call's files. requirements: files in the
    repository. wait: follow the run to its end. forwarded: variables of this process that one-time
    runs have too."""

    root: Path
    folder: Path
    requirements: Sequence[str]
    wait: bool = True
    forwarded: Sequence[str] = ()

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
        prepared = backend.prepare(request)
        return self._followed(
            backend,
            start=lambda: backend.launch(request, prepared),
            started=lambda: backend.run_of(prepared),
        )

    def existing(
        self,
        file: Path,
        key: str,
        target: str,
        variables: Mapping[str, str],
        more: Mapping[str, str],
    ) -> int:
        """A run of a job, which is made or brought up to date first. variables: of the bundle, with
        `lakehouse_uri` among them. more: parameters, before the job's own."""
        backend = self._backend()
        made = self._settings(backend, file, key, target, variables)
        (given, place), name = sent(backend, made, more), str(made["name"])
        probe(place)  # before there is a run that could not be followed
        workspace = backend.workspace()
        with said(f"to make the job {name}"):
            number, done = put_job(workspace, made)
        print(f"job {number} {name}: {done}", flush=True)
        runs, token, since = list[int](), secrets.token_hex(16), datetime.now(UTC) - CLOCKS

        def started() -> int | None:
            with said("to look for the run"):
                return next(iter(runs), None) or workspace.find_run_of(number, given, since)

        def start() -> Handle:
            def now() -> int:
                runs.append(workspace.run_now(number, given, token))
                return runs[0]

            run = begun(now, started, "to start the job", name)
            noted = {"run": run, "commit": made["git_source"].get("git_commit")}
            with suppress(OSError):  # a run is under way, whatever becomes of this file
                write_file(submitted_at(place), json.dumps(noted).encode())
            return {"run": run, "place": place, "attempt": 1, "folder": self._folder}

        return self._followed(backend, start, started)

    def _settings(
        self,
        backend: DatabricksBackend,
        file: Path,
        key: str,
        target: str,
        variables: Mapping[str, str],
    ) -> dict[str, Any]:
        """Of the job, with code from Git."""
        store = variables.get("lakehouse_uri", "")
        given = settings.read(backend.model_dump(), backend.environment, store)
        found = settings.with_commit(given)

        def lines(path: str) -> Sequence[str]:
            return requirements(self.root, found.source, [path])

        print(f"code: {found.source.words()}", flush=True)
        if found.source.commit is None:
            print(PACKAGES_OF_HERE, flush=True)
        return job_settings(
            file, key, target, variables=variables, git_source=found.source.as_dict(),
            requirements=lines,
        )  # fmt: skip

    def repair(self, run: int) -> int:
        """Goes on with a run that failed."""
        backend = self._backend()

        def start() -> Handle:
            workspace = backend.workspace()
            with said(f"to tell of run {run}"):
                handle = opened(workspace, run, self.folder / "run")
            with said(f"to repair run {run}"):
                repair(workspace, run, min(BEGINS_SECONDS, backend.patience_seconds))
            return handle

        return self._followed(backend, start, started=lambda: run)

    def follow(self, run: int) -> int:
        """From the beginning of what its driver has told; an interrupt leaves the run as it is."""
        backend = self._backend()
        with said(f"to tell of run {run}"):
            handle = opened(backend.workspace(), run, self.folder / "run", attempt=1)
        return _shown(backend, handle)

    def inspect(self, run: int) -> int:
        with said(f"to tell of run {run}"):
            told = inspection(self._backend().workspace(), run)
        print_lines(told.splitlines())
        return 0

    # -- how it does it ------------------------------------------------------------------------

    def _backend(self, **given: Any) -> DatabricksBackend:
        return DatabricksBackend(
            repository=str(self.root),
            requirements=list(self.requirements),
            forwarded=list(self.forwarded),
            **given,
        )

    @property
    def _folder(self) -> str:
        return str(self.folder / "run")

    def _followed(
        self,
        backend: DatabricksBackend,
        start: Callable[[], Handle],
        started: Callable[[], int | None],
    ) -> int:
        """started: the run's number, where a start was cut short that may have been made.

        Ctrl-C and a request to end (SIGTERM) cancel the run, at whatever moment they come.
        """
        with ends_on_request() as interrupt:
            try:
                run = (handle := start())["run"]
                print(f"run {run}: under way", flush=True)
                print(backend.links(handle).get("databricks_run", ""), flush=True)
                if not self.wait:
                    print(f"--follow {run} shows it, --inspect-run-id {run} tells of it")
                    return 0
                return _shown(backend, handle)
            except KeyboardInterrupt:
                return _uninterrupted(lambda: _cancelled(backend, started, interrupt))


def _shown(backend: DatabricksBackend, handle: Handle) -> int:
    run = handle["run"]
    try:
        ended = watch(backend, handle)
    except OutOfSightError as error:
        raise OutOfSightError(f"{error} --follow {run} shows it again.") from None
    if ended:
        print(f"--inspect-run-id {run} tells more; --repair {run} goes on")
    return ended


class Interrupt:
    """number: of the signal that came."""

    number: int = signal.SIGINT

    @property
    def exit_code(self) -> int:
        """As a shell has it."""
        return 128 + self.number


@contextmanager
def ends_on_request() -> Iterator[Interrupt]:
    """SIGTERM is a KeyboardInterrupt inside the block, as Ctrl-C is."""
    interrupt = Interrupt()

    def end(number: int, _: object) -> None:
        interrupt.number = number
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGTERM, before)


def _cancelled(
    backend: DatabricksBackend, started: Callable[[], int | None], interrupt: Interrupt
) -> int:
    try:
        run = started()
    except LaunchError as error:
        raise LaunchError(f"{error} A run may have been started: see the page Job Runs.") from None
    if run is None:
        print("no run was started", file=sys.stderr)
        return interrupt.exit_code
    print(f"cancelling run {run}", file=sys.stderr)
    workspace = backend.workspace()
    with said(f"to cancel run {run}"):
        workspace.cancel(run)
        deadline = time.monotonic() + _CANCEL_SECONDS
        while not is_over(found := workspace.run(run)) and time.monotonic() < deadline:
            time.sleep(_LOOK_SECONDS)
    told = words_of(found.state) if is_over(found) else "it has not ended yet: look into it"
    print(f"run {run}: {told}", file=sys.stderr)
    return interrupt.exit_code


def _uninterrupted(call: Callable[[], int]) -> int:
    """What is asked for twice is meant once."""
    signals = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in signals}
    try:
        return call()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
