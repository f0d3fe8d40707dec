"""Wall time and memory of the whole flow against the same library calls in one plain process.

    python benchmarks/bench_flow.py                      20,000 claims
    python benchmarks/bench_flow.py --claims 1000000

The plain process calls the functions that the steps call, one after the other, candidates too.
The flow pays for a process and artifacts a task, and gains from candidates side by side.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
FLOW = ROOT / "flows" / "fraud_detection_flow.py"


def plain(claims: int, root: str) -> None:
    """What the flow does, without the flow; a line a step."""
    from fraud_mlops.pipeline.choosing import Result, choose, refit_winner
    from fraud_mlops.pipeline.ingesting import ingest, prepare
    from fraud_mlops.pipeline.monitoring import monitor
    from fraud_mlops.pipeline.plan import plan_run
    from fraud_mlops.pipeline.publishing import publish
    from fraud_mlops.pipeline.scoring import score
    from fraud_mlops.pipeline.training import train_candidate
    from fraud_mlops.pipeline.validation import validate

    told = time.perf_counter()

    def tell(name: str) -> None:
        nonlocal told
        print(f"STEP {name} {time.perf_counter() - told:.2f}", flush=True)
        told = time.perf_counter()

    plan = plan_run("synthetic_claims", run="Plain/1", output_uri=root, sample_size=claims)
    tell("start")
    ingested = ingest(plan)
    tell("ingest")
    features = prepare(plan, ingested)
    tell("prepare")
    results = [Result(c, train_candidate(c, features, print), None) for c in plan.candidates]
    tell("train")
    choice = choose(plan, features, results)
    tell("leaderboard")
    files, _ = refit_winner(choice, features, print)
    tell("refit")
    validated = validate(plan, features, ingested, files)
    tell("validate_oot")
    scores = score(plan, features, validated)
    tell("score")
    monitor(plan, features, validated, scores)
    tell("monitor")
    publish(plan, ingested, features, choice, validated)
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


def compare(claims: int) -> None:
    with tempfile.TemporaryDirectory(prefix="bench-flow-") as name:
        folder = Path(name)
        own = [sys.executable, __file__, "--plain", "--claims", str(claims), "--root"]
        plain_seconds, plain_memory, text = watched([*own, str(folder / "plain")], folder)
        options = ["--sample-size", str(claims), "--output-uri", str(folder / "flow")]
        command = [sys.executable, str(FLOW), "run", *options]
        flow_seconds, flow_memory, _ = watched(command, folder)
    cores = len(os.sched_getaffinity(0))
    print(f"\n{claims:,} claims, 4 candidates, {cores} cores")
    print(f"{'':28}{'seconds':>9}{'ratio':>8}{'peak MB':>9}")
    print(f"{'plain process (baseline)':28}{plain_seconds:9.1f}{1:8.2f}{plain_memory:9.0f}")
    ratio = flow_seconds / plain_seconds
    print(f"{'FraudDetectionFlow':28}{flow_seconds:9.1f}{ratio:8.2f}{flow_memory:9.0f}")
    print("\nwhere the plain process spends it")
    for line in text.splitlines():
        if line.startswith("STEP "):
            _, step, seconds = line.split()
            print(f"  {step:14}{float(seconds):9.2f} s{float(seconds) / plain_seconds:8.0%}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--claims", type=int, default=20_000)
    parser.add_argument("--plain", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--root", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.plain:
        plain(options.claims, options.root)
    else:
        compare(options.claims)


if __name__ == "__main__":
    main()
