"""Figures of the candidates on the validation window, and of their training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fraud_mlops.plots.style import (
    BLUE,
    CYCLE,
    GREEN,
    GREY,
    INK,
    MAX_ROWS,
    PURPLE,
    YELLOW,
    add_legend,
    and_more,
    count_axis,
    label,
    name_axes,
    new_figure,
    note,
    nothing,
    percent,
    percent_axis,
    row_axis,
    row_height,
    thin_curve,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Curves = Mapping[str, tuple[np.ndarray, np.ndarray]]

_FAMILIES = {"logistic": YELLOW, "mlp": GREEN, "tabm": BLUE}
_INCUMBENT = PURPLE
_LINES_IN_COLOUR = len(CYCLE)


def leaderboard_bars(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Average precision of each candidate, the best first, those that failed last.

    rows: name, family, status (trained, failed or incumbent), average_precision (None without).
    """
    if not rows:
        return nothing("No candidates to show")
    ordered = sorted(rows, key=_standing)
    shown = ordered[:MAX_ROWS]
    failed = sum(row["status"] == "failed" for row in rows)
    figure, [axes] = new_figure(
        _leader(ordered) + (f"; {failed} of {len(rows)} failed" if failed else ""),
        height=row_height(len(shown)) + 0.2,
    )
    drawn = set()
    for place, row in enumerate(shown):
        value = row["average_precision"]
        if value is None or row["status"] == "failed":
            said = "failed" if row["status"] == "failed" else "not judged"
            note(axes, said, xy=(0, place), xytext=(3, 0), textcoords="offset points", va="center")
            continue
        kind = "incumbent" if row["status"] == "incumbent" else str(row["family"])
        colour = _INCUMBENT if kind == "incumbent" else _FAMILIES.get(kind, GREY)
        axes.barh(place, value, color=colour, height=0.62, label=None if kind in drawn else kind)
        drawn.add(kind)
        text = f"{value:.3f}"
        note(axes, text, xy=(value, place), xytext=(3, 0), textcoords="offset points", va="center")
    row_axis(axes, [str(row["name"]) for row in shown])
    axes.set_xlim(0, max([row["average_precision"] or 0 for row in shown]) * 1.12 or 1)
    more = and_more(len(ordered) - len(shown), "candidates")
    name_axes(axes, x=f"average precision, validation window{more}")
    if drawn:
        add_legend(axes, outside=True)
    return figure


def _standing(row: Mapping[str, Any]) -> tuple[bool, float, str]:
    value = row["average_precision"]
    return row["status"] == "failed", -(value if value is not None else -1.0), str(row["name"])


def _leader(ordered: Sequence[Mapping[str, Any]]) -> str:
    best = ordered[0]
    if best["status"] == "failed" or best["average_precision"] is None:
        return "No candidate could be judged"
    incumbent = ", the incumbent," if best["status"] == "incumbent" else ""
    return f"{label(best['name'])}{incumbent} leads with {best['average_precision']:.3f}"


def precision_recall_curves(
    curves: Curves,
    prevalence: float,
    budget_points: Mapping[str, tuple[float, float]] | None = None,
) -> Figure:
    """Precision against recall; the first curves, the best ones, in colour, the others in grey.

    curves: (recall, precision), each [n] of any length; prevalence: fraud rate, the precision of
    chance; budget_points: (recall, precision) where a curve's alert budget is used up.
    """
    if not curves:
        return nothing("No precision-recall curves to show")
    best = next(iter(curves))
    points = budget_points or {}
    found = (
        f"Within the alert budget {label(best)} finds {percent(points[best][0])} of all fraud, "
        f"and {percent(points[best][1])} of its alerts are fraud"
        if best in points
        else f"Precision against recall; {label(best)} leads"
    )
    figure, [axes] = new_figure(found, height=4.2)
    colours = _draw(axes, curves)
    for name, (recall, precision) in points.items():
        axes.plot(
            recall, precision, "o", color=colours.get(name, GREY), markeredgecolor=INK, zorder=4
        )
    chance = f"chance ({percent(prevalence)})"
    axes.axhline(prevalence, color=GREY, linewidth=1, linestyle="--", zorder=1, label=chance)
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(0, min(1.02, _highest(axes) * 1.08))
    percent_axis(axes.xaxis)
    percent_axis(axes.yaxis)
    dots = "; dots: alert budget used up" if points else ""
    name_axes(axes, x=f"recall (fraud that is found){dots}", y="precision (alerts that are fraud)")
    add_legend(axes, outside=True)
    return figure


def roc_curves(curves: Curves) -> Figure:
    """True against false positives; the first curves in colour, the others in grey.

    curves: (false-positive rate, true-positive rate), each [n] of any length.
    """
    if not curves:
        return nothing("No ROC curves to show")
    best = next(iter(curves))
    rate = _at(*curves[best], 0.05)
    figure, [axes] = new_figure(
        f"{label(best)} finds {percent(rate)} of fraud at 5% false alarms", height=4.2
    )
    _draw(axes, curves)
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle="--", zorder=1, label="chance")
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(-0.01, 1.02)
    percent_axis(axes.xaxis)
    percent_axis(axes.yaxis)
    name_axes(
        axes,
        x="false-positive rate (genuine claims alerted)",
        y="true-positive rate (fraud alerted)",
    )
    add_legend(axes, outside=True)
    return figure


def loss_curves(losses: Mapping[str, Sequence[float]]) -> Figure:
    """Training loss by epoch of each candidate; the first ones in colour."""
    curves = {
        name: (np.arange(1, len(values) + 1), np.asarray(values, dtype=np.float64))
        for name, values in losses.items()
        if len(values)
    }
    if not curves:
        return nothing("No training losses to show")
    longest = max(len(x) for x, _ in curves.values())
    figure, [axes] = new_figure(f"Training loss by epoch ({len(curves)} shown)", height=3.6)
    _draw(axes, curves, marker="o" if longest <= 40 else None)
    count_axis(axes.xaxis)
    name_axes(axes, x="epoch", y="mean training loss")
    add_legend(axes, outside=True)
    return figure


def _draw(axes: Axes, curves: Curves, marker: str | None = None) -> dict[str, str]:
    """Lines, the first on top; the colour of each."""
    colours = {}
    for place, (name, (x, y)) in enumerate(curves.items()):
        coloured = place < _LINES_IN_COLOUR
        colours[name] = CYCLE[place] if coloured else GREY
        others = len(curves) - _LINES_IN_COLOUR
        axes.plot(
            *thin_curve(x, y),
            color=colours[name],
            linewidth=1.6 if coloured else 0.8,
            label=label(name, 24) if coloured else _others(place, others),
            zorder=3 - place / len(curves),
            marker=marker,
            markersize=3,
        )
    return colours


def _others(place: int, others: int) -> str:
    """The grey lines have one entry of the legend together; a leading underscore means none."""
    return f"{others} others" if place == _LINES_IN_COLOUR else "_"


def _highest(axes: Axes) -> float:
    lines = [np.asarray(line.get_ydata(), dtype=np.float64) for line in axes.get_lines()]
    return max(float(values.max(initial=0)) for values in lines) or 1.0


def _at(x: np.ndarray, y: np.ndarray, limit: float) -> float:
    """Highest y of a point whose x is at most `limit`."""
    inside = np.asarray(y)[np.asarray(x) <= limit]
    return float(inside.max(initial=0))
