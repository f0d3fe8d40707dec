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

from dagster_metaflow.backends.protocol import Handle, LaunchError, RunState
from dagster_metaflow.backends.step_functions import PREFIX, StepFunctionsBackend

_SECONDS = 0.5
_INTERRUPTED = 130


def watch(backend: StepFunctionsBackend, handle: Handle) -> int:
    """Raises LaunchError when the run cannot be seen."""
    offset = 0
    while True:
        status = backend.poll(handle)
        while True:
            lines, offset = backend.read_log(handle, offset)
            if not lines:
                break
            print("\n".join(lines), flush=True)
        if status.state.ended:
            break
        time.sleep(_SECONDS)
    why = f": {status.reason}" if status.reason else ""
    print(f"{handle['flow']}/{status.run_id} {status.state.value}{why}")
    for name, place in backend.links(handle).items():
        print(f"{name}: {place}")
    return 0 if status.state is RunState.SUCCEEDED else 1


def main(triggered: Path) -> int:
    told = json.loads(triggered.read_text())
    flow, run_id = told["pathspec"].split("/")
    with tempfile.TemporaryDirectory() as folder:
        handle = {
            "execution": run_id.removeprefix(PREFIX),
            "machine": told["name"],
            "flow": flow,
            "folder": folder,
        }
        backend = StepFunctionsBackend()
        try:
            return watch(backend, handle)
        except KeyboardInterrupt:
            print("stopping the run", file=sys.stderr)
            backend.cancel(handle)
            return _INTERRUPTED
        except LaunchError as error:
            print(error, file=sys.stderr)
            return 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
