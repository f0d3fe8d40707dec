"""What a fan-out on AWS costs in calls and time, with the real backends on an AWS on loopback.

    python benchmarks/bench_aws.py                                  64 candidates, Step Functions
    python benchmarks/bench_aws.py --backend batch --size 16
    python benchmarks/bench_aws.py --seconds-a-task 30              tasks that take a while

The flow's steps do nothing but wait; so a task's time is what it takes to start one: to fetch and
unpack its code, and to begin Metaflow some ten times. Jobs are processes of this machine, as many
at a time as it has cores. Calls are told apart by the key that they are signed with: Dagster's
process as it follows the run and lists the ledger, Metaflow's processes on this machine as they
deploy, schedule and (on `batch`) look after each job, and the tasks themselves. What AWS calls for
itself, as Step Functions does to submit jobs, is not among them; what a launch by Dagster asks of
the ledger is left out.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path += [str(ROOT / "tests"), str(ROOT / "tests" / "cloud")]

from aws import BUCKET, LocalAws, local_aws  # noqa: E402 - of the tests

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
KEYS = {"Dagster": "AKIDDAGSTER", "Metaflow here": "AKIDMETAFLOW", "tasks": "AKIDJOB"}
_KEY = "AWS_ACCESS_KEY_ID"


class Backends:
    """With the pace that they have by default. Metaflow's processes sign with a key of theirs."""

    def __init__(self, name: str, aws: LocalAws, folder: Path) -> None:
        home = {"METAFLOW_USER": "bench", "METAFLOW_HOME": str(folder / "home")}
        kind = BatchBackend if name == "batch" else StepFunctionsBackend
        given = {**aws.environment, **home}
        self.starting, self.following = (
            kind(environment={**given, _KEY: KEYS[who]}, working_directory=str(folder))
            for who in ("Metaflow here", "Dagster")
        )


def measure(name: str, aws: LocalAws, folder: Path, size: int, wait: float) -> dict[str, float]:
    backends = Backends(name, aws, folder)
    backend = backends.following
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
    handle = backends.starting.launch(request, backends.starting.prepare(request))
    launched, offset = time.monotonic() - began, 0
    starts = {who: aws.calls(key) for who, key in KEYS.items()}
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
    print(f"to deploy and start: {told(starts['Metaflow here'])}")
    for who, key in KEYS.items():
        made = Counter(aws.calls(key))
        made.subtract(starts[who])
        show(who, +made, took - launched)
    tasks, cores = size + OUTER_STEPS, os.cpu_count() or 1
    return {
        "tasks": tasks,
        "seconds": round(took, 1),
        "launch": round(launched, 1),
        "seconds of a core a task": round((took - launched) * cores / tasks - wait, 2),
    }


def show(who: str, made: Counter[str], seconds: float) -> None:
    """Calls of S3 by themselves: they are many, and have no limit that one meets."""
    stored = Counter({name: count for name, count in made.items() if name.startswith("s3:")})
    for what, part in (("AWS", made - stored), ("S3", stored)):
        rate = part.total() * 60 / seconds
        print(f"{who}, {what}: {part.total()} calls, {rate:.0f} a minute: {told(part)}")


def told(made: Mapping[str, int]) -> str:
    return json.dumps(dict(sorted(made.items())))


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
            os.environ[_KEY] = KEYS["Dagster"]
            print(f"load before: {os.getloadavg()[0]:.1f}, {cores} cores")
            found = measure(given.backend, aws, folder, given.size, given.seconds_a_task)
            print(f"load after: {os.getloadavg()[0]:.1f}")
            for what, value in found.items():
                print(f"{what:28} {value:g}")


if __name__ == "__main__":
    main()
