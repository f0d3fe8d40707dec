"""What a run on Databricks costs before its first step, and in calls, beside the same run by hand.

    python benchmarks/bench_databricks.py                       five runs of each, in turns
    python benchmarks/bench_databricks.py --seconds-a-task 60   calls a minute while little happens

The real backend against a workspace on loopback that clones the Git source and runs the driver for
real. What Databricks takes to find a serverless machine and to install requirements is not in it.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from datetime import datetime
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path += [str(ROOT / "tests"), str(ROOT / "tests" / "databricks")]

from databricks_kit import Repository  # noqa: E402 - of the tests
from interpreters import with_packages_of_tests  # noqa: E402
from workspace_server import LocalWorkspace, local_workspace  # noqa: E402

from dagster_metaflow.backends.databricks import DatabricksBackend  # noqa: E402
from dagster_metaflow.backends.protocol import LaunchRequest, RunState  # noqa: E402

FLOW = "flows/cloud_toy_flow.py"
STARTS = re.compile(r"^(\S+ \S+) \[.*Task is starting")
LOOK_SECONDS = 0.1


def first_start(lines: list[str]) -> float:
    """When Metaflow began the first task, by its log; seconds since 1970."""
    moment = next(found[1] for line in lines if (found := STARTS.match(line)))
    return datetime.strptime(moment, "%Y-%m-%d %H:%M:%S.%f").astimezone().timestamp()


def by_hand(repository: Repository, folder: Path, seconds: float) -> dict[str, float]:
    command = [sys.executable, FLOW, "run", "--folder", str(folder), "--output-uri"]
    command += [str(folder / "lake"), "--size", "2", "--seconds", str(seconds)]
    environment = {
        **os.environ,
        "METAFLOW_USER": "bench",
        "METAFLOW_DATASTORE_SYSROOT_LOCAL": str(folder),
        "PYTHONPATH": str(repository.root / "src"),
    }
    began = time.time()
    done = subprocess.run(
        command, cwd=repository.root, env=environment, capture_output=True, text=True, check=True
    )
    first = first_start(done.stdout.splitlines())
    return {"first step": first - began, "whole": time.time() - began}


def submitted(
    workspace: LocalWorkspace, repository: Repository, folder: Path, seconds: float
) -> dict[str, float]:
    environment = {
        **workspace.environment,
        **repository.environment(),
        "METAFLOW_USER": "bench",
    }
    backend = DatabricksBackend(environment=environment)
    parameters = {"folder": str(folder), "output-uri": str(folder / "lake"), "size": 2}
    request = LaunchRequest(
        launch_id=folder.name,
        flow_file=repository.root / FLOW,
        flow_name="CloudToyFlow",
        parameters=parameters | {"seconds": seconds},
        tags=(),
        folder=folder / "launch",
        ledger_root=str(folder / "lake"),
    )
    workspace.calls.clear()
    began = time.time()
    handle = backend.launch(request, backend.prepare(request))
    answered, lines, offset, seen = time.time() - began, list[str](), 0, 0.0
    while not (status := backend.poll(handle)).state.ended:
        more, offset = backend.read_log(handle, offset)
        lines += more
        if not seen and any(map(STARTS.match, lines)):
            seen = time.time() - began
        time.sleep(LOOK_SECONDS)
    whole = time.time() - began
    lines += backend.read_log(handle, offset)[0]
    assert status.state is RunState.SUCCEEDED, lines[-20:]
    calls = workspace.calls
    print(json.dumps({"seconds": round(whole), "calls": Counter(calls)}, sort_keys=True))
    return {
        "submit answered": answered,
        "first step": first_start(lines) - began,
        "first step seen here": seen,
        "whole": whole,
        "calls a minute": sum(calls.values()) * 60 / whole,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds-a-task", type=float, default=0.0)
    given = parser.parse_args()
    found: dict[str, list[dict[str, float]]] = {"by hand": [], "Databricks": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        repository = Repository.of_the_toys(folder / "repository")
        print(f"load before: {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores")
        with local_workspace(folder, with_packages_of_tests(folder / "python")) as workspace:
            for turn in range(given.runs):
                for kind in found:
                    place = folder / f"{kind.replace(' ', '-')}-{turn}"
                    place.mkdir()
                    asked = (repository, place, given.seconds_a_task)
                    one = by_hand(*asked) if kind == "by hand" else submitted(workspace, *asked)
                    found[kind].append(one)
    for kind, runs in found.items():
        for what in runs[0]:
            print(f"{kind:12} {what:22} {statistics.median(run[what] for run in runs):.2f}")


if __name__ == "__main__":
    main()
