"""Starts one run on Step Functions from a shell: its log as it comes, its end as exit code.

    python -m dagster_metaflow.backends.watch_execution python FLOW.py step-functions trigger ...

The words are a command of Metaflow's that starts an execution. Ends with 0 when the run has
succeeded, with 1 when it has not, with the command's own code when that failed. Ctrl-C and SIGTERM
stop the run, at whatever moment they come, and end with 130 and 143.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagster_metaflow.backends.copied_log import print_log
from dagster_metaflow.backends.protocol import LaunchError

if TYPE_CHECKING:
    from dagster_metaflow.backends.step_functions import StepFunctionsBackend

_SECONDS = 0.5
_SIGNALLED = 128
"""What a shell adds to a signal's number."""


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
    backend.cancel(handle)  # jobs that the execution has left running
    return 1


def main(command: Sequence[str], signals: Signals) -> int:
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder) / "triggered.json"
        # In a session of its own: a signal to all does not break it off between the start of the
        # execution and the word of it.
        done = subprocess.run(  # noqa: S603 - a list of arguments, no shell
            [*command, f"--deployer-attribute-file={told}"], start_new_session=True, check=False
        )
        if done.returncode:
            return done.returncode if done.returncode > 0 else _SIGNALLED - done.returncode
        from dagster_metaflow.backends.step_functions import StepFunctionsBackend

        return watch(StepFunctionsBackend(), _handle(told, folder), signals)


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
        return main(sys.argv[1:], Signals())
    except LaunchError as error:  # its message says what to do
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(_end())
