"""What a fan-out on AWS costs in calls and time, with the real backends on an AWS on loopback.

    python benchmarks/bench_aws.py                                  64 candidates, Step Functions
    python benchmarks/bench_aws.py --backend batch --size 16
    python benchmarks/bench_aws.py --seconds-a-task 30              tasks that take a while

The flow's steps do nothing but wait; so a task's time is what it takes to start one: to fetch and
unpack its code, and to begin Metaflow some ten times. Jobs are processes of this machine, as many
at a time as it has cores. Counted are the calls that Dagster's side makes (whoever deploys, starts,
follows), and not those of the tasks: those of S3, on which the ledger lies, by themselves, as they
grow with the assets that a run publishes. What a launch by Dagster asks of the ledger is left out.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "tests" / "cloud"))

from aws import BUCKET, KEY, LocalAws, local_aws  # noqa: E402 - of the tests

from dagster_metaflow.backends.batch import BatchBackend  # noqa: E402
from dagster_metaflow.backends.protocol import LaunchRequest, RunState  # noqa: E402
from dagster_metaflow.backends.step_functions import StepFunctionsBackend  # noqa: E402
from dagster_metaflow.following import ReportFollower  # noqa: E402
from dagster_metaflow.ledger import Ledger  # noqa: E402

FLOW = ROOT / "tests" / "cloud" / "toy" / "cloud_toy_flow.py"
LAKE = f"s3://{BUCKET}/lakehouse"
ASSETS = 2
POLL_SECONDS = 0.25
OUTER_STEPS = 3


def backend_of(name: str, aws: LocalAws, folder: Path) -> BatchBackend:
    """With the pace that it has by default."""
    home = {"METAFLOW_USER": "bench", "METAFLOW_HOME": str(folder / "home")}
    kind = BatchBackend if name == "batch" else StepFunctionsBackend
    return kind(environment={**aws.environment, **home}, working_directory=str(folder))


def measure(name: str, aws: LocalAws, folder: Path, size: int, wait: float) -> dict[str, float]:
    backend = backend_of(name, aws, folder)
    request = LaunchRequest(
        launch_id=f"bench-{size}",
        flow_file=FLOW,
        flow_name="CloudToyFlow",
        parameters={
            "folder": str(folder),
            "output-uri": LAKE,
            "launch-id": f"bench-{size}",
            "size": size,
            "seconds": wait,
        },
        tags=(),
        folder=folder / "launch",
        code_version="bench",
    )
    aws.forget_calls()
    began = time.monotonic()
    handle = backend.launch(request, backend.prepare(request))
    launched, offset = time.monotonic() - began, 0
    starts = aws.calls(KEY)
    reports = ReportFollower(Ledger(LAKE), "CloudToyFlow", request.launch_id, POLL_SECONDS)
    published = 0
    while not (status := backend.poll(handle)).state.ended:
        _, offset = backend.read_log(handle, offset)
        published += len(reports.new()) if reports.is_due else 0
        time.sleep(POLL_SECONDS)
    took = time.monotonic() - began
    assert status.state is RunState.SUCCEEDED, backend.read_log(handle, 0)[0][-20:]
    published += len(reports.new())
    assert published == ASSETS
    calls = Counter(aws.calls(KEY))
    calls.subtract(starts)
    tasks, cores = size + OUTER_STEPS, os.cpu_count() or 1
    followed = {n: c for n, c in calls.items() if c > 0 and not n.startswith("dynamodb:")}
    stored = sum(count for name, count in followed.items() if name.startswith("s3:"))
    print(json.dumps(followed, indent=1, sort_keys=True))
    return {
        "tasks": tasks,
        "seconds": round(took, 1),
        "launch": round(launched, 1),
        "seconds of a core a task": round((took - launched) * cores / tasks - wait, 2),
        "calls a minute": round((sum(followed.values()) - stored) * 60 / (took - launched), 1),
        "calls of S3 a minute": round(stored * 60 / (took - launched), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--backend", choices=["batch", "step_functions"], default="step_functions")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--seconds-a-task", type=float, default=0.0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cores = os.cpu_count() or 1
        with local_aws(folder, at_once=cores) as aws:
            os.environ |= {n: v for n, v in aws.environment.items() if n.startswith("AWS_")}
            print(f"load before: {os.getloadavg()[0]:.1f}, {cores} cores")
            found = measure(given.backend, aws, folder, given.size, given.seconds_a_task)
            for what, value in found.items():
                print(f"{what:28} {value:g}")


if __name__ == "__main__":
    main()
