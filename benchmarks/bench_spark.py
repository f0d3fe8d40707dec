"""The Spark engine against the local one (DuckDB and arrays): features and scores.

    python benchmarks/bench_spark.py                                    100,000 and 1,000,000 claims
    python benchmarks/bench_spark.py --claims 10000000 --cores 1 2 4    when does Spark pay?

Raw claims are generated once a size. Then each engine builds the features of all windows
and scores every claim from the out-of-time window on, with a light model, in a process of its own:
seconds of each part, Spark's start among them, CPU seconds, and the most memory, with all children.
What both wrote is compared: rows of each window, and the score of every claim.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.compute as pc
import pyspark

from fraud_mlops.features.build import FeatureSet, read_window
from fraud_mlops.lakehouse.partitions import Lakehouse, Partition
from fraud_mlops.models.candidates import Candidate
from fraud_mlops.models.fraud_model import FraudModel
from fraud_mlops.models.params import LogisticParams
from fraud_mlops.pipeline.ingesting import ingest, prepare
from fraud_mlops.pipeline.leading import Leader
from fraud_mlops.pipeline.plan import RunPlan, plan_run
from fraud_mlops.pipeline.ranges import pin_raw
from fraud_mlops.pipeline.scoring import score
from fraud_mlops.pipeline.training import fit, training_claims

MODEL = "bench-model"
ENGINES = ("local", "spark")
LOOKS = 0.2  # seconds between two looks at memory
TOLERANCE = 1e-6  # of a claim's score


def plan_of(root: Path, engine: str, claims: int | None = None) -> RunPlan:
    return plan_run(
        "synthetic_claims", run=f"Bench/{engine}", output_uri=str(root), engine=engine,
        sample_size=claims, candidates=None,
    )  # fmt: skip


def make(root: Path, claims: int) -> dict[str, float]:
    """Raw claims of that number, and a light model of few of them, which alerts some."""
    ingest(plan_of(root, "local", claims))
    with tempfile.TemporaryDirectory() as folder:
        plan = plan_of(Path(folder), "local", 5_000)
        features = prepare(plan, ingest(plan))
        quick = Candidate(name="line", params=LogisticParams(epochs=1))
        model, _ = fit(quick, training_claims(features), features, 1, lambda _: None)
        logits = sorted(model.logits(read_window(features, "oot")))
        model = model.decided(None, float(logits[int(0.95 * len(logits))]))
    for name, data in model.to_files().items():
        (root / MODEL).mkdir(exist_ok=True)
        (root / MODEL / name).write_bytes(data)
    return {}


def measured(root: Path, engine: str) -> dict[str, object]:
    plan = plan_of(root, engine)
    raw = pin_raw(plan)
    began = time.perf_counter()
    features = prepare(plan, raw)
    built = time.perf_counter()
    scores = score(plan, features, leader(root, features))
    ended = time.perf_counter()
    keep_scores(Lakehouse(plan.output_uri), scores, root / f"{engine}.arrow")
    return {
        "rows": [file.rows for file in features.windows.values()],
        "scored": sum(partition.rows for partition in scores),
        "features_s": built - began,
        "score_s": ended - built,
    }


def keep_scores(lakehouse: Lakehouse, scores: Sequence[Partition], file: Path) -> None:
    """Ids and scores as they lie in the partitions, which the next engine replaces."""
    schema = pa.schema([("claim_id", pa.string()), ("score", pa.float64())])
    with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        for batch in lakehouse.batches(scores, schema.names):
            writer.write_batch(pa.RecordBatch.from_arrays(batch.columns, schema=schema))


def most_apart(root: Path) -> float:
    """The largest difference of a claim's two scores; infinite where the claims differ."""
    with contextlib.ExitStack() as opened:
        files = [opened.enter_context(pa.memory_map(str(root / f"{e}.arrow"))) for e in ENGINES]
        local, spark = (pa.ipc.open_file(file).read_all() for file in files)
        if not local["claim_id"].equals(spark["claim_id"]):
            return math.inf
        return float(pc.max(pc.abs(pc.subtract(local["score"], spark["score"]))).as_py())


def leader(root: Path, features: FeatureSet) -> Leader:
    files = {path.name: path.read_bytes() for path in (root / MODEL).iterdir()}
    until = features.split.validation.end
    return Leader(FraudModel.from_files(files), "bench", until, features.split, None, None, None)


def in_child(root: Path, part: str, claims: int, cores: int) -> dict[str, float]:
    """What the child measured, with the most memory that it and its children had."""
    environment = os.environ | {
        "FRAUD_SPARK_MASTER": f"local[{cores},4]", "FRAUD_THREADS": str(cores),
    }  # fmt: skip
    command = [sys.executable, __file__, "--part", part, "--root", str(root)]
    with (root / "log").open("w") as log:
        child = subprocess.Popen(
            [*command, "--claims", str(claims)], stdout=log, stderr=log, env=environment
        )
        watched = _Watched(child)
        watcher = threading.Thread(target=watched.watch)
        watcher.start()
        child.wait()
        watcher.join()
    text = (root / "log").read_text()
    if child.returncode:
        sys.exit(f"{part} failed:\n{text[-3000:]}")
    found: dict[str, float] = json.loads(text.splitlines()[-1])
    return found | {"peak_mb": watched.peak_mb, "cpu_s": sum(watched.cpu.values())}


class _Watched:
    """The most memory of a process with its children (pages that they share count twice), and CPU
    seconds by process, which tell what a busy neighbour had no part in."""

    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        self.child = child
        self.peak_mb = 0.0
        self.cpu: dict[int, float] = {}

    def watch(self) -> None:
        while self.child.poll() is None:
            with contextlib.suppress(psutil.NoSuchProcess):
                root = psutil.Process(self.child.pid)
                family = [root, *root.children(recursive=True)]
                self.peak_mb = max(self.peak_mb, sum(p.memory_info().rss for p in family) / 1e6)
                for process in family:
                    times = process.cpu_times()
                    self.cpu[process.pid] = times.user + times.system
            time.sleep(LOOKS)


def compare(claims: int, cores: int) -> None:
    with tempfile.TemporaryDirectory(prefix="bench-spark-") as folder:
        root = Path(folder)
        in_child(root, "make", claims, cores)
        found = {engine: in_child(root, engine, claims, cores) for engine in ENGINES}
        same = found["local"]["rows"] == found["spark"]["rows"]
        close = most_apart(root) < TOLERANCE
    for engine, got in found.items():
        total = got["features_s"] + got["score_s"]
        cells = (
            *(f"{claims:,}", str(cores), engine),
            *(f"{got['features_s']:.1f}", f"{got['score_s']:.1f}", f"{total:.1f}"),
            *(
                f"{got['cpu_s']:.0f}",
                f"{claims / total:,.0f}",
                f"{got['peak_mb']:,.0f}",
                "yes" if same and close else "NO",
            ),
        )
        print("| " + " | ".join(cells) + " |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--claims", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--cores", type=int, nargs="+", default=[len(os.sched_getaffinity(0))])
    parser.add_argument("--part", choices=["make", "local", "spark"], help=argparse.SUPPRESS)
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        made = options.part == "make"
        result = (
            make(options.root, options.claims[0]) if made else measured(options.root, options.part)
        )
        print(json.dumps(result))
        return
    print(f"PySpark {pyspark.__version__}, {len(os.sched_getaffinity(0))} cores on this machine\n")
    heads = ("claims", "cores", "engine", "features s", "score s", "together", "CPU s", "claims/s",
             "peak MB", "equal")  # fmt: skip
    print("| " + " | ".join(heads) + " |\n|" + "---:|" * len(heads))
    for claims in options.claims:
        for cores in options.cores:
            compare(claims, cores)


if __name__ == "__main__":
    main()
