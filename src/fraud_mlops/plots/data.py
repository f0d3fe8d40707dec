"""Figures of the claims themselves: how many, how good, what was left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from fraud_mlops.plots.style import (
    BLUE,
    MAX_ROWS,
    RED,
    and_more,
    as_floats,
    bar_width,
    bars,
    count_axis,
    label,
    name_axes,
    new_figure,
    nothing,
    percent,
    percent_axis,
    period_axis,
    row_axis,
    row_height,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fraud_mlops.claims.report import ColumnProfile


def claims_over_time(
    periods: Sequence[str], claims: Sequence[int], fraud_rates: Sequence[float | None]
) -> Figure:
    """Claims of each period, and below them the fraud rate of the labelled ones (None: unknown)."""
    if not periods:
        return nothing("No claims to show")
    rates = as_floats(fraud_rates)
    known = rates[np.isfinite(rates)]
    found = (
        f"; fraud rate {percent(known.min())} to {percent(known.max())} a period"
        if len(known)
        else "; no labels yet"
    )
    span = periods[0] if len(periods) == 1 else f"{periods[0]} to {periods[-1]}"
    title = f"{sum(claims):,} claims, {span}{found}"
    return _counts_and_shares(title, periods, claims, rates, "fraud rate")


def alerts_over_time(
    periods: Sequence[str], claims: Sequence[int], alert_shares: Sequence[float | None]
) -> Figure:
    """Scored claims of each period, and below them the share that is alerted (None: no claims)."""
    if not periods:
        return nothing("No scored claims to show")
    shares = as_floats(alert_shares)
    known = shares[np.isfinite(shares)]
    found = f"; {percent(known.min())} to {percent(known.max())} alerted" if len(known) else ""
    title = f"{sum(claims):,} claims scored{found}"
    return _counts_and_shares(title, periods, claims, shares, "alerted")


def _counts_and_shares(
    title: str, periods: Sequence[str], claims: Sequence[int], shares: np.ndarray, named: str
) -> Figure:
    """Claims of each period as bars, and below them a share of them as a line (NaN: none)."""
    figure, [above, below] = new_figure(title, height=3.8, rows=2, ratios=(1.4, 1))
    places = np.arange(len(periods))
    above.bar(places, claims, color=BLUE, width=bar_width(len(periods)))
    count_axis(above.yaxis)
    name_axes(above, y="claims")
    below.plot(places, shares, color=RED, linewidth=1.2, marker="o", markersize=2.5)
    top = float(shares[np.isfinite(shares)].max(initial=0))
    below.set_ylim(0, top * 1.15 or 0.1)
    percent_axis(below.yaxis)
    name_axes(below, y=named)
    period_axis(below, periods)
    return figure


def quarantine_reasons(reasons: Mapping[str, int]) -> Figure:
    """Claims in quarantine by reason, the most frequent first."""
    counts = sorted(((n, why) for why, n in reasons.items() if n), key=lambda c: (-c[0], c[1]))
    if not counts:
        return nothing("Nothing quarantined: every claim kept the contract")
    shown = counts[:MAX_ROWS]
    total = sum(n for n, _ in counts)
    title = f"{total:,} rows quarantined; most often: {label(counts[0][1], 60)}"
    figure, [axes] = new_figure(title, height=row_height(len(shown)))
    bars(axes, [n for n, _ in shown], [f"{n:,}" for n, _ in shown])
    row_axis(axes, [why for _, why in shown])
    count_axis(axes.xaxis)
    name_axes(axes, x=f"rows{and_more(len(counts) - len(shown), 'reasons')}")
    return figure


def missing_values(columns: Sequence[ColumnProfile]) -> Figure:
    """Share of claims without a value, by column; columns without gaps are only counted."""
    if not columns:
        return nothing("No columns to show")
    gaps = sorted((c for c in columns if c.missing > 0), key=lambda c: (-c.missing, c.name))
    if not gaps:
        return nothing(f"No value is missing (columns: {len(columns)})")
    shown = gaps[:MAX_ROWS]
    title = (
        f"Gaps in {len(gaps)} of {len(columns)} columns; most in {label(gaps[0].name)}: "
        f"{percent(gaps[0].missing)} of claims"
    )
    figure, [axes] = new_figure(title, height=row_height(len(shown)))
    shares = [column.missing for column in shown]
    bars(axes, shares, [percent(share) for share in shares])
    row_axis(axes, [column.name for column in shown])
    percent_axis(axes.xaxis)
    name_axes(axes, x=f"claims without a value{and_more(len(gaps) - len(shown), 'columns')}")
    return figure
