"""Scoring: rows a second through read, features, forward and write, against the forward alone.

    python benchmarks/bench_scoring.py                                  200,000 claims scored
    python benchmarks/bench_scoring.py --rows 1000000 10000000 --family logistic
                                                                        is memory flat?

The model is the default TabM (or another family's first candidate), trained for one epoch: its
speed is that of any other. Of the
generated claims the last 32 of 36 months are scored. Building and scoring run in a process each,
so that the peak memory of either is its own.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fraud_mlops.contract import Contract, DateSplit
from fraud_mlops.features.build import FeatureSet, window_batches
from fraud_mlops.lakehouse.partitions import Lakehouse
from fraud_mlops.lakehouse.periods import by_partition
from fraud_mlops.models.candidates import Candidate, draw_candidates
from fraud_mlops.models.fraud_model import FraudModel
from fraud_mlops.pipeline.ingesting import ingest, prepare
from fraud_mlops.pipeline.outputs import OUTPUTS, outputs
from fraud_mlops.pipeline.plan import plan_run
from fraud_mlops.pipeline.training import fit, training_claims

SCORED_SHARE = 32 / 36
FORWARD_ROWS = 100_000
DRAWN = 8  # among so many candidates every family stands
SPLIT = {
    "train": {"start": "2022-01-01", "end": "2022-02-15"},
    "validation": {"start": "2022-03-17", "end": "2022-04-01"},
    "oot": {"start": "2022-05-01", "end": "2024-10-01"},
}


def build(rows: int, root: Path, family: str) -> dict[str, float]:
    """Raw claims, their features and a model that alerts about one claim in twenty."""
    claims = round(rows / SCORED_SHARE)
    plan = plan_run("synthetic_claims", run="Bench/1", output_uri=str(root), sample_size=claims)
    contract: Contract = plan.contract.model_copy(update={"split": DateSplit.model_validate(SPLIT)})
    plan = plan.model_copy(update={"contract": contract})
    began = time.perf_counter()
    ingested = ingest(plan)
    read = time.perf_counter() - began
    after_read = peak_mb()
    began = time.perf_counter()
    features = prepare(plan, ingested)
    built = time.perf_counter() - began
    peak = peak_mb()
    first = next(c for c in draw_candidates(DRAWN, 0) if c.params.family == family)
    quick = Candidate(name="quick", params=first.params.model_copy(update={"epochs": 1}))
    model, _ = fit(quick, training_claims(features).slice(0, 5_000), features, 1, lambda _: None)
    logits = model.logits(next(window_batches(features, "oot")))
    model = model.decided(None, float(np.quantile(logits, 0.95)))
    (root / "features.json").write_text(features.model_dump_json())
    for name, data in model.to_files().items():
        (root / name).write_bytes(data)
    return {
        "claims": claims, "read": read, "built": built,
        "read_mb": after_read, "built_mb": peak,
    }  # fmt: skip


def score(root: Path) -> dict[str, float]:
    """Seconds a row of each way through the claims, from the least work to all of it."""
    features = FeatureSet.model_validate_json((root / "features.json").read_text())
    model = FraudModel.from_files({p.name: p.read_bytes() for p in root.iterdir() if p.is_file()})
    quiet = model.decided(None, None)
    result: dict[str, float] = {"idle_mb": peak_mb(), "forward": forward(model, features)}
    batches = window_batches(features, "oot")
    began = time.perf_counter()
    rows = sum(outputs(quiet, "v", batch, ()).num_rows for batch in batches)
    result["unexplained"] = (time.perf_counter() - began) / rows
    alerts = 0

    def counted() -> Iterator[pa.RecordBatch]:
        nonlocal alerts
        for batch in window_batches(features, "oot"):
            scored = outputs(model, "v", batch, ())
            alerts += int(np.count_nonzero(scored.column("alert").to_numpy(zero_copy_only=False)))
            yield scored

    began = time.perf_counter()
    parts = by_partition(counted(), "event_time", "month")
    Lakehouse(str(root)).write_sorted("ml_outputs", "bench", "month", parts, OUTPUTS)
    result["whole"] = (time.perf_counter() - began) / rows
    return result | {"rows": rows, "alerts": alerts / rows, "peak_mb": peak_mb()}


def forward(model: FraudModel, features: FeatureSet) -> float:
    """Seconds a row of the forward pass over inputs that lie ready; the better of two."""
    batches = window_batches(features, "oot")
    first = next(batches)
    ready = [model.preprocessor.transform(b) for b in chain([first], _up_to(batches, first))]
    rows = sum(len(matrix.numeric) for matrix in ready)
    seconds = []
    for _ in range(2):
        began = time.perf_counter()
        for matrix in ready:
            model.matrix_logits(matrix)
        seconds.append(time.perf_counter() - began)
    return min(seconds) / rows


def _up_to(batches: Iterator[pa.RecordBatch], first: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    rows = first.num_rows
    while rows < FORWARD_ROWS and (batch := next(batches, None)) is not None:
        rows += batch.num_rows
        yield batch


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def in_child(part: str, root: Path, rows: int, family: str) -> dict[str, float]:
    options = ["--part", part, "--root", str(root), "--rows", str(rows), "--family", family]
    with (root / "log").open("w") as log:
        done = subprocess.run([sys.executable, __file__, *options], stdout=log, stderr=log)
    text = (root / "log").read_text()
    if done.returncode:
        sys.exit(f"{part} failed:\n{text[-3000:]}")
    found: dict[str, float] = json.loads(text.splitlines()[-1])
    return found


def report(built: dict[str, float], scored: dict[str, float]) -> None:
    every, rows = built["claims"], scored["rows"]
    fastest = 1 / scored["forward"]
    through = scored["whole"] + built["built"] / every
    print(f"\n{rows:,} claims scored, {scored['alerts']:.1%} of them with reasons")
    print(f"{'':44}{'rows/s':>12}{'of forward':>12}{'peak MB':>10}")
    for name, speed, megabytes in (
        ("forward pass alone (baseline)", fastest, None),
        ("read, preprocess, forward", 1 / scored["unexplained"], None),
        ("the same, reasons for alerts, write", 1 / scored["whole"], scored["peak_mb"]),
        ("the same with histories built from raw", 1 / through, None),
        ("generate, validate, write raw", every / built["read"], built["read_mb"]),
        ("features of every claim", every / built["built"], built["built_mb"]),
    ):
        shown = f"{megabytes:10,.0f}" if megabytes else f"{'':>10}"
        print(f"{name:44}{speed:12,.0f}{speed / fastest:12.2f}{shown}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[200_000])
    parser.add_argument("--family", choices=["tabm", "mlp", "logistic"], default="tabm")
    parser.add_argument("--part", choices=["build", "score"], help=argparse.SUPPRESS)
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        parts: dict[str, Callable[[], Any]] = {
            "build": lambda: build(options.rows[0], options.root, options.family),
            "score": lambda: score(options.root),
        }
        print(json.dumps(parts[options.part]()))
        return
    print(f"{len(os.sched_getaffinity(0))} cores")
    for rows in options.rows:
        with tempfile.TemporaryDirectory(prefix="bench-scoring-") as name:
            built = in_child("build", Path(name), rows, options.family)
            report(built, in_child("score", Path(name), rows, options.family))


if __name__ == "__main__":
    main()
