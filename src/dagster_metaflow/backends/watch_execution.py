"""Watches one run on Step Functions from a shell: its log as it comes, its end as exit code.

    python -m dagster_metaflow.backends.watch_execution TRIGGERED.json

TRIGGERED.json is what `step-functions trigger --deployer-attribute-file` has written. Ends with 0
when the run has succeeded, with 1 otherwise. Ctrl-C stops the run, and ends with 130.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagster_metaflow.backends.copied_log import print_log

if TYPE_CHECKING:
    from dagster_metaflow.backends.step_functions import StepFunctionsBackend

_SECONDS = 0.5
_INTERRUPTED = 130


def watch(backend: StepFunctionsBackend, handle: dict[str, Any]) -> int:
    """Raises LaunchError when the run cannot be seen."""
    offset = 0
    while not (status := backend.poll(handle)).state.ended:
        offset = print_log(backend, handle, offset)
        time.sleep(_SECONDS)
    print_log(backend, handle, offset)
    why = f": {status.reason}" if status.reason else ""
    print(f"{handle['flow']}/{status.run_id} {status.state.value}{why}")
    for name, place in backend.links(handle).items():
        print(f"{name}: {place}")
    return 0 if status.state.value == "succeeded" else 1


def main(triggered: Path) -> int:
    told = json.loads(triggered.read_text())
    flow, run_id = told["pathspec"].split("/")
    handle = {"execution": run_id.removeprefix("sfn-"), "machine": told["name"], "flow": flow}
    with tempfile.TemporaryDirectory() as folder:
        handle["folder"] = folder
        try:
            # Loaded here: Ctrl-C stops the run from the first moment on.
            from dagster_metaflow.backends.step_functions import StepFunctionsBackend

            return watch(StepFunctionsBackend(), handle)
        except KeyboardInterrupt:
            return _stop(handle)


def _stop(handle: dict[str, Any]) -> int:
    from dagster_metaflow.backends.step_functions import StepFunctionsBackend

    print("stopping the run", file=sys.stderr)
    StepFunctionsBackend().cancel(handle)
    return _INTERRUPTED


def _end() -> int:
    try:
        return main(Path(sys.argv[1]))
    except RuntimeError as error:  # a LaunchError among them: its message says what to do
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(_end())
