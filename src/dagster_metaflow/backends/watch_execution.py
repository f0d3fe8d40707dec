"""Starts one run on Step Functions from a shell: its log as it comes, its end as exit code.

    python -m dagster_metaflow.backends.watch_execution MARK python FLOW.py ... trigger

The words are an option that the flow was deployed with, as check_start prints it, and a command of
Metaflow's that starts an execution. Ends with 0 when the run has
succeeded, with 1 when it has not, with 3 when it goes on and cannot be seen any more from here,
with the command's own code when that failed. Ctrl-C and SIGTERM stop the run, at whatever moment
they come, and end with 130 and 143. A start that hangs is waited for until a second one comes, and
ten minutes at most. An execution that AWS began with another definition is started again.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagster_metaflow.backends.copied_log import print_log
from dagster_metaflow.backends.protocol import LaunchError

if TYPE_CHECKING:
    from dagster_metaflow.backends.step_functions import StepFunctionsBackend

_SECONDS = 0.5
_START_SECONDS = 600.0
_OUT_OF_SIGHT = 3
_SIGNALLED = 128
"""What a shell adds to a signal's number."""
_ENOUGH_SIGNALS = 2
_MAY_HAVE_STARTED = (
    "the start was broken off, and a run may have started all the same: look at the executions of "
    "the state machine, and stop what is there (aws stepfunctions list-executions, stop-execution)"
)

_WHERE = (
    "Execution {execution} of state machine {machine} goes on, and starting once more would run "
    "another beside it. Follow it in AWS's console, or by `aws stepfunctions describe-execution`, "
    "end it by `aws stepfunctions stop-execution`."
)


class Signals:
    """Ctrl-C and SIGTERM are noted from here on, and break nothing off halfway."""

    def __init__(self) -> None:
        self.heard: list[int] = []
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, _: self.heard.append(number))


def watch(backend: StepFunctionsBackend, handle: dict[str, Any], signals: Signals) -> int:
    """Raises LaunchError when the run cannot be seen."""
    offset = 0
    while not (signals.heard or (status := backend.poll(handle)).state.ended):
        offset = print_log(backend, handle, offset)
        time.sleep(_SECONDS)
    if signals.heard:
        print("stopping the run", file=sys.stderr)
        backend.cancel(handle)
        return _SIGNALLED + signals.heard[0]
    print_log(backend, handle, offset)
    why = f": {status.reason}" if status.reason else ""
    print(f"{handle['flow']}/{status.run_id} {status.state.value}{why}")
    for name, place in backend.links(handle).items():
        print(f"{name}: {place}")
    if status.state.value == "succeeded":
        return 0
    try:
        backend.cancel(handle)  # jobs that the execution has left running
    except LaunchError as error:
        print(f"What it may have left running was not ended: {error}", file=sys.stderr)
    return 1


def main(mark: str, command: Sequence[str], signals: Signals) -> int:
    from dagster_metaflow.backends.sfn_start import PAUSE_SECONDS, TRIES

    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder) / "triggered.json"
        for _ in range(TRIES):
            code = _triggered([*command, f"--deployer-attribute-file={told}"], signals)
            if code is None:
                print(_MAY_HAVE_STARTED, file=sys.stderr)
                return _SIGNALLED + signals.heard[0] if signals.heard else 1
            if code:
                return code if code > 0 else _SIGNALLED - code
            if (code := _watched(mark, _handle(told, folder), signals)) is not None:
                return code
            if not signals.heard:
                time.sleep(PAUSE_SECONDS)
            if signals.heard:
                return _SIGNALLED + signals.heard[0]
    raise LaunchError(
        f"AWS has started {TRIES} executions with another definition than the state machine has, "
        "and they were stopped. Does somebody else deploy it now? Try again in a minute."
    )


def _watched(mark: str, handle: dict[str, Any], signals: Signals) -> int | None:
    """The code to end with; None when the execution was stopped, since AWS ran another definition
    than the one that was deployed."""
    from dagster_metaflow.backends.step_functions import StepFunctionsBackend

    backend = StepFunctionsBackend()
    try:
        if signals.heard or _is_meant(backend, handle, mark):
            return watch(backend, handle, signals)
        backend.cancel(handle)
    except LaunchError as error:
        print(f"{error}\n{_WHERE.format(**handle)}", file=sys.stderr)
        return _OUT_OF_SIGHT
    again = "ran another definition than the one deployed; stopped, and started again"
    print(f"{handle['execution']} {again}", flush=True)
    return None


def _is_meant(backend: StepFunctionsBackend, handle: dict[str, Any], mark: str) -> bool:
    """Also where AWS does not answer this one look: the run has been started, and is followed."""
    from dagster_metaflow.backends.aws_api import said
    from dagster_metaflow.backends.sfn_start import runs_code

    code = mark.rpartition(":")[2]
    with suppress(LaunchError), said("to look at the execution"):
        return runs_code(backend.aws(), handle["machine"], handle["execution"], code)
    return True


def _triggered(command: Sequence[str], signals: Signals) -> int | None:
    """The command's code; None when it was not waited for any longer, and killed."""
    # In a session of its own: a signal to all does not break it off between the start of the
    # execution and the word of it.
    trigger = subprocess.Popen(command, start_new_session=True)  # noqa: S603 - no shell
    waited, told = time.monotonic(), False
    while len(signals.heard) < _ENOUGH_SIGNALS and time.monotonic() - waited < _START_SECONDS:
        if signals.heard and not told:
            print("the start is waited for, to stop the run; once more ends that", file=sys.stderr)
            told = True
        with suppress(subprocess.TimeoutExpired):
            return trigger.wait(_SECONDS)
    os.killpg(trigger.pid, signal.SIGKILL)
    trigger.wait()
    return None


def _handle(told: Path, folder: str) -> dict[str, Any]:
    triggered = json.loads(told.read_text())
    flow, run_id = triggered["pathspec"].split("/")
    return {
        "execution": run_id.removeprefix("sfn-"),
        "machine": triggered["name"],
        "flow": flow,
        "folder": folder,
        # It has been: AWS may not show it for a moment yet.
        "started": datetime.now(UTC).isoformat(),
    }


def _end() -> int:
    try:
        return main(sys.argv[1], sys.argv[2:], Signals())
    except LaunchError as error:  # its message says what to do
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(_end())
