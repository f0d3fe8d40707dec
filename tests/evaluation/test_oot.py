"""The report on the out-of-time window."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fraud_mlops.contract import Window
from fraud_mlops.errors import SplitError
from fraud_mlops.evaluation.metrics import evaluate
from fraud_mlops.evaluation.oot import OotReport, Slice, validate_oot, wilson_interval

WINDOW = Window.model_validate({"start": "2024-01-01", "end": "2024-04-01"})
N = 3000


@pytest.fixture(scope="module")
def claims() -> dict[str, Any]:
    """Three months, theft riskier than storm, one rare peril, a tenth of perils missing."""
    rng = np.random.default_rng(0)
    peril = rng.choice(
        np.array(["theft", "storm", "flood", None], object), N, p=[0.4, 0.48, 0.02, 0.1]
    )
    logits = (rng.normal(-3, 1.5, N) + (peril == "theft")).astype(np.float32)
    probabilities = 1 / (1 + np.exp(-logits.astype(np.float64)))
    start = np.datetime64("2024-01-01", "us")
    return {
        "labels": (rng.random(N) < probabilities).astype(np.int8),
        "logits": logits,
        "probabilities": probabilities,
        "times": start + np.sort(rng.integers(0, 91 * 86_400, N)) * np.timedelta64(1, "s"),
        "categories": {"peril": peril},
        "amounts": rng.lognormal(7, 1, N),
        "threshold": -1.0,
        "budget": 0.1,
        "window": WINDOW,
        "seed": 0,
        "resamples": 50,
    }


def slices(report: OotReport, feature: str) -> dict[str, Slice]:
    return {s.value: s for s in report.slices if s.feature == feature}


def test_metrics_are_those_of_evaluate_with_intervals(claims: dict[str, Any]) -> None:
    report = validate_oot(**claims)
    values = evaluate(
        claims["labels"], claims["logits"], budget=0.1, probabilities=claims["probabilities"]
    )
    assert {name: interval.value for name, interval in report.metrics.items()} == values
    assert report.metrics["average_precision"].low < report.metrics["average_precision"].high
    assert (report.rows, report.frauds) == (N, claims["labels"].sum())
    assert report.window == WINDOW


def test_alerts_are_the_claims_at_or_above_the_threshold(claims: dict[str, Any]) -> None:
    threshold = float(claims["logits"][17])
    report = validate_oot(**claims | {"threshold": threshold})
    alerted, frauds = claims["logits"] >= threshold, claims["labels"] == 1
    assert alerted[17]
    assert report.alerts == alerted.sum()
    assert report.alert_share == pytest.approx(alerted.mean())
    assert report.precision_of_alerts == pytest.approx(frauds[alerted].mean())
    assert report.recall_of_alerts == pytest.approx(alerted[frauds].mean())
    amounts = claims["amounts"]
    assert report.value_detected == pytest.approx(
        amounts[frauds & alerted].sum() / amounts[frauds].sum()
    )


def test_value_detected_passes_over_unknown_amounts_and_is_none_without_any(claims) -> None:
    amounts = claims["amounts"].copy()
    amounts[::2] = np.nan
    alerted, frauds = claims["logits"] >= -1, claims["labels"] == 1
    found = validate_oot(**claims | {"amounts": amounts}).value_detected
    assert found == pytest.approx(np.nansum(amounts[frauds & alerted]) / np.nansum(amounts[frauds]))
    assert validate_oot(**claims | {"amounts": None}).value_detected is None
    assert validate_oot(**claims | {"amounts": np.full(N, np.nan)}).value_detected is None


def test_months_come_in_order_and_hold_every_claim(claims: dict[str, Any]) -> None:
    report = validate_oot(**claims)
    months = slices(report, "event_month")
    assert list(months) == ["2024-01", "2024-02", "2024-03"]
    assert sum(s.rows for s in months.values()) == N
    assert sum(s.alerts for s in months.values()) == report.alerts
    january = claims["times"] < np.datetime64("2024-02-01")
    one = evaluate(claims["labels"][january], claims["logits"][january], budget=0.1)
    assert months["2024-01"].average_precision == pytest.approx(one["average_precision"])
    assert months["2024-01"].roc_auc == pytest.approx(one["roc_auc"])


def test_times_may_be_a_pandas_index_of_another_zone(claims: dict[str, Any]) -> None:
    index = pd.DatetimeIndex(claims["times"]).tz_localize("UTC")
    expected = validate_oot(**claims)
    assert validate_oot(**claims | {"times": index}) == expected
    assert validate_oot(**claims | {"times": index.tz_convert("Asia/Tokyo")}) == expected


def test_categories_are_sliced_by_size_with_missing_ones_named(claims: dict[str, Any]) -> None:
    perils = slices(validate_oot(**claims), "peril")
    assert list(perils) == ["storm", "theft", "(missing)", "flood"]
    theft = claims["categories"]["peril"] == "theft"
    assert perils["theft"].rows == theft.sum()
    assert perils["theft"].fraud_rate == pytest.approx(claims["labels"][theft].mean())
    assert perils["theft"].mean_probability == pytest.approx(claims["probabilities"][theft].mean())
    assert perils["theft"].recall_of_alerts is not None


def test_a_small_slice_has_counts_and_rates_but_no_metrics(claims: dict[str, Any]) -> None:
    flood = slices(validate_oot(**claims), "peril")["flood"]
    assert flood.rows < 100
    assert flood.rows * flood.fraud_rate == pytest.approx(flood.frauds)
    assert flood.mean_probability > 0
    metrics = flood.average_precision, flood.roc_auc, flood.precision_of_alerts
    assert (*metrics, flood.recall_of_alerts) == (None, None, None, None)


@pytest.mark.parametrize(("frauds", "judged"), [(9, False), (10, True), (110, True), (111, False)])
def test_a_slice_needs_ten_of_each_class(frauds: int, judged: bool, claims) -> None:
    labels = (np.arange(120) < frauds).astype(np.int8)
    small = {name: claims[name][:120] for name in ("logits", "probabilities", "times", "amounts")}
    values = {"peril": ["theft"] * 120}
    report = validate_oot(**claims | small | {"labels": labels, "categories": values})
    assert (slices(report, "peril")["theft"].average_precision is not None) == judged


def test_of_many_values_the_twenty_largest_are_shown(claims: dict[str, Any]) -> None:
    values = np.array([f"city {i}" for i in range(50)], object)[np.arange(N) % 50]
    values[:500] = "city 49"
    cities = slices(validate_oot(**claims | {"categories": {"city": values}}), "city")
    assert len(cities) == 20
    assert next(iter(cities)) == "city 49"


def test_reliability_bins_hold_all_claims_and_the_true_rate(claims: dict[str, Any]) -> None:
    bins = validate_oot(**claims).reliability
    assert [b.rows for b in bins] == [N // 10] * 9 + [N // 50] * 5, "finer where alerts come from"
    assert sum(b.frauds for b in bins) == claims["labels"].sum()
    assert all(b.probability_low <= b.mean_probability <= b.probability_high for b in bins)
    assert all(a.probability_high <= b.probability_low for a, b in pairwise(bins))
    honest = [b.fraud_rate_low <= b.mean_probability <= b.fraud_rate_high for b in bins]
    assert sum(honest) >= 11  # labels were drawn with these probabilities


def test_equal_probabilities_make_fewer_bins_not_empty_ones(claims: dict[str, Any]) -> None:
    flat = np.full(N, 0.1)
    (one,) = validate_oot(**claims | {"probabilities": flat}).reliability
    assert (one.rows, one.mean_probability) == (N, pytest.approx(0.1))


@pytest.mark.parametrize("label", [0, 1])
def test_what_one_class_leaves_undefined_is_absent_and_the_json_stays_valid(label, claims) -> None:
    report = validate_oot(**claims | {"labels": np.full(N, label, np.int8), "threshold": 1e9})
    assert "roc_auc" not in report.metrics
    assert report.precision_of_alerts is None

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    json.loads(report.model_dump_json(), parse_constant=refuse)
    assert OotReport.model_validate_json(report.model_dump_json()) == report


def test_the_same_seed_gives_the_same_report(claims: dict[str, Any]) -> None:
    assert validate_oot(**claims) == validate_oot(**claims)
    assert validate_oot(**claims) != validate_oot(**claims | {"seed": 1})


def test_an_empty_window_is_a_clear_error(claims: dict[str, Any]) -> None:
    nothing = {name: claims[name][:0] for name in ("labels", "logits", "probabilities", "times")}
    with pytest.raises(SplitError, match=r"2024-01-01 to 2024-04-01 has no labelled.*split\.oot"):
        validate_oot(**claims | nothing)


@pytest.mark.parametrize(("hits", "n"), [(0, 10), (10, 10), (3, 40)])
def test_the_wilson_interval_is_that_of_scipy(hits: int, n: int) -> None:
    from scipy.stats import binomtest

    expected = binomtest(hits, n).proportion_ci(method="wilson")
    assert wilson_interval(hits, n) == pytest.approx((expected.low, expected.high), abs=1e-6)
