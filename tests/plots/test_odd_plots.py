"""Odd input still gives a figure: nothing to show, any name, a million points."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plots_kit import (
    PNG,
    candidate,
    column,
    feature,
    legend,
    line,
    month,
    part,
    size,
    title,
)

from fraud_mlops import plots
from fraud_mlops.limits import Drift
from fraud_mlops.plots.style import label, percent

NO_FLOATS = np.empty(0)
EMPTY: list[tuple[Callable[[], Any], str]] = [
    (lambda: plots.claims_over_time([], [], []), "No claims"),
    (lambda: plots.quarantine_reasons({}), "Nothing quarantined"),
    (lambda: plots.missing_values([]), "No columns"),
    (lambda: plots.missing_values([column("a", 0)]), "No value is missing"),
    (lambda: plots.leaderboard_bars([]), "No candidates"),
    (
        lambda: plots.leaderboard_bars([candidate("a", None, "failed")]),
        "No candidate could be judged",
    ),
    (lambda: plots.precision_recall_curves({}, 0.1), "No precision-recall"),
    (lambda: plots.roc_curves({}), "No ROC"),
    (lambda: plots.roc_curves({"a": (NO_FLOATS, NO_FLOATS)}), "a finds 0%"),
    (
        lambda: plots.precision_recall_curves({"a": (NO_FLOATS, NO_FLOATS)}, 0.0),
        "Precision against",
    ),
    (lambda: plots.loss_curves({"a": []}), "No training losses"),
    (lambda: plots.reliability([]), "No labelled claims"),
    (lambda: plots.score_histogram(NO_FLOATS, NO_FLOATS, 0.0), "No scores"),
    (lambda: plots.score_histogram(np.zeros(3), NO_FLOATS, 0.0), "The threshold alerts 100%"),
    (lambda: plots.score_histogram(np.array([np.nan]), np.zeros(1), None), "Scores of"),
    (lambda: plots.slice_forest([part("a", None)]), "No slice is large enough"),
    (lambda: plots.metric_intervals({}), "No metrics"),
    (lambda: plots.by_month([], [], [], []), "No months"),
    (lambda: plots.by_month(["2024-01"], [None], [None], [None]), "No month has enough"),
    (lambda: plots.drift_bars([], Drift()), "No claims to compare"),
    (
        lambda: plots.drift_bars([feature("a", None, "too few rows")], Drift()),
        "No claims to compare",
    ),
    (lambda: plots.distribution_pair("x", NO_FLOATS, np.ones(2), "numeric"), "x: no claims"),
    (
        lambda: plots.distribution_pair("x", np.full(2, np.nan), np.full(2, np.nan), "numeric"),
        "x: all",
    ),
    (
        lambda: plots.distribution_pair("x", np.ones(2), np.full(2, np.nan), "numeric"),
        "x: median 1",
    ),
    (
        lambda: plots.distribution_pair("x", np.full(2, 0.5), np.full(2, 0.5), "numeric"),
        "x: median",
    ),
    (lambda: plots.performance_over_time([]), "No scored claims"),
    (lambda: plots.performance_over_time([month("2024-01", 5, 0, None)]), "No label is known"),
]


@pytest.mark.parametrize(("draw", "said"), EMPTY, ids=[said for _, said in EMPTY])
def test_nothing_to_show_is_said_in_a_figure(draw: Callable[[], Any], said: str) -> None:
    figure = draw()
    assert title(figure).startswith(said)
    assert plots.to_png(figure).startswith(PNG)


@pytest.mark.parametrize(
    "names", [["$a_1$ and $b^2$"], ["line\nbreak"], ["x" * 300], [""], ["%", "_x"]]
)
def test_any_name_can_be_drawn(names: Sequence[str]) -> None:
    """Dollars would begin mathematics, an underscore would hide a legend entry."""
    figure = plots.quarantine_reasons(dict.fromkeys(names, 3))
    assert plots.to_png(figure).startswith(PNG)
    curve = np.array([0.0, 1.0])
    figure = plots.roc_curves(dict.fromkeys(names, (curve, curve)))
    assert len(legend(figure.axes[0])) == len(names) + 1


def test_pngs_have_the_size_asked_for_and_the_same_bytes_every_time() -> None:
    def draw() -> Any:
        return plots.quarantine_reasons({"a": 1})

    small, large = plots.to_png(draw(), dpi=50), plots.to_png(draw(), dpi=100)
    assert size(large) == tuple(2 * pixels for pixels in size(small))
    assert large == plots.to_png(draw(), dpi=100)


def test_curves_of_a_million_points_make_small_pictures() -> None:
    x = np.linspace(0, 1, 1_000_000)
    figure = plots.roc_curves({"a": (x, np.sqrt(x))})
    assert len(line(figure.axes[0], "a").get_xdata()) <= 1602
    assert len(plots.to_png(figure)) < 100_000


@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 2**31 - 1),
    n=st.integers(0, 400),
    falling=st.booleans(),
    level=st.booleans(),
)
def test_a_thinned_curve_keeps_ends_order_and_extremes(
    seed: int, n: int, falling: bool, level: bool
) -> None:
    rng = np.random.default_rng(seed)
    x = np.zeros(n) if level else np.sort(rng.random(n))[:: -1 if falling else 1]
    y = rng.normal(size=n)
    thin_x, thin_y = plots.thin_curve(x, y, buckets=10)
    assert len(thin_x) <= 42
    if n:
        assert (thin_x[0], thin_y[0], thin_x[-1], thin_y[-1]) == (x[0], y[0], x[-1], y[-1])
        assert (thin_y.min(), thin_y.max()) == (y.min(), y.max())
    places = [
        int(np.flatnonzero((x == a) & (y == b))[0]) for a, b in zip(thin_x, thin_y, strict=True)
    ]
    assert places == sorted(places)


def test_points_that_are_not_finite_are_left_out_and_lengths_must_agree() -> None:
    x, y = plots.thin_curve(np.array([0, 1, 2.0]), np.array([1, np.nan, 3]))
    assert (x.tolist(), y.tolist()) == ([0, 2], [1, 3])
    with pytest.raises(ValueError, match="does not go with"):
        plots.thin_curve(np.zeros(2), np.zeros(3))


def test_labels_and_shares_are_short() -> None:
    assert label("a" * 50) == "a" * 22 + "…" + "a" * 11
    assert [percent(s) for s in (0, 0.00234, 0.0432, 0.5)] == ["0%", "0.23%", "4.3%", "50%"]


def test_no_figure_stays_open_behind_the_callers_back() -> None:
    code = (
        "import sys, fraud_mlops.plots as plots\n"
        "assert 'matplotlib' not in sys.modules, 'importing plots must stay cheap'\n"
        "plots.to_png(plots.quarantine_reasons({'a': 1}))\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
