"""The metrics zone: long format, one row a metric, slice and window."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from fraud_mlops.contract import MODEL_SCORE, Contract
from fraud_mlops.evaluation.oot import Slice
from fraud_mlops.lakehouse.ranges import partition_of
from fraud_mlops.limits import Drift
from fraud_mlops.moments import TICK
from fraud_mlops.monitoring.drift_report import DRIFT_VERDICTS, DriftReport, FeatureDrift
from fraud_mlops.monitoring.performance import PeriodPerformance
from fraud_mlops.monitoring.served import ServedReport
from fraud_mlops.monitoring.windows import SERVED
from fraud_mlops.pipeline.leading import Leader
from fraud_mlops.pipeline.outcomes import Outcomes, in_sample

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
"""Key: all text columns together. slice: `all`, or `feature=value`; low, high: 95 % interval.

window: `partition`, or `in_sample` where the model may have learnt from its claims; `oot` and
`after_oot`, the latter as at the fraud rate of the former, but for `prevalence`; `scored`, all that
was; `drift_partition`, `drift_oot`, `drift_after_oot`; `served`, what the API answered on the
partition's claims. `verdict` of a drift window, beside the limits of
PSI that it was found by, and `verdict_training` and `verdict_batch` of served scores are numbers of
DRIFT_VERDICTS; with too few claims to judge there is no such row. `labelled_frauds` and
`needed_frauds` of `after_oot` say whether decay is judged."""


_Row = dict[str, Any]


def metric_table(
    contract: Contract,
    leader: Leader,
    drift: Sequence[DriftReport],
    outcomes: Outcomes,
    values: Sequence[str],
) -> dict[str, pa.Table]:
    """Metrics by partition value.

    values: of the partitions that were scored. What concerns all scored claims stands in the last
    one that has any. The OOT report of the model stands where its window ends, or in the last
    one when that lies within the window.
    """
    by_value: dict[str, list[_Row]] = {value: [] for value in values}
    for period in outcomes.performance:
        window = "in_sample" if in_sample(period.period, contract, leader) else "partition"
        by_value[period.period] += _performance_rows(window, period)
    for value, report in outcomes.drift.items():
        by_value[value] += _drift_rows(report, contract.drift)
    for value, served in outcomes.served.items():
        by_value[value] += _served_rows(served)
        by_value[value] += _row(SERVED, "all", "unreadable", len(outcomes.unreadable))
    if outcomes.performance:
        last = by_value[outcomes.performance[-1].period]
        last += _row("scored", "all", "daily_precision_at_budget", outcomes.daily_precision)
        last += _later_rows(contract, outcomes)
        last += [row for report in drift for row in _drift_rows(report, contract.drift)]
    if (place := _place_of_oot(contract, leader, values)) is not None:
        by_value[place] += _oot_rows(leader)
    return {value: _table(contract, leader, value, rows) for value, rows in by_value.items()}


def _place_of_oot(contract: Contract, leader: Leader, values: Sequence[str]) -> str | None:
    if leader.oot is None or not values:
        return None
    window = leader.oot.window
    begins, ends = (
        partition_of(moment, contract.partition) for moment in (window.start, window.end - TICK)
    )
    if ends in values:
        return ends
    return values[-1] if begins <= values[-1] < ends else None


def _table(contract: Contract, leader: Leader, value: str, rows: Sequence[_Row]) -> pa.Table:
    common = {"dataset": contract.name, "partition": value, "model_version": leader.version}
    return pa.Table.from_pylist([common | row for row in rows], schema=METRICS)


def _row(window: str, part: str, metric: str, value: float | None, **interval: Any) -> list[_Row]:
    """No row for a metric that is not defined."""
    if value is None or not math.isfinite(value):
        return []
    return [{"window": window, "slice": part, "metric": metric, "value": float(value), **interval}]


def _fields(window: str, part: str, source: Any, names: Sequence[str]) -> list[_Row]:
    return [row for name in names for row in _row(window, part, name, getattr(source, name))]


def _served_rows(served: ServedReport) -> list[_Row]:
    rows = _performance_rows(SERVED, served.performance) if served.performance else []
    counts = ("predictions", "by_model", "unmatched", "matched", "compared")
    rows += _fields(SERVED, "all", served, (*counts, "same_scores", "same_decisions", "most_apart"))
    if served.predictions:
        rows += _row(SERVED, "all", "alert_share", served.alerts / served.predictions)
    for beside in ("training", "batch"):
        drift: FeatureDrift | None = getattr(served, f"against_{beside}")
        if drift is not None:
            part, verdict = f"feature={MODEL_SCORE}", DRIFT_VERDICTS.get(drift.verdict)
            rows += _row(SERVED, part, f"psi_{beside}", drift.psi)
            rows += _row(SERVED, part, f"ks_{beside}", drift.ks)
            rows += _row(SERVED, part, f"verdict_{beside}", verdict)
    return rows


def _performance_rows(window: str, period: PeriodPerformance) -> list[_Row]:
    names = (
        "rows",
        "labelled",
        "frauds",
        "alerts",
        "labelled_alerts",
        "precision_of_alerts",
        "recall_of_alerts",
        "value_detected",
        "average_precision",
    )
    return _fields(window, "all", period, names)


def _later_rows(contract: Contract, outcomes: Outcomes) -> list[_Row]:
    """With what says whether they are judged at all."""
    rows: list[_Row] = []
    for name, found in outcomes.later.items():
        rows += _row("after_oot", "all", name, found.value, low=found.low, high=found.high)
    if rows:
        rows += _row("after_oot", "all", "labelled_frauds", outcomes.later_frauds)
        rows += _row("after_oot", "all", "needed_frauds", contract.checks.performance_frauds)
    return rows


def _oot_rows(leader: Leader) -> list[_Row]:
    report = leader.oot
    rows: list[_Row] = []
    if report is None:
        return rows
    for name, interval in sorted(report.metrics.items()):  # a bundle's file is sorted too
        rows += _row("oot", "all", name, interval.value, low=interval.low, high=interval.high)
    names = ("rows", "frauds", "alerts", "alert_share", "precision_of_alerts")
    rows += _fields("oot", "all", report, (*names, "recall_of_alerts", "value_detected"))
    rows += _row("oot", "all", "oracle_average_precision", leader.oracle_average_precision)
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


def _drift_rows(report: DriftReport, limits: Drift) -> Iterator[_Row]:
    window = f"drift_{report.window}"
    found: Sequence[FeatureDrift] = (*report.features, *([report.score] if report.score else []))
    yield from _row(window, "all", "classifier_auc", report.classifier_auc)
    yield from _row(window, "all", "drifted_share", report.drifted_share)
    yield from _row(window, "all", "verdict", DRIFT_VERDICTS.get(report.verdict))
    yield from _fields(window, "all", limits, ("psi_warn", "psi_alert"))
    names = ("psi", "psi_noise", "ks", "js", "missing_reference", "missing_current")
    for feature in found:
        part = f"feature={feature.feature}"
        yield from _fields(window, part, feature, names)
        yield from _row(window, part, "verdict", DRIFT_VERDICTS.get(feature.verdict))
