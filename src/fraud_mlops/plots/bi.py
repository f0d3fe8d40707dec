"""The figures of the Power BI report, from the same views of the warehouse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fraud_mlops.plots.style import (
    BLUE,
    FAINT_INK,
    GREEN,
    GREY,
    INK,
    RED,
    YELLOW,
    add_legend,
    and_more,
    as_floats,
    bar_width,
    bars,
    count_axis,
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
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Rows = Sequence[Mapping[str, Any]]
"""Rows of a view, by the names of its columns."""

_MOST_FEATURES = 15
_LABELLED = 0.5
_COLOURS = {"drift": RED, "warn": YELLOW, "stable": BLUE, "not judged": GREY}


def claims_and_alerts(kpis: Rows) -> Figure:
    """BI_DAILY_KPIS of one dataset, by period: how much comes in, and how right alerts are."""
    if not kpis:
        return nothing("No partition has been scored yet")
    last = kpis[-1]
    title = (
        f"{sum(row['CLAIMS'] for row in kpis):,} claims, "
        f"{sum(row['ALERTS'] for row in kpis):,} alerts; {last['ALERTS_PER_DAY']:.1f} alerts a day "
        f"in {last['PARTITION_KEY']}"
    )
    figure, [volume, quality, rates] = new_figure(title, height=6.2, rows=3, ratios=(1, 1.2, 1))
    places = range(len(kpis))
    width = bar_width(len(kpis))
    volume.bar(places, [r["CLAIMS"] for r in kpis], color=GREY, width=width, label="claims")
    volume.bar(places, [r["ALERTS"] for r in kpis], color=RED, width=width, label="alerts")
    count_axis(volume.yaxis)
    name_axes(volume, y="a period")
    for column, text, colour in (
        ("PRECISION_OF_ALERTS", "precision of alerts", BLUE),
        ("RECALL_OF_ALERTS", "recall of alerts", GREEN),
        ("VALUE_DETECTED", "value detected", YELLOW),
    ):
        _line(quality, [_out_of_sample(row, column) for row in kpis], column, text, colour)
    name_axes(quality, y="labels known by now")
    _line(rates, [_once_labelled(row) for row in kpis], "FRAUD_RATE", "fraud rate", RED)
    _line(rates, kpis, "ALERT_SHARE", "alert share", BLUE)
    for axes in (quality, rates):
        percent_axis(axes.yaxis)
        axes.set_ylim(bottom=0)
    for axes in (volume, quality, rates):
        add_legend(axes, outside=True)
    period_axis(rates, [row["PARTITION_KEY"] for row in kpis])
    return figure


def _line(axes: Axes, rows: Rows, column: str, text: str, colour: str) -> None:
    values = as_floats([row[column] for row in rows])
    axes.plot(range(len(rows)), values, "o-", color=colour, markersize=4, label=text)


def _once_labelled(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """No fraud rate where most labels are unknown: those that come early are no fair share."""
    return row if (row["LABELLED_SHARE"] or 0) >= _LABELLED else {**row, "FRAUD_RATE": None}


def _out_of_sample(row: Mapping[str, Any], column: str) -> Mapping[str, Any]:
    """No model is judged on claims that it may have learnt from."""
    return {**row, column: None} if row["IN_SAMPLE"] else row


def stages_of(funnel: Rows) -> list[tuple[str, int | None]]:
    """Claims by stage of BI_ALERT_FUNNEL, summed over the periods out of sample; None where they
    are not known of one of these."""
    stages: dict[str, int | None] = {}
    for row in funnel:
        if row["IN_SAMPLE"]:
            continue
        before, claims = stages.get(row["STAGE"], 0), row["CLAIMS"]
        stages[row["STAGE"]] = None if before is None or claims is None else before + claims
    return list(stages.items())


def alert_funnel(stages: Sequence[tuple[str, int | None]]) -> Figure:
    """Stages in order, each with its claims, as `stages_of` has them.

    None: not known of some period, as its metrics are of an older version.
    """
    if not stages or not (claims := stages[0][1]):
        return nothing("No claims have been scored that the model has not learnt from")
    counts = [count or 0 for _, count in stages]
    texts = [
        "not known of every period" if n is None else f"{n:,}  ({percent(n / claims)} of claims)"
        for _, n in stages
    ]
    title = f"{counts[-1]:,} frauds caught"
    if stages[-2][1] is not None:
        title += f" by {counts[-2]:,} alerts that have a label"
    figure, [axes] = new_figure(title, height=row_height(len(stages)) + 0.2)
    bars(axes, counts, texts)
    axes.set_xlim(0, claims * 1.3)
    count_axis(axes.xaxis)
    row_axis(axes, [stage for stage, _ in stages])
    name_axes(axes, x="claims")
    return figure


def promised_and_kept(comparison: Rows) -> Figure:
    """BI_MODEL_COMPARISON of one model: each metric out of time and since, with its interval."""
    shown = [row for row in comparison if row["OOT_LOW"] is not None]
    if not shown:
        return nothing("No model has been judged out of time yet")
    decayed = [row["METRIC"] for row in shown if row["VERDICT"] == "decayed"]
    what = ", ".join(name.replace("_", " ") for name in decayed) or "nothing"
    verb = "have decayed" if len(decayed) > 1 else "has decayed"
    if all(row["VERDICT"] == "not judged" for row in shown):
        what, verb = "nothing", "could be judged"
    title = f"Model {shown[0]['MODEL_VERSION']}: {what} {verb} since it was validated"
    figure, [axes] = new_figure(title, height=row_height(2 * len(shown)))
    for kind, text, colour, shift in (
        ("OOT", "promised out of time", GREY, -0.16),
        ("LATER", "kept since", BLUE, 0.16),
    ):
        _intervals(axes, shown, kind, text, colour, shift)
    for place, row in enumerate(shown):
        note(
            axes, row["VERDICT"], xy=(1.01, place), xycoords=("axes fraction", "data"),
            va="center", color=RED if row["VERDICT"] == "decayed" else FAINT_INK,
        )  # fmt: skip
    row_axis(axes, [row["METRIC"].replace("_", " ") for row in shown])
    axes.set_xlim(left=0)
    add_legend(axes, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2)
    name_axes(axes, x="value, with 95 % interval")
    return figure


def _intervals(axes: Axes, rows: Rows, kind: str, text: str, colour: str, shift: float) -> None:
    there = [(i + shift, row) for i, row in enumerate(rows) if row[f"{kind}_VALUE"] is not None]
    places = [place for place, _ in there]
    axes.hlines(
        places,
        [row[f"{kind}_LOW"] for _, row in there],
        [row[f"{kind}_HIGH"] for _, row in there],
        color=colour,
        linewidth=2,
    )
    axes.plot(
        [row[f"{kind}_VALUE"] for _, row in there], places, "o",
        color=colour, markeredgecolor=INK, markeredgewidth=0.4, markersize=6, label=text,
    )  # fmt: skip


def drift_of_features(drift: Rows) -> Figure:
    """BI_DRIFT of one dataset: each feature in the partition where it has moved most.

    That is the one with the worst verdict of the pipeline's, and of these with the highest PSI.
    """
    worst: dict[str, Mapping[str, Any]] = {}
    for row in drift:
        if row["PSI"] is None or row["DRIFT_WINDOW"] != "partition":
            continue
        if row["FEATURE"] not in worst or _badness(row) > _badness(worst[row["FEATURE"]]):
            worst[row["FEATURE"]] = row
    if not worst:
        return nothing("Drift has not been measured yet")
    ranked = sorted(worst.values(), key=_badness, reverse=True)
    shown = ranked[:_MOST_FEATURES]
    title = _drifted(ranked) + and_more(len(ranked) - len(shown), "features")
    figure, [axes] = new_figure(title, height=row_height(len(shown)) + 0.3)
    for verdict, colour in _COLOURS.items():
        places = [place for place, row in enumerate(shown) if row["VERDICT"] == verdict]
        if places:
            lengths = [shown[place]["PSI"] for place in places]
            axes.barh(places, lengths, color=colour, height=0.62, label=verdict)
    noise = as_floats([row["PSI_NOISE"] for row in shown])
    axes.plot(noise, range(len(shown)), "|", color=INK, markersize=9, label="reach of noise")
    for place, row in enumerate(shown):
        note(
            axes, f"{row['PSI']:.2f} in {row['PARTITION_KEY']}", xy=(row["PSI"], place),
            xytext=(3, 0), textcoords="offset points", va="center",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6},
        )  # fmt: skip
    limits = _limits(drift)
    for limit in limits:
        axes.axvline(limit, color=FAINT_INK, linewidth=1, linestyle="--", zorder=1)
    axes.set_xlim(0, max(*limits, *(row["PSI"] for row in shown), 0.01) * 1.35)
    row_axis(axes, [row["FEATURE"] for row in shown])
    beyond = " and ".join(f"{limit:g}" for limit in limits)
    told = f"; beyond noise it warns and alerts from {beyond} on" if beyond else ""
    name_axes(axes, x=f"population stability index{told}")
    add_legend(axes, outside=True)
    return figure


def _badness(row: Mapping[str, Any]) -> tuple[int, float]:
    return -list(_COLOURS).index(row["VERDICT"]), row["PSI"]


def _drifted(ranked: Rows) -> str:
    if all(row["VERDICT"] == "not judged" for row in ranked):
        return "Drift has been measured, and not judged"
    count = sum(row["VERDICT"] == "drift" for row in ranked)
    return f"{count} of {len(ranked)} features have drifted in some period"


def _limits(drift: Rows) -> list[float]:
    """PSI from which the newest rows warn and alert; none where they do not say."""
    newest = max(drift, key=lambda row: row["PERIOD_START"])
    return [newest[name] for name in ("PSI_WARN", "PSI_ALERT") if newest[name] is not None]
