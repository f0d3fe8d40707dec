"""Figures of the winner on the out-of-time window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from fraud_mlops.plots.style import (
    BLUE,
    FAINT_INK,
    GREY,
    INK,
    MAX_ROWS,
    RED,
    add_legend,
    as_floats,
    count_axis,
    label,
    name_axes,
    new_figure,
    note,
    nothing,
    percent,
    percent_axis,
    period_axis,
    row_axis,
    row_height,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fraud_mlops.evaluation.oot import ReliabilityBin, Slice

_HISTOGRAM_BINS = 60


def reliability(bins: Sequence[ReliabilityBin]) -> Figure:
    """Fraud rate against predicted probability in each bin, with its 95 % interval."""
    if not bins:
        return nothing("No labelled claims to check probabilities on")
    predicted = np.array([b.mean_probability for b in bins])
    observed = np.array([b.fraud_rate for b in bins])
    low = np.array([b.fraud_rate_low for b in bins])
    high = np.array([b.fraud_rate_high for b in bins])
    right = int(((low <= predicted) & (predicted <= high)).sum())
    figure, [axes, below] = new_figure(
        f"In {right} of {len(bins)} bins the predicted probability agrees with the fraud rate",
        height=4.6,
        rows=2,
        ratios=(4, 1),
    )
    top = max(float(high.max()), float(predicted.max())) * 1.05 or 1.0
    axes.plot([0, top], [0, top], color=GREY, linewidth=1, linestyle="--", label="perfect")
    axes.errorbar(
        predicted,
        observed,
        yerr=(np.maximum(observed - low, 0), np.maximum(high - observed, 0)),
        fmt="o",
        color=BLUE,
        markersize=5,
        elinewidth=1.2,
        label="fraud rate, 95% interval",
    )
    axes.set_ylim(0, top)
    axes.set_xlim(0, top)
    percent_axis(axes.yaxis)
    name_axes(axes, y="observed fraud rate")
    add_legend(axes, loc="upper left")
    below.vlines(predicted, 0, [b.rows for b in bins], color=BLUE, linewidth=4)
    below.set_ylim(0, max(b.rows for b in bins) * 1.1)
    percent_axis(below.xaxis)
    count_axis(below.yaxis)
    name_axes(below, x="mean predicted probability of the bin", y="claims")
    return figure


def score_histogram(genuine: np.ndarray, fraud: np.ndarray, threshold: float | None) -> Figure:
    """How scores of genuine claims and of fraud spread; each class adds up to 100 %.

    genuine, fraud: scores [n], [m], on the scale of the threshold.
    """
    genuine, fraud = (np.asarray(s, dtype=np.float64) for s in (genuine, fraud))
    genuine, fraud = genuine[np.isfinite(genuine)], fraud[np.isfinite(fraud)]
    if not len(genuine) + len(fraud):
        return nothing("No scores of labelled claims to show")
    parts = [("genuine claims", genuine, BLUE), ("fraud", fraud, RED)]
    title = "Scores of genuine claims and of fraud"
    if threshold is not None:
        alerted = [f"{percent((s >= threshold).mean())} of {n}" for n, s, _ in parts if len(s)]
        title = f"The threshold alerts {' and '.join(reversed(alerted))}"
    figure, [axes] = new_figure(title)
    edges = np.histogram_bin_edges(np.concatenate([genuine, fraud]), bins=_HISTOGRAM_BINS)
    for name, scores, colour in parts:
        if not len(scores):
            continue
        shares = np.histogram(scores, edges)[0] / len(scores)
        named = f"{name} ({len(scores):,})"
        axes.stairs(shares, edges, fill=True, color=colour, alpha=0.35)
        axes.stairs(shares, edges, color=colour, linewidth=1.2, label=named)
    if threshold is not None and np.isfinite(threshold):
        axes.axvline(threshold, color=INK, linewidth=1, linestyle="--", label="threshold")
    percent_axis(axes.yaxis)
    name_axes(axes, x="score", y="share of the class")
    add_legend(axes)
    return figure


def weakest_first(slices: Sequence[Slice]) -> list[Slice]:
    """Slices large enough to be judged, by ROC-AUC, and behind them the others.

    Average precision would not do: it is low wherever fraud is rare.
    """

    def place(part: Slice) -> tuple[bool, float, str, str]:
        return part.roc_auc is None, part.roc_auc or 0, part.feature, part.value

    return sorted(slices, key=place)


def slice_forest(slices: Sequence[Slice], overall: float | None = None) -> Figure:
    """ROC-AUC of each slice, of which chance would reach a half, beside its claims and frauds.

    overall: ROC-AUC of all claims. The weakest come first, and of many they are the ones that are
    shown. Slices too small to be judged are only counted.
    """
    judged = [s for s in weakest_first(slices) if s.roc_auc is not None]
    if not judged:
        return nothing("No slice is large enough to be judged")
    shown = judged[:MAX_ROWS]
    values = np.array([s.roc_auc for s in shown], dtype=np.float64)
    worst = shown[0]
    against = "" if overall is None else f", overall {overall:.2f}"
    figure, [axes] = new_figure(
        f"Weakest slice: {label(worst.feature)} = {label(worst.value)}, ROC-AUC "
        f"{values[0]:.2f}{against}",
        height=row_height(len(shown)) + 0.3,
    )
    places = np.arange(len(shown))
    axes.axvline(0.5, color=FAINT_INK, linewidth=1, label="chance")
    axes.hlines(places, 0.5, values, color=GREY, linewidth=1.2, zorder=2)
    axes.plot(values, places, "o", color=BLUE, markersize=5, label="ROC-AUC")
    if overall is not None:
        axes.axvline(overall, color=INK, linewidth=1, linestyle="--", label="all claims")
    row_axis(axes, [f"{label(s.feature, 20)} = {label(s.value, 20)}" for s in shown], 44)
    for place, part in enumerate(shown):
        note(
            axes,
            f"{part.rows:,}, {percent(part.fraud_rate)}",
            xy=(1.01, place),
            xycoords=("axes fraction", "data"),
            va="center",
            annotation_clip=False,
        )
    note(axes, "claims, fraud", xy=(1.01, 1.0), xycoords="axes fraction", va="bottom")
    axes.set_xlim(min(0.48, values[0] - 0.02), 1.01)
    left_out = len(slices) - len(judged)
    small = f"; {left_out} slices too small to be judged" if left_out else ""
    more = len(judged) - len(shown)
    stronger = f" ({more} stronger slices not shown)" if more else ""
    name_axes(axes, x=f"ROC-AUC{stronger}{small}")
    add_legend(axes, loc="lower left", bbox_to_anchor=(0, 1.0), ncols=3, borderaxespad=0.1)
    return figure


def metric_intervals(metrics: Mapping[str, tuple[float, float, float]]) -> Figure:
    """Each metric (value, low, high) with its interval, on one scale from 0 to 1."""
    if not metrics:
        return nothing("No metrics to show")
    values, low, high = np.array([*metrics.values()], dtype=np.float64).T
    first = next(iter(metrics))
    figure, [axes] = new_figure(
        f"{_words(first).capitalize()} {values[0]:.3f}, 95% interval {low[0]:.3f} to {high[0]:.3f}",
        height=row_height(len(metrics)),
    )
    places = np.arange(len(metrics))
    axes.hlines(places, low, high, color=BLUE, linewidth=2.2, alpha=0.5)
    axes.plot(values, places, "o", color=BLUE, markersize=5)
    for place, figures in enumerate(zip(values, low, high, strict=True)):
        note(
            axes,
            "{:.3f}  ({:.3f} to {:.3f})".format(*figures),
            xy=(1.02, place),
            xycoords=("axes fraction", "data"),
            va="center",
            annotation_clip=False,
        )
    row_axis(axes, [_words(name) for name in metrics])
    axes.set_xlim(min(0.0, float(low.min())), max(1.0, float(high.max())))
    name_axes(axes, x="value and 95% interval")
    return figure


def by_month(
    months: Sequence[str],
    average_precision: Sequence[float | None],
    precision: Sequence[float | None],
    fraud_rate: Sequence[float | None],
) -> Figure:
    """Average precision, precision of the alerts and fraud rate of each month; None is a gap."""
    series = [
        ("average precision", as_floats(average_precision), BLUE),
        ("precision of alerts", as_floats(precision), RED),
        ("fraud rate", as_floats(fraud_rate), FAINT_INK),
    ]
    if not months:
        return nothing("No months to show")
    figure, [axes] = new_figure(_months_in_words(series[0][1], series[2][1]))
    for name, values, colour in series:
        axes.plot(values, color=colour, linewidth=1.6, marker="o", markersize=4, label=name)
    highest = max((float(np.nanmax(v)) for _, v, _ in series if np.isfinite(v).any()), default=1)
    axes.set_ylim(0, highest * 1.12 or 1)
    percent_axis(axes.yaxis)
    name_axes(axes, y="of labelled claims")
    period_axis(axes, months)
    add_legend(axes, outside=True)
    return figure


def _months_in_words(average_precision: np.ndarray, fraud_rate: np.ndarray) -> str:
    """Against the fraud rate, which is what chance would reach and moves with the months."""
    judged = np.isfinite(average_precision) & (fraud_rate > 0)
    if not judged.any():
        return "No month has enough labelled claims to be judged"
    times = average_precision[judged] / fraud_rate[judged]
    span = f"{times.min():.1f} to {times.max():.1f}"
    return f"Average precision by month: {span} times the fraud rate"


def _words(name: str) -> str:
    return name.replace("_", " ")
