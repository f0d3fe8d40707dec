"""How fast features are built, and in how much memory.

    python benchmarks/bench_features.py [--claims 20000 1000000] [--small 2000] [--repeat 3]

1. `build_features` on generated claims (4 entities, windows of 1, 7, 30 and 90 days, 116 derived
   features), raw partitions to feature files. Each size in a process of its own, so that its
   peak memory is its own. "histories" is the part between sorting and writing; CPU seconds, of
   all threads, tell what a busy neighbour had no part in. "last month" is `build_range` of that
   alone, with all months before it there.
2. The same histories against two other ways, at sizes that these can bear: pandas, one filter of
   all earlier claims per claim (all features of one entity); and DuckDB, one window function with
   a RANGE frame for each count, sum and label count (without distinct counterparties, which SQL
   has no window function for), all entities.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa

from fraud_mlops import catalog
from fraud_mlops.contract import Contract
from fraud_mlops.features.build import build_features, build_range, read_window
from fraud_mlops.features.feature_set import RANGE
from fraud_mlops.features.preprocessing import Preprocessor
from fraud_mlops.features.timeline import DAY, Timeline
from fraud_mlops.features.windows import (
    NEUTRAL_RATE,
    STRENGTH,
    entity_feature_names,
    entity_features,
    lookbacks,
)
from fraud_mlops.lakehouse.partitions import Lakehouse
from fraud_mlops.lakehouse.periods import by_partition
from fraud_mlops.lakehouse.ranges import PartitionRange
from fraud_mlops.settings import settings
from fraud_mlops.sources import SyntheticSource
from fraud_mlops.synthetic import claims_schema, generate

AS_OF = datetime(2025, 1, 1, tzinfo=UTC)
CONTRACT = catalog.load("synthetic_claims")


def measured(claims: int) -> dict[str, float]:
    """Run in a child process: seconds of each part of one build, and the peak memory."""
    with tempfile.TemporaryDirectory() as folder:
        lake = Lakehouse(folder)
        rows = by_partition(
            (chunk.claims for chunk in generate(_source(claims))), "event_time", CONTRACT.partition
        )
        raw = lake.write_sorted("raw", CONTRACT.name, "month", rows, claims_schema())
        idle = peak_mb()
        marks: list[float] = []
        began, cpu_before = time.perf_counter(), time.process_time()
        built = build_features(
            CONTRACT, lake, raw, launch_id="bench", as_of=AS_OF,
            progress=lambda _: marks.append(time.perf_counter() - began),
        )  # fmt: skip
        total = time.perf_counter() - began
        result = {
            "total": total,
            "cpu": time.process_time() - cpu_before,
            "sort": marks[0],
            "histories": marks[len(CONTRACT.entities)] - marks[0],
            "write": total - marks[len(CONTRACT.entities)],
            "idle_mb": idle,
            "peak_mb": peak_mb(),
            "file_mb": sum(file.bytes for file in built.windows.values()) / 2**20,
        }
        last = PartitionRange.of(raw[-1].value, None, CONTRACT.partition)
        began = time.perf_counter()
        month = build_range(
            CONTRACT, lake, raw, last, built.split, launch_id="month", as_of=AS_OF,
            progress=lambda _: None,
        )  # fmt: skip
        result |= {"month": time.perf_counter() - began, "month_rows": month.windows[RANGE].rows}
        train = read_window(built, "validation")
        began = time.perf_counter()
        preprocessor = Preprocessor.fit(train, built.numeric, built.categorical)
        result["fit_rows"] = train.num_rows / (time.perf_counter() - began)
        began = time.perf_counter()
        for batch in train.to_batches(65_536):
            preprocessor.transform(batch)
        result["transform_rows"] = train.num_rows / (time.perf_counter() - began)
        return result


def _source(claims: int) -> SyntheticSource:
    assert isinstance(CONTRACT.source, SyntheticSource)
    return CONTRACT.source.model_copy(update={"claims": claims})


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def arrays(claims: int) -> tuple[pd.DataFrame, Timeline, dict[str, np.ndarray]]:
    table = pa.Table.from_batches([chunk.claims for chunk in generate(_source(claims))]).sort_by(
        [("event_time", "ascending"), ("claim_id", "ascending")]
    )
    times = table["event_time"].cast(pa.int64()).to_numpy()
    known = table["label_time"].cast(pa.int64()).fill_null(0).to_numpy()
    delay = CONTRACT.label.delay.days * DAY
    codes = {
        name: table[name].combine_chunks().dictionary_encode().indices.to_numpy().astype(np.int32)
        for name in CONTRACT.entities
    }
    frame = pd.DataFrame(
        {
            "t": times,
            "known": np.maximum(known, times + delay),
            "label": table["label"].fill_null(-1).to_numpy().astype(np.int8),
            "amount": table["amount"].fill_null(float("nan")).to_numpy(),
        }
        | codes
    )
    timeline = Timeline.of(
        times, frame["label"].to_numpy(), frame["known"].to_numpy(), frame["amount"].to_numpy(),
        days=lookbacks(CONTRACT), neutral_rate=NEUTRAL_RATE, strength=STRENGTH,
    )  # fmt: skip
    return frame, timeline, codes


def ours(
    timeline: Timeline, codes: dict[str, np.ndarray], entities: list[str]
) -> dict[str, np.ndarray]:
    rows = np.arange(len(timeline))
    return {
        name: values
        for entity in entities
        for name, values in entity_features(CONTRACT, timeline, entity, rows, codes)
    }


def in_pandas(frame: pd.DataFrame, entity: str, contract: Contract = CONTRACT) -> pd.DataFrame:
    """One claim after another, each from its entity's earlier claims."""
    others = [name for name in contract.entities if name != entity]
    all_labels = frame[frame["label"] >= 0]
    groups = dict(list(frame.groupby(entity)))
    found = []
    for now, who in zip(frame["t"].tolist(), frame[entity].tolist(), strict=True):
        group = groups[who]
        past = group[group["t"] < now]
        known = all_labels[all_labels["known"] < now]["label"]
        prior = (known.sum() + STRENGTH * NEUTRAL_RATE) / (len(known) + STRENGTH)
        labels = group[(group["label"] >= 0) & (group["known"] < now)]
        within = past[past["t"] >= now - max(lookbacks(contract)) * DAY]
        row = {f"{entity}_days_since_last": (now - within["t"].max()) / DAY}
        for days in lookbacks(contract):
            seen = past[past["t"] >= now - days * DAY]
            row[f"{entity}_claims_{days}d"] = len(seen)
            row[f"{entity}_amount_sum_{days}d"] = seen["amount"].sum()
            row[f"{entity}_amount_mean_{days}d"] = seen["amount"].mean()
            for other in others:
                row[f"{entity}_distinct_{other}_{days}d"] = seen[other].nunique()
            recent = labels[labels["known"] >= now - days * DAY]["label"]
            lift = (recent.sum() + STRENGTH * prior) / (len(recent) + STRENGTH) / prior
            row[f"{entity}_fraud_lift_{days}d"] = lift
        found.append(row)
    return pd.DataFrame(found)


def in_duckdb(frame: pd.DataFrame, threads: int) -> None:
    """Claims and labels as events, a RANGE frame for each window; written to a table."""
    connection = duckdb.connect(config={"threads": threads})
    connection.register("claims", frame)
    for entity in CONTRACT.entities:
        measures = ("claim", "amount", "labelled", "fraud")
        columns = [f"sum({m}) OVER w{d}" for d in lookbacks(CONTRACT) for m in measures]
        windows = [
            f"w{d} AS (PARTITION BY e ORDER BY t RANGE BETWEEN {d * DAY} PRECEDING AND 1 PRECEDING)"
            for d in lookbacks(CONTRACT)
        ]
        connection.execute(
            f"""
            CREATE OR REPLACE TABLE found AS SELECT claim, {", ".join(columns)} FROM (
                SELECT {entity} AS e, t, 1 AS claim, amount, 0 AS labelled, 0 AS fraud FROM claims
                UNION ALL
                SELECT {entity}, known, 0, 0, 1, label FROM claims WHERE label >= 0
            ) WINDOW {", ".join(windows)}
            """
        )


def seconds(work: Callable[[], object], repeat: int) -> float:
    times = []
    for _ in range(repeat):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def compare(small: int, large: int, repeat: int) -> None:
    frame, timeline, codes = arrays(small)
    fast = ours(timeline, codes, ["provider"])
    slow = in_pandas(frame, "provider")
    for name, values in fast.items():
        np.testing.assert_allclose(values, slow[name], rtol=1e-5, atol=1e-4, err_msg=name)
    ours_s = seconds(lambda: ours(timeline, codes, ["provider"]), repeat)
    pandas_s = seconds(lambda: in_pandas(frame, "provider"), 1)
    rows = [(small, "pandas, claim by claim (1 entity)", ours_s, pandas_s)]
    frame, timeline, codes = arrays(large)
    ours_s = seconds(lambda: ours(timeline, codes, list(CONTRACT.entities)), repeat)
    duckdb_s = seconds(lambda: in_duckdb(frame, settings().threads), 1)
    rows.append((large, "DuckDB RANGE windows (4 entities)", ours_s, duckdb_s))
    print("\n| claims | other way | ours s | other s | other / ours |\n|---:|---|---:|---:|---:|")
    for claims, name, mine, other in rows:
        print(f"| {claims:,} | {name} | {mine:.3f} | {other:.2f} | {other / mine:,.0f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--claims", type=int, nargs="+", default=[20_000, 1_000_000])
    parser.add_argument("--small", type=int, default=2_000, help="claims for pandas")
    parser.add_argument("--large", type=int, default=200_000, help="claims for DuckDB windows")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measured(options.claims[0])))
        return
    names = len(entity_feature_names(CONTRACT))
    print(
        f"{platform.platform()}, Python {platform.python_version()}, numpy {np.__version__}, ",
        end="",
    )
    print(f"duckdb {duckdb.__version__}, {settings().threads} threads; {names} derived features.\n")
    heads = (
        *("claims", "seconds", "CPU s", "claims/s", "sort s", "histories s", "write s", "files MB"),
        *("last month s (claims)", "peak MB (before)", "fit rows/s", "transform rows/s"),
    )
    print("| " + " | ".join(heads) + " |\n|" + "---:|" * len(heads))
    for claims in options.claims:
        child = [sys.executable, __file__, "--child", "--claims", str(claims)]
        runs = [
            json.loads(subprocess.run(child, check=True, capture_output=True, text=True).stdout)
            for _ in range(options.repeat)
        ]
        got = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        cells = (
            *(
                f"{claims:,}",
                f"{got['total']:.2f}",
                f"{got['cpu']:.2f}",
                f"{claims / got['total']:,.0f}",
            ),
            *(f"{got[part]:.2f}" for part in ("sort", "histories", "write")),
            *(f"{got['file_mb']:.0f}", f"{got['month']:.2f} ({got['month_rows']:,.0f})"),
            *(
                f"{got['peak_mb']:.0f} ({got['idle_mb']:.0f})",
                f"{got['fit_rows']:,.0f}",
                f"{got['transform_rows']:,.0f}",
            ),
        )
        print("| " + " | ".join(cells) + " |", flush=True)
    compare(options.small, options.large, options.repeat)


if __name__ == "__main__":
    main()
