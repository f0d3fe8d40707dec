"""Figures: what is drawn is what was given, and odd input still gives a figure."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fraud_mlops import plots
from fraud_mlops.claims.report import ColumnProfile
from fraud_mlops.contract import Drift
from fraud_mlops.evaluation.oot import ReliabilityBin, Slice
from fraud_mlops.monitoring.drift import FeatureDrift
from fraud_mlops.monitoring.performance import PeriodPerformance
from fraud_mlops.plots.style import label, percent

PNG = b"\x89PNG\r\n\x1a\n"


def title(figure: Any) -> str:
    return " ".join(figure.get_suptitle().split())


def bar_lengths(axes: Any) -> list[float]:
    """Of horizontal bars, from the top down."""
    bars = sorted(axes.patches, key=lambda bar: bar.get_y())
    return [bar.get_width() for bar in bars]


def row_names(axes: Any) -> list[str]:
    return [text.get_text() for text in axes.get_yticklabels()]


def line(axes: Any, name: str) -> Any:
    [found] = [drawn for drawn in axes.get_lines() if drawn.get_label() == name]
    return found


def legend(axes: Any) -> list[str]:
    return [text.get_text() for text in axes.get_legend().get_texts()]


def size(png: bytes) -> tuple[int, int]:
    return int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big")


def column(name: str, missing: float) -> ColumnProfile:
    return ColumnProfile(name=name, kind="number", missing=missing)


def candidate(name: str, ap: float | None, status: str = "trained") -> dict[str, Any]:
    return {"name": name, "family": "tabm", "status": status, "average_precision": ap}


def part(value: str, ap: float | None, rows: int = 500, feature: str = "peril") -> Slice:
    return Slice(
        kind="category",
        feature=feature,
        value=value,
        rows=rows,
        frauds=rows // 10,
        alerts=5,
        average_precision=ap,
        roc_auc=None,
        precision_of_alerts=None,
        recall_of_alerts=None,
        mean_probability=0.1,
        fraud_rate=0.1,
    )


def reliability_bin(predicted: float, observed: float) -> ReliabilityBin:
    return ReliabilityBin(
        rows=100,
        frauds=int(100 * observed),
        probability_low=predicted,
        probability_high=predicted,
        mean_probability=predicted,
        fraud_rate=observed,
        fraud_rate_low=max(0, observed - 0.05),
        fraud_rate_high=observed + 0.05,
    )


def feature(name: str, psi: float | None, verdict: str = "stable") -> FeatureDrift:
    return FeatureDrift(
        feature=name,
        kind="numeric",
        psi=psi,
        psi_expected=None if psi is None else 0.01,
        psi_noise=None if psi is None else 0.02,
        missing_reference=0,
        missing_current=0,
        verdict=verdict,  # type: ignore[arg-type]
    )


def month(name: str, rows: int, labelled: int, precision: float | None) -> PeriodPerformance:
    return PeriodPerformance(
        period=name,
        rows=rows,
        labelled=labelled,
        frauds=labelled // 10,
        alerts=rows // 20,
        precision_of_alerts=precision,
        recall_of_alerts=precision,
        value_detected=None,
        average_precision=precision,
    )


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
    assert len(row_names(many.axes[0])) == 30
    assert "10 more columns not shown" in many.axes[0].get_xlabel()


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


def test_reliability_counts_the_bins_whose_interval_holds_the_prediction() -> None:
    figure = plots.reliability([reliability_bin(0.1, 0.12), reliability_bin(0.5, 0.2)])
    assert title(figure).startswith("In 1 of 2 bins")
    points = next(drawn for drawn in figure.axes[0].get_lines() if drawn.get_marker() == "o")
    np.testing.assert_array_equal(points.get_xydata(), [[0.1, 0.12], [0.5, 0.2]])


def test_each_class_of_the_score_histogram_adds_up_to_the_whole() -> None:
    rng = np.random.default_rng(0)
    figure = plots.score_histogram(rng.normal(-3, 1, 5000), np.array([-4.0, 1.0, 2.0, 3.0]), 0.0)
    [axes] = figure.axes
    for stairs in axes.patches:
        assert stairs.get_data().values.sum() == pytest.approx(1)
    assert "75% of fraud" in title(figure)
    assert list(line(axes, "threshold").get_xdata()) == [0, 0]


def test_slices_stand_beside_their_fraud_rate_and_the_weakest_is_named() -> None:
    figure = plots.slice_forest(
        [part("theft", 0.5), part("hail", 0.2), part("tiny", None, rows=9)], overall=0.4
    )
    [axes] = figure.axes
    assert row_names(axes) == ["peril = theft", "peril = hail"]
    np.testing.assert_array_equal(line(axes, "average precision").get_xdata(), [0.5, 0.2])
    np.testing.assert_array_equal(line(axes, "fraud rate (chance)").get_xdata(), [0.1, 0.1])
    assert title(figure) == "Weakest slice: peril = hail, average precision 0.20, overall 0.40"
    assert "1 slices too small" in axes.get_xlabel()


def test_the_largest_slices_are_shown_when_there_are_many() -> None:
    many = [part(f"v{i}", 0.3, rows=100 + i) for i in range(50)]
    [axes] = plots.slice_forest(many).axes
    assert len(row_names(axes)) == 30
    assert "peril = v49" in row_names(axes)
    assert "peril = v0" not in row_names(axes)
    assert "20 more slices not shown" in axes.get_xlabel()


def test_metrics_have_their_intervals() -> None:
    figure = plots.metric_intervals(
        {"average_precision": (0.3, 0.25, 0.36), "brier": (0.04, 0.03, 0.05)}
    )
    [axes] = figure.axes
    assert row_names(axes) == ["average precision", "brier"]
    spans = [segment[:, 0].tolist() for segment in axes.collections[0].get_segments()]
    assert spans == [[0.25, 0.36], [0.03, 0.05]]
    assert title(figure) == "Average precision 0.300, 95% interval 0.250 to 0.360"


def test_months_that_cannot_be_judged_are_gaps() -> None:
    [axes] = plots.by_month(["2024-01", "2024-02"], [0.3, None], [0.5, 0.4], [0.1, 0.1]).axes
    np.testing.assert_array_equal(line(axes, "average precision").get_ydata(), [0.3, np.nan])
    np.testing.assert_array_equal(line(axes, "precision of alerts").get_ydata(), [0.5, 0.4])


def test_drift_shows_the_features_that_moved_most_and_the_limits() -> None:
    features = [feature(f"f{i:02d}", i / 50, "drift" if i > 20 else "stable") for i in range(30)]
    figure = plots.drift_bars(features, Drift(psi_warn=0.15, psi_alert=0.33))
    [axes] = figure.axes
    assert row_names(axes)[:2] == ["f29", "f28"]
    assert bar_lengths(axes) == pytest.approx([i / 50 for i in range(29, 9, -1)])
    limits = [drawn.get_xdata()[0] for drawn in axes.get_lines() if drawn.get_linestyle() == "--"]
    assert limits == [0.15, 0.33]
    assert "10 more features not shown" in axes.get_xlabel()
    assert title(figure) == "9 of 30 features drifted; most: f29, PSI 0.58"
    unjudged = plots.drift_bars([feature("f", 2.0, "too few rows")], Drift())
    assert title(unjudged) == "Too few claims to judge drift"


def test_a_number_in_training_and_new_claims_shares_its_bins() -> None:
    before = np.append(np.arange(1000.0), np.nan)
    figure = plots.distribution_pair("amount", before, np.append(np.arange(500.0), 1e9), "numeric")
    [axes] = figure.axes
    first, _, second, _ = axes.patches
    np.testing.assert_array_equal(first.get_data().edges, second.get_data().edges)
    assert first.get_data().edges[-1] < 2000, "one outlier must not squeeze all others together"
    for drawn in (first, second):
        assert drawn.get_data().values.sum() == pytest.approx(1)
    assert legend(axes) == ["training claims, 0.10% missing", "new claims"]
    assert "counted at the rim" in axes.get_xlabel()


def test_a_category_shows_what_is_new_and_what_is_missing() -> None:
    before = np.array(["a"] * 6 + ["b"] * 4, dtype=object)
    now = np.array(["a"] * 2 + ["new"] * 5 + [None] * 3, dtype=object)
    figure = plots.distribution_pair("peril", before, now, "categorical")
    [axes] = figure.axes
    assert set(row_names(axes)) == {"a", "b", "new", "(missing)"}
    shares = dict(zip(row_names(axes), [bar.get_width() for bar in axes.patches][4:], strict=True))
    assert shares == {"a": 0.2, "b": 0.0, "new": 0.5, "(missing)": 0.3}
    assert title(figure) == "peril: new goes from 0% to 50% of claims"


def test_the_rarest_categories_are_put_together() -> None:
    before = np.repeat([f"c{i:02d}" for i in range(20)], np.arange(20, 0, -1)).astype(object)
    [axes] = plots.distribution_pair("shop", before, before, "categorical").axes
    assert row_names(axes)[-1] == "8 others"
    assert axes.patches[12].get_width() == pytest.approx(sum(range(1, 9)) / 210)


def test_performance_over_time_shows_what_is_not_known_yet() -> None:
    figure = plots.performance_over_time(
        [month("2024-01", 100, 100, 0.5), month("2024-02", 80, 20, None)]
    )
    above, below = figure.axes
    np.testing.assert_array_equal(line(above, "precision of alerts").get_ydata(), [0.5, np.nan])
    assert [bar.get_height() for bar in below.patches] == [100, 20, 0, 60]
    assert title(figure) == "120 of 180 scored claims have a label; 12 are fraud"


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
