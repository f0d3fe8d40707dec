"""What Dagster adds to a Metaflow run: the op that launches it against the same run by hand.

    python benchmarks/bench_dagster_overhead.py                     5 steps, a fan-out of 8
    python benchmarks/bench_dagster_overhead.py --flow fraud        the whole of FraudDetectionFlow
    python benchmarks/bench_dagster_overhead.py --partitions 1000   a backfill as one run
    python benchmarks/bench_dagster_overhead.py --peer PYTHON       beside metaflow-dagster

Dagster's time is that of its step, from STEP_START to STEP_SUCCESS, with a persistent instance.
They take turns, in another order each time, after one pair that is not counted. The ratio is the
median of the pairs' ratios. Beside it stands how long after its task's end an asset's event stands
in Dagster's log, by two clocks: since Metaflow recorded the end (`Task.finished_at`; a task makes
its cards after that), and since Metaflow's scheduler saw it ("Task finished successfully").

PYTHON has metaflow-dagster and Dagster installed; its time is that of `dagster job execute`, the
only way it has, so that Dagster's own start counts there.
"""

import argparse
import contextlib
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import dagster as dg

from dagster_metaflow import MetaflowFlow, MetaflowResource, metaflow_assets
from dagster_metaflow.backends.local import LocalBackend
from dagster_metaflow.parameters import to_arguments

ROOT = Path(__file__).parents[1]
OVERHEAD = Path(__file__).with_name("overhead_flow.py")
FRAUD = ROOT / "flows" / "fraud_detection_flow.py"
QUICK = """\
- {name: mlp-1, family: mlp, seed: 1}
- {name: logistic-1, family: logistic, seed: 2}
"""
FRAUD_ASSETS = ("raw_zone", "model_artifact", "ml_outputs", "metrics")
RECORDED_ENDS = """\
import json, sys
import metaflow
metaflow.namespace(None)
print(json.dumps({task: metaflow.Task(task).finished_at.timestamp() for task in sys.argv[1:]}))
"""
SEEN_END = re.compile(r"(\S+ \S+) \[([^/]+/[^/]+/[^/\] ]+)[^\]]*\] Task finished successfully\.")


@dataclass(frozen=True)
class Work:
    """A flow to run. parameters: by Python name. partitions: 0 for assets without."""

    file: Path
    assets: tuple[dg.AssetSpec, ...]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    partitions: int = 0

    @property
    def keys(self) -> list[str]:
        return [f"p{number}" for number in range(self.partitions)]


@dataclass(frozen=True)
class Measured:
    """seconds: of the run. events: of each materialization, its task and when it stood in Dagster's
    log. since_recorded, since_seen: seconds of each since its task's end."""

    seconds: float
    events: tuple[tuple[str, float], ...] = ()
    since_recorded: tuple[float, ...] = ()
    since_seen: tuple[float, ...] = ()


Contenders = dict[str, Callable[[Work, Path], Measured]]


def bare(work: Work, folder: Path) -> Measured:
    given = {"output_uri": str(folder / "lake"), **work.parameters}
    if work.partitions:
        given |= {"partition_start": work.keys[0], "partition_end": work.keys[-1]}
    options = to_arguments(MetaflowFlow(work.file).options(given))
    command = [sys.executable, str(work.file), "run", *options]
    return Measured(_timed(command, folder, _variables(folder)))


def through_dagster(work: Work, folder: Path) -> Measured:
    flow = MetaflowFlow(work.file, fixed=work.parameters)
    partitions = dg.StaticPartitionsDefinition(work.keys) if work.partitions else None

    @metaflow_assets(flow=flow, assets=work.assets, partitions_def=partitions, name="flow")
    def assets(context: dg.AssetExecutionContext, metaflow: MetaflowResource) -> Iterator[Any]:
        yield from metaflow.run(context, flow).stream()

    local = LocalBackend(working_directory=str(folder), environment=_variables(folder))
    resource = MetaflowResource(ledger_root=str(folder / "lake"), local=local)
    return _later(_materialized(assets, work, folder, {"metaflow": resource}), folder)


def dagster_alone(work: Work, folder: Path) -> Measured:
    """The same events for the same partitions, and no run behind them."""

    @dg.multi_asset(
        specs=work.assets,
        partitions_def=dg.StaticPartitionsDefinition(work.keys),
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def assets() -> Iterator[dg.MaterializeResult[Any]]:
        for spec in work.assets:
            yield dg.MaterializeResult(spec.key, metadata={"metaflow_run": "none"})

    return _materialized(assets, work, folder, {})


def _materialized(
    assets: dg.AssetsDefinition, work: Work, folder: Path, resources: Mapping[str, Any]
) -> Measured:
    tags = {}
    if work.partitions:
        tags["dagster/asset_partition_range_start"] = work.keys[0]
        tags["dagster/asset_partition_range_end"] = work.keys[-1]
    with dg.DagsterInstance.local_temp(str(folder)) as instance, _quiet(folder):
        result = dg.materialize([assets], instance=instance, resources=resources, tags=tags)
        return _of_events(instance, result.run_id)


def _of_events(instance: dg.DagsterInstance, run: str) -> Measured:
    seconds, events = 0.0, []
    for entry in instance.all_logs(run):
        event = entry.dagster_event
        if event is None:
            continue
        if event.event_type is dg.DagsterEventType.STEP_SUCCESS:
            seconds += entry.timestamp
        elif event.event_type is dg.DagsterEventType.STEP_START:
            seconds -= entry.timestamp
        elif event.is_step_materialization:
            task = event.step_materialization_data.materialization.metadata["metaflow_run"].value
            events.append((str(task), entry.timestamp))
    return Measured(seconds, tuple(events))


def _later(measured: Measured, folder: Path) -> Measured:
    """With the seconds since the ends of tasks, as Metaflow has them."""
    tasks = sorted({task for task, _ in measured.events})
    told = subprocess.run(
        [sys.executable, "-c", RECORDED_ENDS, *tasks],
        cwd=folder,
        env=os.environ | _variables(folder),
        capture_output=True,
        text=True,
        check=True,
    )
    recorded: dict[str, float] = json.loads(told.stdout.splitlines()[-1])
    seen = _seen_ends(folder, tasks[0].partition("/")[0])
    return replace(
        measured,
        since_recorded=tuple(at - recorded[task] for task, at in measured.events),
        since_seen=tuple(at - seen[task] for task, at in measured.events),
    )


def _seen_ends(folder: Path, flow: str) -> dict[str, float]:
    """By task, from the scheduler's log."""
    [log] = folder.glob("**/metaflow_launches/*/*/log")
    lines = (SEEN_END.fullmatch(line) for line in log.read_text().splitlines())
    return {
        f"{flow}/{line[2]}": datetime.fromisoformat(line[1]).timestamp()
        for line in lines
        if line is not None
    }


def peer(python: str) -> Callable[[Work, Path], Measured]:
    """metaflow-dagster: a definitions file is generated, in which each task is an op."""

    def run(work: Work, folder: Path) -> Measured:
        made = folder / "generated.py"
        own = {"DAGSTER_HOME": str(folder), "PYTHONPATH": str(ROOT / "src")}
        environment = _variables(folder) | own
        _timed([python, str(work.file), "dagster", "create", str(made)], folder, environment)
        execute = ["-m", "dagster", "job", "execute", "-f", str(made), "-j", "OverheadFlow"]
        return Measured(_timed([python, *execute], folder, environment))

    return run


def _variables(folder: Path) -> dict[str, str]:
    return {
        "METAFLOW_DATASTORE_SYSROOT_LOCAL": str(folder / "metaflow"),
        "METAFLOW_HOME": str(folder / "metaflow_home"),
        "METAFLOW_USER": "bench",
    }


def _timed(command: list[str], folder: Path, environment: Mapping[str, str]) -> float:
    began = time.perf_counter()
    done = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | dict(environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    seconds = time.perf_counter() - began
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{(done.stdout + done.stderr)[-3000:]}")
    return seconds


@contextlib.contextmanager
def _quiet(folder: Path) -> Iterator[None]:
    """Dagster's console log, and the run's lines, go to a file."""
    sys.stdout.flush()
    kept = {number: os.dup(number) for number in (1, 2)}
    with (folder / "console").open("w") as console:
        for number in kept:
            os.dup2(console.fileno(), number)
        try:
            yield
        finally:
            for number, before in kept.items():
                os.dup2(before, number)
                os.close(before)


def compare(work: Work, contenders: Contenders, pairs: int) -> None:
    found: dict[str, list[Measured]] = {name: [] for name in contenders}
    for turn in range(-1, pairs):
        order = list(contenders) if turn % 2 else list(reversed(list(contenders)))
        for name in order:
            with tempfile.TemporaryDirectory(prefix="bench-overhead-") as folder:
                measured = contenders[name](work, Path(folder))
            load = os.getloadavg()[0]
            print(f"{name}: {measured.seconds:.2f} s (load {load:.1f})", flush=True)
            if turn >= 0:
                found[name].append(measured)
    report(found, work.partitions)


def report(found: Mapping[str, list[Measured]], partitions: int) -> None:
    """The first contender is what the others are compared with."""
    first = next(iter(found.values()))
    ends = f"{'since recorded end':>22}{'since seen end':>22}"
    print(f"\nmedian of {len(first)} turns\n{'':18}{'seconds':>10}{'ratio':>8}{ends}")
    for name, runs in found.items():
        seconds = statistics.median(run.seconds for run in runs)
        ratios = [b.seconds / a.seconds for a, b in zip(first, runs, strict=True)]
        recorded = _told([one for run in runs for one in run.since_recorded])
        seen = _told([one for run in runs for one in run.since_seen])
        print(f"{name:18}{seconds:10.2f}{statistics.median(ratios):8.2f}{recorded:>22}{seen:>22}")
        if partitions:
            print(f"{'':18}{1000 * seconds / partitions:10.2f} ms a partition of two assets")


def _told(later: list[float]) -> str:
    return f"{statistics.median(later):.2f}, most {max(later):.2f} s" if later else ""


def _work(options: argparse.Namespace, folder: Path) -> Work:
    if options.flow == "toy":
        specs = (dg.AssetSpec("parts"), dg.AssetSpec("whole"))
        return Work(OVERHEAD, specs, partitions=options.partitions)
    candidates = folder / "candidates.yaml"
    candidates.write_text(QUICK)
    names = [["synthetic_claims", name] for name in FRAUD_ASSETS]
    given = {"sample_size": options.claims, "candidates_file": str(candidates)}
    return Work(FRAUD, tuple(map(dg.AssetSpec, names)), given)


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--flow", choices=("toy", "fraud"), default="toy")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--claims", type=int, default=5_000, help="for --flow fraud")
    parser.add_argument("--partitions", type=int, default=0, help="for the toy, as one run")
    parser.add_argument("--peer", metavar="PYTHON", help="for the toy, without partitions")
    options = parser.parse_args()
    contenders: Contenders = {
        "bare Metaflow": bare,
        "Dagster's step": through_dagster,
    }
    if options.partitions:
        contenders["Dagster alone"] = dagster_alone
    if options.peer:
        contenders["metaflow-dagster"] = peer(options.peer)
    with tempfile.TemporaryDirectory(prefix="bench-overhead-") as folder:
        compare(_work(options, Path(folder)), contenders, options.pairs)


if __name__ == "__main__":
    main()
