"""Figures of the data and of the candidates: what is drawn is what was given."""

from __future__ import annotations

import numpy as np
from plots_kit import (
    bar_lengths,
    candidate,
    column,
    legend,
    line,
    row_names,
    title,
)

from fraud_mlops import plots


def test_claims_and_fraud_rate_stand_one_above_the_other() -> None:
    figure = plots.claims_over_time(
        ["2024-01", "2024-02", "2024-03"], [100, 300, 50], [0.05, 0.1, None]
    )
    above, below = figure.axes
    assert [bar.get_height() for bar in above.patches] == [100, 300, 50]
    np.testing.assert_array_equal(below.get_lines()[0].get_ydata(), [0.05, 0.1, np.nan])
    assert title(figure) == "450 claims, 2024-01 to 2024-03; fraud rate 5.0% to 10% a period"


def test_quarantine_reasons_go_from_the_most_frequent_down() -> None:
    figure = plots.quarantine_reasons({"amount below 0": 3, "duplicate claim_id": 40, "never": 0})
    assert row_names(figure.axes[0]) == ["duplicate claim_id", "amount below 0"]
    assert bar_lengths(figure.axes[0]) == [40, 3]
    assert title(figure) == "43 rows quarantined; most often: duplicate claim_id"


def test_columns_without_gaps_take_no_room_and_the_last_of_many_are_counted() -> None:
    figure = plots.missing_values([column("whole", 0.0), column("Age", 0.02), column("Fax", 0.9)])
    assert row_names(figure.axes[0]) == ["Fax", "Age"]
    assert bar_lengths(figure.axes[0]) == [0.9, 0.02]
    assert title(figure) == "Gaps in 2 of 3 columns; most in Fax: 90% of claims"
    many = plots.missing_values([column(f"c{i}", i / 100) for i in range(1, 41)])
    assert len(row_names(many.axes[0])) == 12
    assert "28 more columns not shown" in many.axes[0].get_xlabel()


def test_the_leaderboard_has_the_best_first_and_failures_last() -> None:
    rows = [
        candidate("second", 0.2),
        candidate("broken", None, "failed"),
        candidate("reigning", 0.25, "incumbent"),
        candidate("first", 0.3),
    ]
    figure = plots.leaderboard_bars(rows)
    [axes] = figure.axes
    assert row_names(axes) == ["first", "reigning", "second", "broken"]
    assert bar_lengths(axes) == [0.3, 0.25, 0.2]
    assert legend(axes) == ["tabm", "incumbent"]
    assert title(figure) == "first leads with 0.300; 1 of 4 failed"


def test_precision_recall_curves_show_curve_budget_and_chance() -> None:
    recall, precision = np.array([1.0, 0.5, 0.0]), np.array([0.1, 0.6, 1.0])
    figure = plots.precision_recall_curves({"best": (recall, precision)}, 0.1, {"best": (0.5, 0.6)})
    [axes] = figure.axes
    np.testing.assert_array_equal(line(axes, "best").get_xdata(), recall)
    np.testing.assert_array_equal(line(axes, "best").get_ydata(), precision)
    assert set(line(axes, "chance (10%)").get_ydata()) == {0.1}
    assert "finds 50% of all fraud, and 60% of its alerts are fraud" in title(figure)


def test_of_many_curves_the_best_have_colour_and_the_others_one_grey() -> None:
    x = np.linspace(0, 1, 5)
    [axes] = plots.roc_curves({f"candidate {i}": (x, x**0.5) for i in range(10)}).axes
    assert legend(axes) == [*(f"candidate {i}" for i in range(6)), "4 others", "chance"]
    colours = {drawn.get_color() for drawn in axes.get_lines()[:10]}
    assert len(colours) == 7


def test_the_roc_title_reads_the_curve_at_five_percent() -> None:
    curve = np.array([0, 0.04, 0.06, 1]), np.array([0, 0.4, 0.7, 1])
    assert title(plots.roc_curves({"m": curve})) == "m finds 40% of fraud at 5% false alarms"


def test_losses_are_drawn_by_epoch_from_one_on() -> None:
    [axes] = plots.loss_curves({"long": [0.5, 0.4, 0.3], "short": [0.6], "failed": []}).axes
    np.testing.assert_array_equal(line(axes, "long").get_xdata(), [1, 2, 3])
    np.testing.assert_array_equal(line(axes, "short").get_ydata(), [0.6])
    assert legend(axes) == ["long", "short"]
