"""How fast synthetic claims are made on one core, and in how much memory.

    python benchmarks/bench_generator.py [--claims 20000 1000000 10000000] [--repeat 5]

Each size runs in a process of its own, pinned to one core, so that its peak memory is its own.
`cold` is the first pass, with look-up tables and the calibration pilot still to make; `warm` is
the median of the passes after it. Two baselines run in the same process over the same rows:

- numpy draws: one `Generator.random` float64 a row for each generated column (PCG64),
- Arrow from ready arrays: the same columns put into Arrow from arrays that exist already, ids
  taken from a pool of ready strings. No generator with these columns can do without either.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa

from fraud_mlops.sources import SyntheticSource
from fraud_mlops.synthetic import claims_schema, generate, truth_schema

BATCH = 65_536


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def seconds(work: Callable[[], int], claims: int) -> float:
    began = time.perf_counter()
    done = work()
    took = time.perf_counter() - began
    assert done == claims, f"{done} rows instead of {claims}"
    return took


def generated(claims: int) -> int:
    source = SyntheticSource(
        kind="synthetic",
        claims=claims,
        start="2022-01-01",
        end="2025-01-01",
        drift_from="2024-10-01",
    )
    return sum(chunk.claims.num_rows for chunk in generate(source))


def batch_sizes(claims: int) -> Iterator[int]:
    for start in range(0, claims, BATCH):
        yield min(BATCH, claims - start)


def numpy_draws(claims: int) -> int:
    rng = np.random.default_rng(0)
    columns = len(claims_schema()) + len(truth_schema())
    done = 0
    for rows in batch_sizes(claims):
        for _ in range(columns):
            drawn = rng.random(rows)
        done += len(drawn)
    return done


def arrow_from_ready_arrays(claims: int) -> Callable[[], int]:
    rng = np.random.default_rng(0)
    ids = pa.array([f"CLM-{i:012d}" for i in range(BATCH)])
    entities = pa.array([f"PLH-{i:08d}" for i in range(min(claims, 300_000))])
    words = pa.array([f"category_{i}" for i in range(8)])
    number, order = rng.random(BATCH), np.arange(BATCH, dtype=np.int32)
    entity = rng.integers(0, len(entities), BATCH, np.int32)
    code = rng.integers(0, len(words), BATCH, np.int8)
    label, stamp = (code > 6).astype(np.int8), np.arange(BATCH, dtype=np.int64)

    def column(field: pa.Field, rows: int) -> pa.Array:
        if field.name == "claim_id":
            return ids.take(pa.array(order[:rows]))
        if pa.types.is_string(field.type):
            long = field.name in ("policyholder", "vehicle", "provider", "agent")
            return (entities if long else words).take(pa.array((entity if long else code)[:rows]))
        if pa.types.is_timestamp(field.type):
            return pa.array(stamp[:rows]).view(field.type)
        return pa.array((label if pa.types.is_integer(field.type) else number)[:rows].copy())

    def work() -> int:
        done = 0
        for rows in batch_sizes(claims):
            for schema in (claims_schema(), truth_schema()):
                batch = pa.record_batch([column(field, rows) for field in schema], schema)
            done += batch.num_rows
        return done

    return work


def measure(claims: int, repeat: int) -> dict[str, float]:
    """Run in a child process: seconds of each contender and the generator's peak memory."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    pa.set_cpu_count(1)
    idle = peak_mb()
    cold = seconds(lambda: generated(claims), claims)
    peak = peak_mb()
    ready = arrow_from_ready_arrays(claims)
    times: dict[str, list[float]] = {"warm": [], "numpy": [], "arrow": []}
    for _ in range(repeat):  # taking turns, so that a busy neighbour slows all of them
        times["warm"].append(seconds(lambda: generated(claims), claims))
        times["numpy"].append(seconds(lambda: numpy_draws(claims), claims))
        times["arrow"].append(seconds(ready, claims))
    medians = {name: statistics.median(values) for name, values in times.items()}
    return medians | {"cold": cold, "worst": max(times["warm"]), "idle_mb": idle, "peak_mb": peak}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--claims", type=int, nargs="+", default=[20_000, 1_000_000, 10_000_000])
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measure(options.claims[0], options.repeat)))
        return
    print(f"One core. {platform.platform()}, Python {platform.python_version()}, ", end="")
    print(f"numpy {np.__version__}, pyarrow {pa.__version__}; median of {options.repeat}.\n")
    heads = (
        *("claims", "cold s", "warm s", "slowest s", "claims/s (warm)", "numpy draws s"),
        *("Arrow from ready arrays s", "time / numpy draws", "time / Arrow", "peak MB (idle)"),
    )
    print("| " + " | ".join(heads) + " |\n|" + "---:|" * len(heads))
    for claims in options.claims:
        child = [sys.executable, __file__, "--child", "--claims", str(claims)]
        child += ["--repeat", str(options.repeat)]
        got = json.loads(subprocess.run(child, check=True, capture_output=True, text=True).stdout)
        warm = got["warm"]
        cells = (
            f"{claims:,}",
            f"{got['cold']:.3f}",
            f"{warm:.3f}",
            f"{got['worst']:.3f}",
            f"{claims / warm:,.0f}",
            f"{got['numpy']:.3f}",
            f"{got['arrow']:.3f}",
            f"{warm / got['numpy']:.2f}",
            f"{warm / got['arrow']:.2f}",
            f"{got['peak_mb']:.0f} ({got['idle_mb']:.0f})",
        )
        print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
