"""How alerts turned out, from the labels that are known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fraud_mlops.errors import TrainingError
from fraud_mlops.monitoring.performance import (
    PeriodPerformance,
    daily_precision_at_budget,
    performance_by_period,
)

UNKNOWN = np.nan
TIMES = np.array(
    [
        "2024-01-31T23:59:59",
        "2024-02-01",
        "2024-01-02",
        "2024-02-29T12:00",
        "2024-02-29",
        "2024-04-01",
    ],
    dtype="datetime64[us]",
)
LABELS = np.array([1, 0, 0, 1, 1, UNKNOWN])
SCORES = np.array([0.9, 0.8, 0.1, 0.7, 0.2, 0.99])
ALERTS = np.array([True, True, False, True, False, True])
AMOUNTS = np.array([100.0, 10.0, np.nan, 300.0, 100.0, 50.0])


def test_each_month_is_judged_on_the_labels_that_are_known() -> None:
    january, february, april = performance_by_period(
        TIMES, LABELS, SCORES, ALERTS, AMOUNTS, period="month"
    )
    assert january == PeriodPerformance(
        period="2024-01",
        rows=2,
        labelled=2,
        frauds=1,
        alerts=1,
        labelled_alerts=1,
        precision_of_alerts=1.0,
        recall_of_alerts=1.0,
        value_detected=1.0,
        average_precision=1.0,
    )
    assert february.precision_of_alerts == 0.5
    assert february.recall_of_alerts == 0.5
    assert february.value_detected == 300 / 400
    assert february.average_precision == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert (april.rows, april.alerts, april.labelled) == (1, 1, 0)
    assert april.precision_of_alerts is None
    assert april.average_precision is None
    assert april.value_detected is None


def test_an_alert_without_a_label_is_neither_right_nor_wrong() -> None:
    times = np.full(3, np.datetime64("2024-01-01"))
    [day] = performance_by_period(
        times, np.array([1, UNKNOWN, 0]), np.ones(3), np.ones(3, bool), None, period="day"
    )
    assert (day.alerts, day.labelled_alerts, day.labelled) == (3, 2, 2)
    assert day.precision_of_alerts == 0.5
    assert day.value_detected is None


def test_unknown_and_negative_amounts_count_as_nothing() -> None:
    times = np.full(4, np.datetime64("2024-01-01"))
    [day] = performance_by_period(
        times,
        np.ones(4),
        np.ones(4),
        np.array([True, True, True, False]),
        np.array([np.nan, -500, 30, 10]),
        period="day",
    )
    assert day.value_detected == 0.75


@pytest.mark.parametrize(
    ("period", "names"),
    [
        ("day", ["2024-01-02", "2024-01-31", "2024-02-01", "2024-02-29", "2024-04-01"]),
        ("week", ["2024-01-01", "2024-01-29", "2024-02-26", "2024-04-01"]),
        ("month", ["2024-01", "2024-02", "2024-04"]),
    ],
)
def test_periods_bear_the_names_of_partitions(period: str, names: list[str]) -> None:
    found = performance_by_period(TIMES, LABELS, SCORES, ALERTS, None, period=period)  # type: ignore[arg-type]
    assert [p.period for p in found] == names
    aware = pd.DatetimeIndex(TIMES).tz_localize("UTC")
    again = performance_by_period(aware, LABELS, SCORES, ALERTS, None, period=period)  # type: ignore[arg-type]
    assert again == found


def test_no_claims_give_no_periods() -> None:
    none = np.empty(0)
    assert (
        performance_by_period(np.empty(0, "datetime64[us]"), none, none, none, None, period="day")
        == ()
    )
    assert (
        daily_precision_at_budget(np.empty(0, "datetime64[us]"), none, none, budget=0.1).days == ()
    )


def test_a_score_that_is_not_finite_stops_the_report() -> None:
    with pytest.raises(TrainingError, match="not finite"):
        performance_by_period(
            TIMES, LABELS, np.where(SCORES > 0.85, np.nan, SCORES), ALERTS, None, period="month"
        )


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31 - 1), st.sampled_from(["day", "week", "month"]))
def test_periods_add_up_to_the_whole_in_any_order(seed: int, period: str) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 80))
    times = np.datetime64("2023-12-20", "us") + rng.integers(0, 60 * 86_400_000_000, n)
    labels = rng.choice([0.0, 1.0, np.nan], n)
    scores, alerts, order = rng.random(n), rng.random(n) < 0.3, rng.permutation(n)
    found = performance_by_period(times, labels, scores, alerts, scores, period=period)  # type: ignore[arg-type]
    shuffled = performance_by_period(
        times[order],
        labels[order],
        scores[order],
        alerts[order],
        scores[order],
        period=period,  # type: ignore[arg-type]
    )
    assert [p.model_dump(exclude={"value_detected"}) for p in found] == [
        p.model_dump(exclude={"value_detected"}) for p in shuffled
    ]
    assert [p.period for p in found] == sorted({p.period for p in found})
    assert sum(p.rows for p in found) == n
    assert sum(p.labelled for p in found) == (~np.isnan(labels)).sum()
    assert sum(p.frauds for p in found) == (labels == 1).sum()
    assert sum(p.alerts for p in found) == alerts.sum()


def test_a_team_that_looks_into_the_same_share_every_day() -> None:
    day_one, day_two = np.datetime64("2024-01-01T08:00"), np.datetime64("2024-01-02T08:00")
    times = np.array([day_one] * 20 + [day_two] * 5)
    labels = np.zeros(25)
    labels[[18, 3]] = 1  # of the first day's two highest scores one is fraud; none on the second
    scores = np.r_[np.arange(20), np.arange(5)].astype(float)
    found = daily_precision_at_budget(times, labels, scores, budget=0.1)
    assert [(d.day, d.reviewed, d.precision) for d in found.days] == [
        ("2024-01-01", 2, 0.5),
        ("2024-01-02", 1, 0.0),
    ]
    assert found.mean == 0.25


def test_days_without_labels_are_listed_but_not_averaged() -> None:
    times = np.array(["2024-01-01", "2024-01-01", "2024-01-02"], dtype="datetime64[D]")
    found = daily_precision_at_budget(
        times, np.array([1, UNKNOWN, UNKNOWN]), np.array([0.1, 0.9, 0.9]), budget=0.5
    )
    assert [(d.rows, d.labelled, d.reviewed, d.precision) for d in found.days] == [
        (2, 1, 1, 1.0),
        (1, 0, 0, None),
    ]
    assert found.mean == 1.0
    assert (
        daily_precision_at_budget(times, np.full(3, UNKNOWN), np.ones(3), budget=0.5).mean is None
    )


def test_equal_scores_at_the_cut_count_by_the_mean_of_their_orders() -> None:
    times = np.full(4, np.datetime64("2024-01-01"))
    labels = np.array([1, 0, 0, 0])
    assert daily_precision_at_budget(times, labels, np.ones(4), budget=0.25).mean == 0.25
