"""Figures of the winner out of time, of drift and of performance show what was given."""

from __future__ import annotations

import numpy as np
import pytest
from plots_kit import (
    bar_lengths,
    feature,
    legend,
    line,
    month,
    part,
    reliability_bin,
    row_names,
    size,
    title,
)

from fraud_mlops import plots
from fraud_mlops.limits import Drift


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


def test_the_weakest_slice_is_the_one_whose_frauds_are_found_worst() -> None:
    """Average precision is low wherever fraud is rare, and says nothing of the model there."""
    figure = plots.slice_forest(
        [part("glass", 0.88, ap=0.18), part("theft", 0.52, ap=0.37), part("tiny", None, rows=9)],
        overall=0.8,
    )
    [axes] = figure.axes
    assert row_names(axes) == ["peril = theft", "peril = glass"]
    np.testing.assert_array_equal(line(axes, "ROC-AUC").get_xdata(), [0.52, 0.88])
    assert list(line(axes, "chance").get_xdata()) == [0.5, 0.5]
    assert title(figure) == "Weakest slice: peril = theft, ROC-AUC 0.52, overall 0.80"
    assert "1 slices too small" in axes.get_xlabel()


def test_the_weakest_slices_are_shown_when_there_are_many() -> None:
    many = [part(f"v{i}", 0.9 - i / 100, rows=100 + i) for i in range(50)]
    figure = plots.slice_forest(many)
    [axes] = figure.axes
    assert row_names(axes) == [f"peril = v{i}" for i in range(49, 37, -1)]
    assert "38 stronger slices not shown" in axes.get_xlabel()


def test_slices_too_small_to_be_judged_come_last() -> None:
    parts = [part("tiny", None, rows=9), part("hail", 0.9), part("theft", 0.6)]
    assert [p.value for p in plots.weakest_first(parts)] == ["theft", "hail", "tiny"]


def test_a_card_shows_figures_of_many_rows_as_large_as_they_are() -> None:
    """Metaflow's stylesheet lets no picture be higher than 500 pixels."""
    figures = [
        plots.slice_forest([part(f"v{i}", 0.5) for i in range(50)], 0.4),
        plots.drift_bars([feature(f"f{i}", 0.3, "drift") for i in range(50)], Drift()),
    ]
    assert all(size(plots.to_png(figure))[1] <= 500 for figure in figures)


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
    figure = plots.by_month(["2024-01", "2024-02"], [0.3, None], [0.5, 0.4], [0.1, 0.1])
    [axes] = figure.axes
    assert title(figure) == "Average precision by month: 3.0 to 3.0 times the fraud rate"
    np.testing.assert_array_equal(line(axes, "average precision").get_ydata(), [0.3, np.nan])
    np.testing.assert_array_equal(line(axes, "precision of alerts").get_ydata(), [0.5, 0.4])


def test_drift_shows_the_features_that_moved_most_and_the_limits() -> None:
    features = [feature(f"f{i:02d}", i / 50, "drift" if i > 20 else "stable") for i in range(30)]
    figure = plots.drift_bars(features, Drift(psi_warn=0.15, psi_alert=0.33))
    [axes] = figure.axes
    assert row_names(axes)[:2] == ["f29", "f28"]
    assert bar_lengths(axes) == pytest.approx([i / 50 for i in range(29, 17, -1)])
    limits = [drawn.get_xdata()[0] for drawn in axes.get_lines() if drawn.get_linestyle() == "--"]
    assert limits == [0.15, 0.33]
    assert "18 more features not shown" in axes.get_xlabel()
    assert title(figure) == "9 of 30 features drifted; most: f29, PSI 0.58"
    unjudged = plots.drift_bars([feature("f", 2.0, "too few rows")], Drift())
    assert title(unjudged) == "Too few claims to judge drift"


def test_one_feature_that_moved_far_hides_neither_the_others_nor_the_limits() -> None:
    features = [feature("far", 11.3, "drift"), feature("near", 0.2, "warn")]
    (axes,) = plots.drift_bars(features, Drift(psi_warn=0.1, psi_alert=0.25)).axes
    assert axes.get_xlim()[1] < 2.5
    assert "11.3" in [text.get_text() for text in axes.texts]


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
