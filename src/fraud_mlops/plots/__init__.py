"""Figures for cards and reports, each drawn without pyplot, so that nothing is kept open.

`data`, `candidates`, `validation` and `drift` draw; every function returns a matplotlib Figure,
also when there is nothing to show. `style.to_png` turns it into bytes.
"""

from fraud_mlops.plots.candidates import (
    leaderboard_bars,
    loss_curves,
    precision_recall_curves,
    roc_curves,
)
from fraud_mlops.plots.data import (
    alerts_over_time,
    claims_over_time,
    missing_values,
    quarantine_reasons,
)
from fraud_mlops.plots.drift import distribution_pair, drift_bars, performance_over_time
from fraud_mlops.plots.style import thin_curve, to_png
from fraud_mlops.plots.validation import (
    by_month,
    metric_intervals,
    reliability,
    score_histogram,
    slice_forest,
    weakest_first,
)

__all__ = [
    "alerts_over_time",
    "by_month",
    "claims_over_time",
    "distribution_pair",
    "drift_bars",
    "leaderboard_bars",
    "loss_curves",
    "metric_intervals",
    "missing_values",
    "performance_over_time",
    "precision_recall_curves",
    "quarantine_reasons",
    "reliability",
    "roc_curves",
    "score_histogram",
    "slice_forest",
    "thin_curve",
    "to_png",
    "weakest_first",
]
