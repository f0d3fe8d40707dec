"""Figures of what changed after training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from fraud_mlops.plots.style import (
    BLUE,
    FAINT_INK,
    GREEN,
    GREY,
    INK,
    MAX_ROWS,
    RED,
    YELLOW,
    add_legend,
    and_more,
    as_floats,
    bar_width,
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

    from fraud_mlops.limits import Drift
    from fraud_mlops.monitoring.drift_report import FeatureDrift
    from fraud_mlops.monitoring.performance import PeriodPerformance

MAX_CATEGORIES = 12

_COLOURS = {"drift": RED, "warn": YELLOW, "stable": BLUE, "too few rows": GREY, "not whole": GREY}
_TAIL = 0.005
_BINS = 40


_FARTHEST = 8.0
"""Times the limit of an alert: the axis goes no farther, and longer bars have their number."""


def drift_bars(features: Sequence[FeatureDrift], limits: Drift) -> Figure:
    """PSI of the features that moved most, with the limits and the reach of noise."""
    measured = sorted(
        (f for f in features if f.psi is not None),
        key=lambda f: (f.verdict == "not whole", -(f.psi or 0)),
    )
    if not measured:
        return nothing("No claims to compare: drift was not measured")
    shown = measured[:MAX_ROWS]
    figure, [axes] = new_figure(_moved(features, shown[0]), height=row_height(len(shown)) + 0.3)
    drawn = set()
    for place, feature in enumerate(shown):
        kind = feature.verdict
        axes.barh(
            place,
            feature.psi or 0,
            color=_COLOURS[kind],
            height=0.62,
            label=None if kind in drawn else kind,
        )
        drawn.add(kind)
    noise = [f.psi_noise or 0 for f in shown]
    axes.plot(noise, range(len(shown)), "|", color=INK, markersize=9, label="reach of noise")
    most = max(f.psi or 0 for f in shown)
    # One that moved far would press all others, and the limits, against the edge.
    longest = max(min(most, _FARTHEST * limits.psi_alert), limits.psi_alert, *noise)
    for place, feature in enumerate(shown):
        if (feature.psi or 0) > longest:
            note(
                axes,
                f"{feature.psi:.1f}",
                xy=(longest, place),
                ha="right",
                va="center",
                color="white",
            )
    for name, limit in (("warn", limits.psi_warn), ("alert", limits.psi_alert)):
        axes.axvline(limit, color=FAINT_INK, linewidth=1, linestyle="--", zorder=1)
        note(
            axes,
            name,
            xy=(limit, 1.0),
            xycoords=("data", "axes fraction"),
            va="bottom",
            ha="center",
        )
    axes.set_xlim(0, longest * 1.08)
    row_axis(axes, [f.feature for f in shown])
    more = and_more(len(measured) - len(shown), "features")
    name_axes(axes, x=f"population stability index{more}")
    add_legend(axes, outside=True)
    return figure


def _moved(features: Sequence[FeatureDrift], most: FeatureDrift) -> str:
    if all(f.verdict == "too few rows" for f in features):
        return "Too few claims to judge drift"
    drifted = sum(f.verdict == "drift" for f in features)
    judged = sum(f.verdict != "not whole" for f in features)
    counted = f"{drifted} of {judged} features drifted"
    return f"{counted}; most: {label(most.feature)}, PSI {most.psi or 0:.2f}"


def distribution_pair(
    feature: str,
    reference: np.ndarray,
    current: np.ndarray,
    kind: Literal["numeric", "categorical"],
) -> Figure:
    """One feature in training and in new claims.

    reference, current: [n], [m]; numbers with nan for missing, or texts with None.
    """
    if not len(reference) or not len(current):
        return nothing(f"{label(feature)}: no claims to compare")
    if kind == "categorical":
        return _categories(feature, reference, current)
    return _numbers(feature, reference, current)


def _numbers(feature: str, reference: np.ndarray, current: np.ndarray) -> Figure:
    """The half percent at either end of all values is drawn at the rim, not to scale."""
    samples = [np.asarray(s, dtype=np.float64) for s in (reference, current)]
    present = [s[np.isfinite(s)] for s in samples]
    known = np.concatenate(present)
    if not len(known):
        return nothing(f"{label(feature)}: all values are missing, in training and in new claims")
    gaps = [1 - len(p) / len(s) for p, s in zip(present, samples, strict=True)]
    medians = [f"{np.median(p):,.4g}" if len(p) else "none" for p in present]
    figure, [axes] = new_figure(
        f"{label(feature)}: median {medians[0]} in training, {medians[1]} in new claims"
    )
    low, high = np.quantile(known, [_TAIL, 1 - _TAIL])
    edges = _edges(known, low, high)
    for name, values, gap, colour in zip(
        ("training", "new"), present, gaps, (BLUE, RED), strict=True
    ):
        counts = np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0]
        named = f"{name} claims" + (f", {percent(gap)} missing" if gap else "")
        shares = counts / max(len(values), 1)
        axes.stairs(shares, edges, fill=True, color=colour, alpha=0.3)
        axes.stairs(shares, edges, color=colour, linewidth=1.2, label=named)
    percent_axis(axes.yaxis)
    cut = known.min() < edges[0] or known.max() > edges[-1]
    rim = " (what lies beyond is counted at the rim)" if cut else ""
    name_axes(axes, x=f"{label(feature)}{rim}", y="share of known values")
    add_legend(axes)
    return figure


def _edges(known: np.ndarray, low: float, high: float) -> np.ndarray:
    """A bin a value where there are few whole numbers, else equal widths."""
    whole = bool((known == np.round(known)).all())
    if whole and high - low < _BINS:
        return np.arange(low, high + 2) - 0.5
    if low == high:
        low, high = known.min(), known.max()
    return np.linspace(low, high, _BINS + 1) if low < high else np.array([low - 0.5, low + 0.5])


def _categories(feature: str, reference: np.ndarray, current: np.ndarray) -> Figure:
    shares = pd.DataFrame({"training": _shares(reference), "new": _shares(current)}).fillna(0.0)
    order = shares.max(axis=1).sort_values(ascending=False, kind="stable").index
    shown = shares.loc[order[:MAX_CATEGORIES]]
    rest = shares.loc[order[MAX_CATEGORIES:]]
    if len(rest):
        shown = pd.concat([shown, rest.sum().to_frame(f"{len(rest)} others").T])
    before, now = shares["training"].to_numpy(), shares["new"].to_numpy()
    most = int(np.abs(now - before).argmax())
    figure, [axes] = new_figure(
        f"{label(feature)}: {label(shares.index[most])} goes from {percent(before[most])} "
        f"to {percent(now[most])} of claims",
        height=row_height(len(shown)) + 0.1 * len(shown),
    )
    places = np.arange(len(shown))
    for shift, name, colour in ((-0.19, "training", BLUE), (0.19, "new", RED)):
        axes.barh(places + shift, shown[name], height=0.36, color=colour, label=f"{name} claims")
    row_axis(axes, [str(value) for value in shown.index])
    percent_axis(axes.xaxis)
    name_axes(axes, x="share of claims")
    add_legend(axes, outside=True)
    return figure


def _shares(values: np.ndarray) -> pd.Series[float]:
    texts = pd.Series(np.asarray(values, dtype=object))
    known = texts.where(texts.isna(), texts.astype(str))
    return known.fillna("(missing)").value_counts(normalize=True)


def performance_over_time(periods: Sequence[PeriodPerformance]) -> Figure:
    """How the alerts turned out, and below it how many claims have a label yet."""
    if not periods:
        return nothing("No scored claims to show")
    labelled, rows = sum(p.labelled for p in periods), sum(p.rows for p in periods)
    figure, [above, below] = new_figure(
        _outcome(periods, labelled, rows), height=4.2, rows=2, ratios=(1.6, 1)
    )
    places = np.arange(len(periods))
    drawn = [
        ("precision of alerts", [p.precision_of_alerts for p in periods], RED),
        ("recall of alerts", [p.recall_of_alerts for p in periods], GREEN),
        ("average precision", [p.average_precision for p in periods], BLUE),
    ]
    for name, values, colour in drawn:
        above.plot(
            places,
            as_floats(values),
            color=colour,
            linewidth=1.2,
            marker="o",
            markersize=2.5,
            label=name,
        )
    above.set_ylim(0, 1.02)
    percent_axis(above.yaxis)
    name_axes(above, y="of labelled claims")
    add_legend(above, outside=True)
    known = [p.labelled for p in periods]
    width = bar_width(len(periods))
    below.bar(places, known, color=BLUE, width=width, label="labelled")
    below.bar(
        places,
        [p.rows - p.labelled for p in periods],
        bottom=known,
        color=GREY,
        width=width,
        label="not known yet",
    )
    count_axis(below.yaxis)
    name_axes(below, y="claims")
    add_legend(below, outside=True)
    period_axis(below, [p.period for p in periods])
    return figure


def _outcome(periods: Sequence[PeriodPerformance], labelled: int, rows: int) -> str:
    if not labelled:
        return f"No label is known yet of {rows:,} scored claims"
    frauds = sum(p.frauds for p in periods)
    return f"{labelled:,} of {rows:,} scored claims have a label; {frauds:,} are fraud"
