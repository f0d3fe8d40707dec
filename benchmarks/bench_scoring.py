"""Scoring: rows a second through read, features, forward and write, against the forward alone.

    python benchmarks/bench_scoring.py [--claims 200000]

The model is the default TabM, trained for one epoch: its speed is that of any other.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time

import numpy as np
import pyarrow as pa

from fraud_mlops.features.build import window_batches
from fraud_mlops.lakehouse.partitions import Lakehouse, by_partition
from fraud_mlops.models.candidates import Candidate, draw_candidates
from fraud_mlops.pipeline.ingesting import ingest, prepare
from fraud_mlops.pipeline.plan import plan_run
from fraud_mlops.pipeline.scoring import OUTPUTS, outputs
from fraud_mlops.pipeline.training import fit, training_claims


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--claims", type=int, default=200_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-scoring-") as folder:
        measure(options.claims, folder)


def measure(claims: int, folder: str) -> None:
    plan = plan_run("synthetic_claims", run="Bench/1", output_uri=folder, sample_size=claims)
    began = time.perf_counter()
    ingested = ingest(plan)
    read = time.perf_counter() - began
    began = time.perf_counter()
    features = prepare(plan, ingested)
    built = time.perf_counter() - began
    first = draw_candidates(1, 0)[0]
    quick = Candidate(name="quick", params=first.params.model_copy(update={"epochs": 1}))
    model, _ = fit(quick, training_claims(features).slice(0, 5_000), features, 1, lambda _: None)
    rows = features.windows["oot"].rows
    kept: list[pa.RecordBatch] = []
    size = 0
    for batch in window_batches(features, "oot"):
        kept.append(batch)
        size += batch.num_rows
        if size > 100_000:
            break
    matrices = [model.preprocessor.transform(batch) for batch in kept]
    began = time.perf_counter()
    logits = [model.matrix_logits(matrix) for matrix in matrices]
    forward = size / (time.perf_counter() - began)
    alerting = model.decided(None, float(np.quantile(np.concatenate(logits), 0.95)))
    began = time.perf_counter()
    scored = (outputs(alerting, "v", batch) for batch in window_batches(features, "oot"))
    lake = Lakehouse(folder)
    lake.write_sorted(
        "ml_outputs", "bench", "month", by_partition(scored, "event_time", "month"), OUTPUTS
    )
    whole = time.perf_counter() - began
    began = time.perf_counter()
    quiet = model.decided(None, None)
    for batch in window_batches(features, "oot"):
        outputs(quiet, "v", batch)
    unexplained = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(f"\n{claims:,} claims, {rows:,} of them scored; peak memory {peak:,.0f} MB")
    print(f"{'':40}{'rows/s':>12}{'of forward':>12}")
    for name, speed in (
        ("forward pass alone (baseline)", forward),
        ("read, preprocess, forward", rows / unexplained),
        ("the same, reasons for 5 %, write", rows / whole),
        ("generate, validate, write raw", claims / read),
        ("features of every claim", claims / built),
    ):
        print(f"{name:40}{speed:12,.0f}{speed / forward:12.2f}")


if __name__ == "__main__":
    main()
