"""What became of the scored claims: drift against training, performance on matured labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby
from operator import itemgetter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fraud_mlops.contract import AMOUNT, CLAIM_ID, EVENT_TIME, LABEL
from fraud_mlops.errors import LakehouseError
from fraud_mlops.features.build import FeatureSet, window_batches
from fraud_mlops.lakehouse.partitions import Lakehouse, Partition, by_partition
from fraud_mlops.models.fraud_model import FraudModel
from fraud_mlops.monitoring.drift import DriftReport, measure_drift
from fraud_mlops.monitoring.performance import (
    DayPrecision,
    PeriodPerformance,
    daily_precision_at_budget,
    mean_precision,
    performance_by_period,
)
from fraud_mlops.pipeline.metrics import METRICS, metric_table
from fraud_mlops.pipeline.plan import RunPlan
from fraud_mlops.pipeline.scoring import champion_to_be
from fraud_mlops.pipeline.validation import Validated
from fraud_mlops.pipeline.windows import column_or_none, labels_of, thinned

DRIFT_CLAIMS = 100_000
"""Claims of each window that drift is measured on, spread evenly over it."""


@dataclass(frozen=True)
class Monitored:
    """reference, current: the claims drift was measured on, for plots."""

    drift: tuple[DriftReport, ...]
    performance: tuple[PeriodPerformance, ...]
    partitions: tuple[Partition, ...]
    reference: pa.Table
    current: pa.Table


def monitor(
    plan: RunPlan, features: FeatureSet, validated: Validated, scores: Sequence[Partition]
) -> Monitored:
    """Measures drift and performance, and writes the metrics zone, a partition a scored one."""
    model, version = champion_to_be(plan, validated)
    lakehouse = Lakehouse(plan.output_uri)
    trained_on = pa.Table.from_batches(thinned(features, "train", DRIFT_CLAIMS))
    reference = _with_scores(model, _with_full_histories(features, trained_on))
    later = _with_scores(model, pa.Table.from_batches(thinned(features, "oot", DRIFT_CLAIMS)))
    drift = tuple(
        measure_drift(
            reference,
            current,
            numeric=features.numeric,
            categorical=features.categorical,
            limits=features.contract.drift,
            window=name,
            seed=plan.seed,
        )
        for name, current in _windows(features, later)
    )
    performance, daily = _performance(features, lakehouse, scores)
    rows = metric_table(version, validated, drift, performance, daily, scores)
    metadata = {"run": plan.run, "launch_id": plan.launch_id, "model_version": version}
    dataset, key = features.contract.name, features.contract.partition
    written = [
        lakehouse.write("metrics", dataset, key, value, table.to_batches(), METRICS, metadata)
        for value, table in rows.items()
    ]
    return Monitored(drift, performance, tuple(written), reference, later)


def _with_scores(model: FraudModel, claims: pa.Table) -> pa.Table:
    return claims.append_column("score", pa.array(model.logits(claims).astype(np.float64)))


def _with_full_histories(features: FeatureSet, claims: pa.Table) -> pa.Table:
    """Claims late enough to have a whole window of claims and of known labels behind them.

    Records begin somewhere, and until then histories grow whether or not anything has changed.
    All claims, where that would leave less than half of them.
    """
    contract = features.contract
    if not contract.entities:
        return claims
    full = features.split.train.start + timedelta(max(contract.windows)) + contract.label.delay
    moment = pa.scalar(full, pa.timestamp("us", "UTC"))
    late = claims.filter(pc.greater_equal(claims.column(EVENT_TIME), moment))
    return late if 2 * late.num_rows >= claims.num_rows else claims


def _windows(features: FeatureSet, later: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    """The OOT window, and what came after it, if anything did."""
    end = pa.scalar(features.split.oot.end, pa.timestamp("us", "UTC"))
    inside = pc.less(later.column(EVENT_TIME), end)
    yield "oot", later.filter(inside)
    after = later.filter(pc.invert(inside))
    if after.num_rows:
        yield "after_oot", after


def _performance(
    features: FeatureSet, lakehouse: Lakehouse, partitions: Sequence[Partition]
) -> tuple[tuple[PeriodPerformance, ...], float | None]:
    """Performance by period, and precision within the budget, day by day, on average.

    A partition at a time: scores stand beside the labels of the same claims, both ordered by
    time and id.
    """
    contract = features.contract
    names = [CLAIM_ID, EVENT_TIME, LABEL, *([AMOUNT] if contract.amount else [])]
    known = by_partition(
        window_batches(features, "oot", columns=names), EVENT_TIME, contract.partition
    )
    periods: list[PeriodPerformance] = []
    days: list[DayPrecision] = []
    for partition, (_, parts) in zip(partitions, groupby(known, itemgetter(0)), strict=True):
        claims = pa.Table.from_batches([part for _, part in parts])
        scored = lakehouse.read([partition], [CLAIM_ID, "score", "alert"])
        if not scored.column(CLAIM_ID).equals(claims.column(CLAIM_ID)):
            raise LakehouseError(
                f"{partition.uri}: these are not the scores of this run's claims; another run has "
                "scored in between. Start a new run."
            )
        labels = labels_of(claims).astype(np.float64)
        labels[labels < 0] = np.nan
        times = claims.column(EVENT_TIME).to_numpy(zero_copy_only=False)
        scores = scored.column("score").to_numpy()
        periods += performance_by_period(
            times,
            labels,
            scores,
            scored.column("alert").to_numpy(zero_copy_only=False),
            column_or_none(claims, AMOUNT),
            period=contract.partition,
        )
        days += daily_precision_at_budget(times, labels, scores, budget=contract.alerts.budget).days
    return tuple(periods), mean_precision(days)
