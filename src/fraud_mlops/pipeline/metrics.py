"""The metrics zone: long format, one row a metric, slice and window."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from fraud_mlops.evaluation.oot import OotReport, Slice
from fraud_mlops.lakehouse.partitions import Partition
from fraud_mlops.monitoring.drift import DriftReport, FeatureDrift
from fraud_mlops.monitoring.performance import PeriodPerformance
from fraud_mlops.pipeline.validation import Validated

METRICS = pa.schema(
    [
        pa.field("dataset", pa.string(), nullable=False),
        pa.field("partition", pa.string(), nullable=False),
        pa.field("window", pa.string(), nullable=False),
        pa.field("slice", pa.string(), nullable=False),
        pa.field("metric", pa.string(), nullable=False),
        pa.field("value", pa.float64(), nullable=False),
        pa.field("low", pa.float64()),
        pa.field("high", pa.float64()),
        pa.field("model_version", pa.string(), nullable=False),
    ]
)
"""Key: all text columns together. slice: `all`, or `feature=value`; low, high: 95 % interval."""

_Row = dict[str, Any]


def metric_table(
    version: str,
    validated: Validated,
    drift: Sequence[DriftReport],
    performance: Sequence[PeriodPerformance],
    daily_precision: float | None,
    scores: Sequence[Partition],
) -> dict[str, pa.Table]:
    """Metrics by partition value. What concerns a whole window stands in the last partition."""
    last = scores[-1]
    by_value: dict[str, list[_Row]] = {p.value: [] for p in scores}
    for period in performance:
        by_value[period.period] += _performance_rows(period)
    by_value[last.value] += _oot_rows(validated)
    by_value[last.value] += _row("scored", "all", "daily_precision_at_budget", daily_precision)
    by_value[last.value] += [row for report in drift for row in _drift_rows(report)]
    return {
        value: pa.Table.from_pylist(
            [
                {"dataset": last.dataset, "partition": value, "model_version": version, **row}
                for row in rows
            ],
            schema=METRICS,
        )
        for value, rows in by_value.items()
    }


def _row(window: str, part: str, metric: str, value: float | None, **interval: Any) -> list[_Row]:
    """No row for a metric that is not defined."""
    if value is None or not math.isfinite(value):
        return []
    return [{"window": window, "slice": part, "metric": metric, "value": float(value), **interval}]


def _fields(window: str, part: str, source: Any, names: Sequence[str]) -> list[_Row]:
    return [row for name in names for row in _row(window, part, name, getattr(source, name))]


def _performance_rows(period: PeriodPerformance) -> list[_Row]:
    names = (
        "rows",
        "labelled",
        "frauds",
        "alerts",
        "precision_of_alerts",
        "recall_of_alerts",
        "value_detected",
        "average_precision",
    )
    return _fields("partition", "all", period, names)


def _oot_rows(validated: Validated) -> list[_Row]:
    report: OotReport = validated.report
    rows: list[_Row] = []
    for name, interval in report.metrics.items():
        rows += _row("oot", "all", name, interval.value, low=interval.low, high=interval.high)
    names = ("rows", "frauds", "alerts", "alert_share", "precision_of_alerts")
    rows += _fields("oot", "all", report, (*names, "recall_of_alerts", "value_detected"))
    rows += _row("oot", "all", "oracle_average_precision", validated.oracle_average_precision)
    for part in report.slices:
        rows += _slice_rows(part)
    return rows


def _slice_rows(part: Slice) -> list[_Row]:
    names = (
        "rows",
        "frauds",
        "alerts",
        "fraud_rate",
        "mean_probability",
        "average_precision",
        "roc_auc",
        "precision_of_alerts",
        "recall_of_alerts",
    )
    return _fields("oot", f"{part.feature}={part.value}", part, names)


def _drift_rows(report: DriftReport) -> Iterator[_Row]:
    window = f"drift_{report.window}"
    yield from _row(window, "all", "classifier_auc", report.classifier_auc)
    yield from _row(window, "all", "drifted_share", report.drifted_share)
    found: Sequence[FeatureDrift] = (*report.features, *([report.score] if report.score else []))
    for feature in found:
        names = ("psi", "ks", "js", "missing_reference", "missing_current")
        yield from _fields(window, f"feature={feature.feature}", feature, names)
