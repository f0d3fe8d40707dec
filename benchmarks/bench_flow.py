"""Wall time and memory of the whole flow against the same library calls in one plain process.

    python benchmarks/bench_flow.py                      20,000 claims
    python benchmarks/bench_flow.py --claims 1000000 --rounds 1 --quick

The plain process calls the functions that the steps call, one after the other, candidates too:
once with the one thread that a candidate's task has, once with all cores for every candidate.
The quicker of the two is the baseline. The flow pays for a process and artifacts a task, and
gains from candidates side by side. Contenders take turns; a ratio is the median over the rounds.
--quick trains two light candidates instead of the four defaults, and leaves out the baseline with
all cores: less training to hide the flow's own cost behind.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
FLOW = ROOT / "flows" / "fraud_detection_flow.py"
CORES = len(os.sched_getaffinity(0))
ONE_CORE, ALL_CORES = "plain process, one core", "plain process, all cores"
FLOW_NAME = "FraudDetectionFlow"
QUICK = """\
- {name: mlp-1, family: mlp, seed: 1}
- {name: logistic-1, family: logistic, seed: 2}
"""
_TASK = re.compile(
    r"^(?P<at>\S+ \S+) \[\d+/(?P<step>\w+)/\d+ .*Task (?P<what>is starting|finished)", re.M
)


class Measured(NamedTuple):
    """seconds: wall time. megabytes: peak of the process and all its children. steps: seconds."""

    seconds: float
    megabytes: float
    steps: dict[str, float]


def plain(claims: int, root: str, threads: int, candidates: str | None) -> None:
    """What the flow does, without the flow; a line a step."""
    from fraud_mlops.pipeline import training
    from fraud_mlops.pipeline.choosing import Result, choose, refit_winner
    from fraud_mlops.pipeline.ingesting import ingest, prepare
    from fraud_mlops.pipeline.leading import leader_to_be
    from fraud_mlops.pipeline.monitoring import monitor
    from fraud_mlops.pipeline.plan import plan_run
    from fraud_mlops.pipeline.publishing import keep_bundle, publish
    from fraud_mlops.pipeline.scoring import score
    from fraud_mlops.pipeline.validation import validate

    training.CANDIDATE_THREADS = threads
    told = time.perf_counter()

    def tell(name: str) -> None:
        nonlocal told
        print(f"STEP {name} {time.perf_counter() - told:.2f}", flush=True)
        told = time.perf_counter()

    plan = plan_run(
        "synthetic_claims",
        run="Plain/1",
        output_uri=root,
        sample_size=claims,
        candidates_file=candidates,
    )
    tell("start")
    ingested = ingest(plan)
    tell("ingest")
    features = prepare(plan, ingested)
    tell("prepare")
    trained = [training.train_candidate(c, features, print) for c in plan.candidates]
    tell("train")
    results = [Result(t.candidate, t, None) for t in trained]
    choice = choose(plan, features, results)
    tell("leaderboard")
    files, log = refit_winner(plan, choice, features, print)
    tell("refit")
    validated = validate(plan, features, ingested, files)
    tell("validate_oot")
    keep_bundle(plan, ingested, features, choice, log, validated)
    scores = score(plan, features, leader_to_be(plan, features, validated))
    tell("score")
    monitor(plan, features, leader_to_be(plan, features, validated), scores)
    tell("monitor")
    publish(plan, validated)
    tell("publish")


def watched(command: list[str], folder: Path) -> tuple[float, float, str]:
    """Seconds, peak memory of the process and all its children in MB, and output."""
    import psutil

    environment = os.environ | {
        "METAFLOW_DATASTORE_SYSROOT_LOCAL": str(folder / "metaflow"),
        "METAFLOW_HOME": str(folder / "home"),
    }
    began, peak = time.perf_counter(), 0
    with (folder / "output").open("w+") as output:
        process = psutil.Popen(command, cwd=folder, env=environment, stdout=output, stderr=output)
        while process.poll() is None:
            peak = max(peak, _memory(process))
            time.sleep(0.5)  # a look at every page of every process costs some milliseconds
        seconds = time.perf_counter() - began
        output.seek(0)
        text = output.read()
    if process.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{text[-3000:]}")
    return seconds, peak / 1e6, text


def _memory(process: object) -> int:
    """Proportional set size: pages that processes share count once."""
    import psutil

    total = 0
    for one in (process, *process.children(recursive=True)):  # type: ignore[attr-defined]
        try:
            total += one.memory_full_info().pss
        except psutil.Error:
            continue
    return total


def run_plain(claims: int, threads: int, quick: bool) -> Measured:
    with tempfile.TemporaryDirectory(prefix="bench-flow-") as name:
        options = ["--claims", str(claims), "--root", f"{name}/lake", "--threads", str(threads)]
        command = [sys.executable, __file__, "--plain", *options, *_candidates(Path(name), quick)]
        seconds, megabytes, text = watched(command, Path(name))
    told = (line.split() for line in text.splitlines() if line.startswith("STEP "))
    return Measured(seconds, megabytes, {step: float(took) for _, step, took in told})


def _candidates(folder: Path, quick: bool) -> list[str]:
    if not quick:
        return []
    file = folder / "candidates.yaml"
    file.write_text(QUICK)
    return ["--candidates-file", str(file)]


def run_flow(claims: int, quick: bool) -> Measured:
    with tempfile.TemporaryDirectory(prefix="bench-flow-") as name:
        options = ["--sample-size", str(claims), "--output-uri", f"{name}/lake"]
        options += _candidates(Path(name), quick)
        seconds, megabytes, text = watched([sys.executable, str(FLOW), "run", *options], Path(name))
    return Measured(seconds, megabytes, dict(_steps(text)))


def _steps(text: str) -> Iterator[tuple[str, float]]:
    """From the start of a step's first task to the end of its last one."""
    spans: dict[str, list[datetime]] = {}
    for line in _TASK.finditer(text):
        spans.setdefault(line["step"], []).append(datetime.fromisoformat(line["at"]))
    for step, moments in spans.items():
        yield step, (max(moments) - min(moments)).total_seconds()


def compare(claims: int, rounds: int, quick: bool) -> None:
    contenders: dict[str, Callable[[], Measured]] = {
        ONE_CORE: lambda: run_plain(claims, 1, quick),
        ALL_CORES: lambda: run_plain(claims, CORES, quick),
        FLOW_NAME: lambda: run_flow(claims, quick),
    }
    if quick:
        del contenders[ALL_CORES]
    found: dict[str, list[Measured]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, work in contenders.items():
            found[name].append(work())
            print(f"{name}: {found[name][-1].seconds:.1f} s", flush=True)
    print(
        f"\n{claims:,} claims, {2 if quick else 4} candidates, {CORES} cores, "
        f"median of {rounds} round(s)"
    )
    print(f"{'':28}{'seconds':>9}{'ratio':>8}{'peak MB':>9}")
    medians = {name: statistics.median(run.seconds for run in runs) for name, runs in found.items()}
    baseline = min((name for name in found if name != FLOW_NAME), key=medians.__getitem__)
    for name, runs in found.items():
        pairs = zip(runs, found[baseline], strict=True)
        ratio = statistics.median(run.seconds / base.seconds for run, base in pairs)
        seconds = medians[name]
        print(f"{name:28}{seconds:9.1f}{ratio:8.2f}{max(run.megabytes for run in runs):9.0f}")
    report_steps(found)


def report_steps(found: dict[str, list[Measured]]) -> None:
    print("\nwhere it goes, seconds of the last round")
    print(f"{'':14}" + "".join(f"{name:>26}" for name in found))
    last = {name: runs[-1] for name, runs in found.items()}
    steps = last[FLOW_NAME].steps
    for step in steps:
        cells = (f"{run.steps.get(step, 0):26.1f}" for run in last.values())
        print(f"{step:14}" + "".join(cells))
    rest = (f"{run.seconds - sum(run.steps.values()):26.1f}" for run in last.values())
    print(f"{'between steps':14}" + "".join(rest))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--claims", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="two light candidates")
    parser.add_argument("--candidates-file", help=argparse.SUPPRESS)
    parser.add_argument("--plain", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--root", help=argparse.SUPPRESS)
    parser.add_argument("--threads", type=int, default=1, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.plain:
        plain(options.claims, options.root, options.threads, options.candidates_file)
    else:
        compare(options.claims, options.rounds, options.quick)


if __name__ == "__main__":
    main()
