"""From the GraphQL mutation to Metaflow's first task: how long, and where the seconds go.

    python benchmarks/bench_launch.py [--launches 5]

A webserver and a daemon with the project's whole code location, and a job whose only asset is made
by the smallest flow: as the project sets Dagster up, and as Dagster comes (a look at the queue
every 5 s, a process for each step). They take turns, after one launch each that is not counted.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from dagster_servers import Servers, dagster

from dagster_metaflow.ledger import RECORD, LaunchRecord

LOCATION = Path(__file__).with_name("launch_location.py")
# Job, and settings over the project's dagster.yaml.
CONTENDERS: dict[str, tuple[str, Mapping[str, Any]]] = {
    "as Dagster comes": ("launch_job_by_default", {"run_queue": {}}),
    "as set up here": ("launch_job", {}),
}
PHASES = {
    "mutation": "the webserver makes the run and queues it",
    "queue": "until the daemon takes it from the queue",
    "worker": "a process, its imports, the code location",
    "step": "until the asset's step begins",
    "launch": "until Metaflow is started",
    "metaflow": "Metaflow's scheduler, until it starts a task",
    "task": "the task's process, until the first line of the step",
}
_LAUNCH = """
mutation($params: ExecutionParams!) { launchRun(executionParams: $params) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on Error { message } } }
"""
_EVENTS = """
query($run: ID!) {
  runOrError(runId: $run) { ... on Run { status } }
  logsForRun(runId: $run) { ... on EventConnection { events {
    __typename ... on MessageEvent { timestamp message } } } } }
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--launches", type=int, default=5)
    launches = parser.parse_args().launches
    found: dict[str, list[dict[str, float]]] = {name: [] for name in CONTENDERS}
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-launch-")))
        running = {
            name: stack.enter_context(_deployment(folder / str(number), settings))
            for number, (name, (_, settings)) in enumerate(CONTENDERS.items())
        }
        for turn in range(-1, launches):
            for name, servers in running.items():
                measured = measure(servers, CONTENDERS[name][0], servers.home / f"mark-{turn}")
                print(f"{name}: {sum(measured.values()):.2f} s", flush=True)
                if turn >= 0:
                    found[name].append(measured)
    report(found)


def _deployment(
    folder: Path, settings: Mapping[str, Any]
) -> contextlib.AbstractContextManager[Servers]:
    return dagster(
        folder / "dagster_home",
        LOCATION,
        settings=settings,
        environment={
            "LAKEHOUSE_URI": str(folder / "lakehouse"),
            "METAFLOW_DATASTORE_SYSROOT_LOCAL": str(folder / "metaflow"),
            "METAFLOW_HOME": str(folder / "metaflow_home"),
            "METAFLOW_USER": "bench",
            "TZ": "UTC",
        },
    )


def measure(servers: Servers, job: str, mark: Path) -> dict[str, float]:
    """Seconds of each phase of one launch."""
    selector = {
        "pipelineName": job,
        "repositoryName": "__repository__",
        "repositoryLocationName": LOCATION.name,
    }
    config = {"ops": {"launch_flow": {"config": {"mark": str(mark)}}}}
    params = {"selector": selector, "runConfigData": config}
    began = time.time()
    answer = servers.query(_LAUNCH, params=params)["launchRun"]
    if answer["__typename"] != "LaunchRunSuccess":
        sys.exit(f"The job was not launched: {answer}")
    events = _events_of(servers, answer["run"]["runId"])
    [log] = [path for path in servers.home.rglob("log") if str(mark) in path.read_text()]
    moments = [
        began,
        events["RunEnqueuedEvent"],
        events["RunStartingEvent"],
        events["RunStartEvent"],
        events["ExecutionStepStartEvent"],
        _launched(servers, log),
        _task_started(log),
        float(mark.read_text()),
    ]
    return {
        name: later - before
        for name, before, later in zip(PHASES, moments, moments[1:], strict=False)
    }


def _events_of(servers: Servers, run: str) -> dict[str, float]:
    """When each kind of event came first, once the run has succeeded."""
    while True:
        answer = servers.query(_EVENTS, run=run)
        events = answer["logsForRun"]["events"]
        status = answer["runOrError"]["status"]
        if status == "SUCCESS":
            return {e["__typename"]: float(e["timestamp"]) / 1000 for e in reversed(events)}
        if status in ("FAILURE", "CANCELED"):
            sys.exit("The run failed:\n" + "\n".join(str(e.get("message")) for e in events))
        time.sleep(0.2)


def _launched(servers: Servers, log: Path) -> float:
    """When the launch was noted, just before Metaflow was started."""
    reports = Path(servers.environment["LAKEHOUSE_URI"]) / "_reports"
    [record] = reports.glob(f"*/{log.parents[1].name}/{RECORD}")
    return LaunchRecord.model_validate_json(record.read_bytes()).launched.timestamp()


def _task_started(log: Path) -> float:
    found = re.search(r"^(\S+ \S+) \[\S+/start/\S+ .*Task is starting", log.read_text(), re.M)
    assert found is not None
    return datetime.fromisoformat(f"{found[1]}+00:00").timestamp()


def report(found: Mapping[str, list[dict[str, float]]]) -> None:
    print(f"\nseconds, median of {len(next(iter(found.values())))} launches")
    print(f"{'':10}" + "".join(f"{name:>20}" for name in found))
    for phase, meaning in PHASES.items():
        medians = (statistics.median(one[phase] for one in runs) for runs in found.values())
        print(f"{phase:10}" + "".join(f"{value:20.2f}" for value in medians) + f"   {meaning}")
    for name, pick in (("total", statistics.median), ("slowest", max)):
        totals = (pick([sum(one.values()) for one in runs]) for runs in found.values())
        print(f"{name:10}" + "".join(f"{value:20.2f}" for value in totals))


if __name__ == "__main__":
    main()
