"""Runs one Metaflow flow on a Databricks driver: what `scripts/databricks_entry.py` calls there.

    --flow=flows/a_flow.py --store=URI --token=NAME [--secret-scope=S] [--variable=NAME=VALUE ...]
    [--option=--datastore=azure ...] [--run-option=--tag=t ...] [--origin=RUN_ID] [-- --parameter=1]

A driver is gone when its run ends, and its output can be read only then. So it leaves word in the
store while it runs (`databricks_attempt`), and Metaflow's own records are in the store too. When
Databricks runs the same task again (a repair, or a retry), the token is the same: the flow is
**resumed** from the run that the attempt before has noted.

Secrets come from a scope: each key is a variable of the flow (`azure-client-secret` is
AZURE_CLIENT_SECRET), and stands in no output of it: not here, not in the store, and not in the logs
that Metaflow keeps of each task (`databricks_flow`). Artifacts, an error that ends a task among
them, and cards are as the flow makes them.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from dagster_metaflow.backends.databricks_attempt import Attempt, place_of
from dagster_metaflow.backends.databricks_masking import MASKED, masker
from dagster_metaflow.backends.databricks_records import KIND, records_in

SHIP_SECONDS = 2.0
OWN_NUMBER = "{{job.run_id}}"  # for which Databricks puts the run's
_PROCESS_S_OWN = re.compile(r"PATH|HOME|SHELL|ENV|BASH_ENV|IFS|LD_\w+|DYLD_\w+|PYTHON\w*")
_MASKING_FLOW = "dagster_metaflow.backends.databricks_flow"
_END_SECONDS = 30.0  # of a flow that is asked to end
_DRAIN_SECONDS = 10.0  # of output, when the flow has ended
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


class FlowFailed(RuntimeError):  # noqa: N818 - what a person reads as the run's error
    """The flow did not end well; the message has the last lines of its log."""


def place_by(arguments: Sequence[str], run: str) -> str:
    """Where a run with these arguments leaves word; run: Databricks' number of it.

    Raises ValueError for arguments of something else.
    """
    try:
        given, _ = _parser().parse_known_args(list(arguments))
    except (argparse.ArgumentError, SystemExit):
        raise ValueError("no arguments of a driver") from None
    if None in (given.flow, given.store, given.token):
        raise ValueError("no arguments of a driver")
    return place_of(given.store, given.flow, given.token.replace(OWN_NUMBER, run))


def main(arguments: Sequence[str], root: Path) -> None:
    """root: of the checkout. Raises FlowFailed; comes back when the flow has ended well."""
    given = _parser().parse_args(list(arguments))
    # Of this process too: the store is opened with them here as it is in the flow.
    os.environ.update(text.split("=", 1) for text in given.variable)
    os.environ.update(secrets := _secrets(given.secret_scope))
    attempt = Attempt.begin(given.store, given.flow, given.token, given.origin)
    environment = _environment(given.store, root)
    with tempfile.TemporaryDirectory() as folder:
        attributes = Path(folder) / "run.json"
        environment.setdefault("METAFLOW_DATASTORE_SYSROOT_LOCAL", folder)
        environment[MASKED] = ",".join(secrets)
        command = _command(given, attempt.origin, root, attributes)
        output = Output(attempt, list(secrets.values()))
        if attempt.origin is not None:
            output.take(f"Going on with run {attempt.origin}.")
        code = _run(command, environment, root, attributes, output)
    if code:
        raise FlowFailed(f"{given.flow} ended with exit status {code}:\n{attempt.tail()}")


class Output:
    """Lines of the flow, to the driver's output at once and to the store from time to time."""

    def __init__(self, attempt: Attempt, secrets: Sequence[str]) -> None:
        self.attempt = attempt
        self._masked = masker(secrets)
        self._lines: list[str] = []
        self._piece: list[str] = []
        self._lock = threading.Lock()

    def take(self, line: str) -> None:
        line = self._masked(line)
        print(line, flush=True)
        with self._lock:
            self._lines.append(line)

    def ship(self) -> None:
        """A store that does not answer now gets it the next time: a run does not end for a log.

        It gets the same piece then: what failed here may be there, and have been read.
        """
        while piece := self._next():
            try:
                self.attempt.ship(piece)
            except OSError as error:
                print(f"the log is not kept in the store: {error}", flush=True)
                return
            self._piece = []

    def _next(self) -> list[str]:
        with self._lock:
            if not self._piece:
                self._piece, self._lines = self._lines, []
            return self._piece


def _run(
    command: Sequence[str],
    environment: Mapping[str, str],
    root: Path,
    attributes: Path,
    output: Output,
) -> int:
    process = subprocess.Popen(  # noqa: S603 - a list of arguments, no shell
        command,
        cwd=root,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        preexec_fn=_dies_with_us,
    )
    reader = threading.Thread(target=_pump, args=(process, output), daemon=True)
    reader.start()
    try:
        while process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(SHIP_SECONDS if output.attempt.run_id else 0.2)
            _look_for_run_id(attributes, output.attempt)
            output.ship()
    finally:
        if process.poll() is None:  # cancelled
            _end(process)
        reader.join(_DRAIN_SECONDS)
        if reader.is_alive():  # a process that it has left running has its output
            output.take("What the flow has started still runs: its output is no longer followed.")
        _look_for_run_id(attributes, output.attempt)
        output.ship()
    return process.returncode


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _pump(process: subprocess.Popen[str], output: Output) -> None:
    assert process.stdout is not None  # noqa: S101 - it was asked for
    with process.stdout as stream:
        for line in stream:
            output.take(line.rstrip("\n"))


def _look_for_run_id(attributes: Path, attempt: Attempt) -> None:
    if attempt.run_id is not None:
        return
    try:
        run_id = str(json.loads(attributes.read_bytes())["run_id"])
    except (FileNotFoundError, ValueError):
        return
    try:
        attempt.has_begun(run_id)
    except OSError as error:
        print(f"the run's id is not kept in the store: {error}", flush=True)
        attempt.run_id = None  # until the next time


def _dies_with_us() -> None:
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)


def _command(
    given: argparse.Namespace, origin: str | None, root: Path, attributes: Path
) -> list[str]:
    flow = root / given.flow
    if not flow.is_file():
        raise FlowFailed(f"{given.flow}: there is no such flow at this revision of {root}")
    told = [f"--runner-attribute-file={attributes}", *given.run_option]
    verb = ["run", *told, *given.parameters]
    if origin is not None:
        verb = ["resume", f"--origin-run-id={origin}", *told]
    runs = [sys.executable, "-u", *(["-m", _MASKING_FLOW] if given.secret_scope else [])]
    return [*runs, str(flow), *given.option, *verb]


def _environment(store: str, root: Path) -> dict[str, str]:
    """The project is not installed here: its libraries are found in the checkout."""
    path = [str(root / "src"), str(root), os.environ.get("PYTHONPATH", "")]
    own = {"PYTHONPATH": os.pathsep.join(filter(None, path))}
    try:
        records = records_in(store, os.environ)
    except ValueError as error:
        raise FlowFailed(str(error)) from None
    # A datastore of another kind than the store could not be read when the run is repaired.
    return {**records, **os.environ, **own, KIND: records[KIND]}


def _secrets(scope: str | None) -> dict[str, str]:
    if not scope:
        return {}
    # Both the driver's own and, elsewhere, one that asks the workspace.
    from databricks.sdk.runtime import dbutils

    keys = [item.key for item in dbutils.secrets.list(scope)]
    names = {key: re.sub(r"[^A-Za-z0-9]", "_", key).upper() for key in keys}
    if odd := sorted(key for key, name in names.items() if _PROCESS_S_OWN.fullmatch(name)):
        raise FlowFailed(
            f"scope {scope}: {', '.join(odd)} would change which code runs here, since each "
            "key is a variable. Rename it"
        )
    return {name: dbutils.secrets.get(scope, key) for key, name in names.items()}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(exit_on_error=False, allow_abbrev=False)
    parser.add_argument("--flow", required=True)
    parser.add_argument("--store", required=True)
    parser.add_argument("--token", required=True)
    parser.add_argument("--secret-scope")
    parser.add_argument("--origin")
    for name in ("variable", "option", "run-option"):
        parser.add_argument(f"--{name}", action="append", default=[])
    parser.add_argument("parameters", nargs="*")
    return parser
