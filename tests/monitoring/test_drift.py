"""New claims against training claims: who moved, by how much, and no false alarms."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fraud_mlops.errors import FraudMlopsError
from fraud_mlops.limits import Drift
from fraud_mlops.monitoring.distances import (
    decile_edges,
    jensen_shannon,
    kolmogorov_smirnov,
    numeric_counts,
    stability,
)
from fraud_mlops.monitoring.drift import MIN_ROWS, measure_drift
from fraud_mlops.monitoring.drift_report import DriftReport, FeatureDrift

NUMERIC = ("amount", "age", "past_claims", "constant", "empty")
CATEGORICAL = ("peril", "shop", "nothing")


def claims(
    rows: int,
    seed: int,
    *,
    amount_factor: float = 1.0,
    age_missing: float = 0.05,
    perils: tuple[float, float, float] = (0.6, 0.3, 0.1),
    score_shift: float = 0.0,
) -> pa.Table:
    """Heavy tails, gaps, counts full of ties, a category of 300 shops, two useless columns."""
    rng = np.random.default_rng(seed)
    age = rng.normal(45, 12, rows)
    return pa.table(
        {
            "amount": rng.lognormal(7, 1, rows) * amount_factor,
            "age": pa.array(
                np.where(rng.random(rows) < age_missing, np.nan, age), from_pandas=True
            ),
            "past_claims": rng.poisson(0.3, rows),
            "constant": np.full(rows, 3.0),
            "empty": pa.nulls(rows, pa.float64()),
            "peril": rng.choice(["collision", "theft", "hail"], rows, p=perils).tolist(),
            "shop": [f"shop {i}" for i in rng.zipf(1.7, rows) % 300],
            "nothing": pa.nulls(rows, pa.string()),
            "model_score": rng.normal(score_shift, 1, rows),
        }
    )


def measured(reference: pa.Table, current: pa.Table, **options: object) -> DriftReport:
    given: dict[str, object] = {
        "numeric": NUMERIC,
        "categorical": CATEGORICAL,
        "limits": Drift(),
        "window": "oot",
    }
    return measure_drift(reference, current, **(given | options))  # type: ignore[arg-type]


def numbers(reference: np.ndarray, current: np.ndarray, **options: object) -> FeatureDrift:
    """Drift of one numeric feature, without score and without much noise allowance."""
    first, second = pa.table({"x": reference}), pa.table({"x": current})
    report = measured(first, second, numeric=["x"], categorical=[], score=None, **options)
    return report.features[0]


def texts(reference: list[str | None], current: list[str | None]) -> FeatureDrift:
    first, second = (pa.table({"x": pa.array(v, pa.string())}) for v in (reference, current))
    report = measured(first, second, numeric=[], categorical=["x"], score=None)
    return report.features[0]


@pytest.mark.parametrize("rows", [(200, 200), (4000, 300), (4000, 4000)])
def test_claims_of_one_distribution_raise_no_alarm(rows: tuple[int, int]) -> None:
    for seed in range(4):
        report = measured(claims(rows[0], seed), claims(rows[1], 100 + seed))
        assert report.verdict == "stable", report.reasons
        assert {f.verdict for f in report.features} == {"stable"}
        assert report.score is not None
        assert report.score.verdict == "stable"
        assert report.drifted_share == 0
        assert report.classifier_auc == pytest.approx(0.5, abs=0.1)
        assert report.reasons == ("Nothing moves beyond what chance and limits allow.",)


def test_small_samples_are_given_the_noise_they_have() -> None:
    """PSI of 200 claims against 200 often lies above the limit of 0.1 by chance alone."""
    rng = np.random.default_rng(0)
    found = [numbers(rng.normal(size=200), rng.normal(size=200)) for _ in range(40)]
    psi = np.array([f.psi for f in found], dtype=np.float64)
    assert (psi > Drift().psi_warn).sum() > 10, "the limit alone would give false alarms"
    assert psi.mean() == pytest.approx(found[0].psi_expected, rel=0.2)
    assert [f.verdict for f in found].count("stable") >= 39


def test_the_features_that_moved_are_named_and_no_others() -> None:
    new = claims(3000, 1, amount_factor=3.0, age_missing=0.4, perils=(0.2, 0.3, 0.5))
    report = measured(claims(8000, 0), new)
    drifted = {f.feature for f in report.features if f.verdict == "drift"}
    assert drifted == {"amount", "age", "peril"}
    assert {f.verdict for f in report.features if f.feature not in drifted} == {"stable"}
    assert report.verdict == "drift"
    assert report.drifted_share == pytest.approx(3 / 8)
    assert report.classifier_auc is not None
    assert report.classifier_auc > 0.8
    said = " ".join(report.reasons)
    assert all(name in said for name in drifted)
    assert "past_claims" not in said
    assert "missing 5% -> 38%" in said
    assert f"ROC-AUC of {report.classifier_auc:.2f}" in said


def test_one_drifted_feature_of_many_warns_and_a_drifted_score_alarms() -> None:
    limits = Drift(classifier_alert=0.99)
    one = measured(claims(4000, 0), claims(4000, 1, amount_factor=3.0), limits=limits)
    assert one.verdict == "warn"
    assert [f.feature for f in one.features if f.verdict == "drift"] == ["amount"]
    scored = measured(claims(4000, 0), claims(4000, 1, score_shift=1.0), limits=limits)
    assert scored.score is not None
    assert (scored.verdict, scored.score.verdict) == ("drift", "drift")
    assert scored.drifted_share == 0
    assert scored.reasons[0].startswith("The score has drifted: PSI ")


def test_features_that_stand_apart_are_told_and_not_judged() -> None:
    """Neither one by one, nor in the share of drifted ones, nor by the classifier."""
    reference, new = claims(4000, 0), claims(4000, 1, amount_factor=30.0, age_missing=0.9)
    report = measured(reference, new, apart=["amount", "age", "of another contract"])
    assert report.verdict == "stable"
    apart = {f.feature: f for f in report.features if f.verdict == "not whole"}
    assert set(apart) == {"amount", "age"}
    assert apart["amount"].psi > 1
    assert report.apart == 2
    assert report.classifier_auc == pytest.approx(0.5, abs=0.1)
    assert "Not judged" in report.reasons[-1]
    assert report.reasons[-1].endswith("amount, age.")
    share = measured(reference, claims(4000, 1, perils=(0.1, 0.1, 0.8)), apart=["amount", "age"])
    assert share.drifted_share == pytest.approx(1 / 6)


def test_a_change_that_no_single_feature_shows_is_seen_by_the_classifier() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 3000))
    apart = pa.table({"a": x, "b": y, "model_score": rng.normal(size=3000)})
    alike = pa.table({"a": x, "b": x + 0.1 * y, "model_score": rng.normal(size=3000)})
    report = measured(apart, alike, numeric=["a", "b"], categorical=[])
    assert {f.verdict for f in report.features} == {"stable"}
    assert report.classifier_auc is not None
    assert report.classifier_auc > 0.8
    assert report.verdict == "drift"


def test_claims_that_share_an_entitys_history_are_not_told_apart_by_it() -> None:
    """A history is common to an entity's claims of some weeks, and to no others."""
    rng = np.random.default_rng(5)
    weeks, each = 60, 50
    history = rng.gamma(2, 1, (8, weeks)).repeat(each, axis=1)
    table = pa.table({f"history_{i}": values for i, values in enumerate(history)})
    half = weeks * each // 2
    report = measured(
        table[:half], table[half:], numeric=table.column_names, categorical=[], score=None
    )
    assert report.classifier_auc is not None
    assert report.classifier_auc < Drift().classifier_alert


def test_too_few_claims_are_not_judged_however_different() -> None:
    few = claims(MIN_ROWS - 1, 1, amount_factor=100.0, age_missing=1.0)
    for report in (measured(claims(5000, 0), few), measured(few, claims(5000, 0))):
        assert {f.verdict for f in report.features} == {"too few rows"}
        assert report.verdict == "not judged"
        assert report.classifier_auc is None
        assert report.drifted_share is None
        assert report.reasons[0].startswith("Too few claims: ")


def test_where_every_feature_stands_apart_nothing_is_judged() -> None:
    reference, new = claims(1000, 0), claims(1000, 1)
    report = measured(
        reference, new, numeric=["amount"], categorical=[], score=None, apart=["amount"]
    )
    assert (report.verdict, report.drifted_share) == ("not judged", None)
    assert report.reasons[-1].endswith("amount.")


def test_no_new_claims_at_all_leave_the_figures_open() -> None:
    report = measured(claims(500, 0), claims(0, 1))
    assert report.verdict == "not judged"
    assert report.rows_current == 0
    assert all(f.psi is None and f.missing_current is None for f in report.features)
    assert DriftReport.model_validate_json(report.model_dump_json()) == report


@pytest.mark.parametrize("rows", [0, 50, 1000])
def test_reports_make_the_round_trip_through_strict_json(rows: int) -> None:
    report = measured(claims(1000, 0), claims(rows, 1, amount_factor=2))

    def refuse(text: str) -> None:
        raise AssertionError(f"{text} is no JSON")

    json.loads(report.model_dump_json(), parse_constant=refuse)
    assert DriftReport.model_validate_json(report.model_dump_json()) == report
    assert report.window == "oot"


def test_the_same_seed_gives_the_same_report_whatever_the_chunks() -> None:
    reference, current = claims(3000, 0), claims(2500, 1)
    chunked = pa.concat_tables([current.slice(0, 7), current.slice(7, 900), current.slice(907)])
    first = measured(reference, current, max_rows=2000, seed=3)
    assert first == measured(reference, chunked, max_rows=2000, seed=3)
    assert first != measured(reference, current, max_rows=2000, seed=4)
    assert (first.rows_reference, first.rows_current) == (2000, 2000)


def test_a_column_that_one_side_lacks_is_told_by_name() -> None:
    with pytest.raises(FraudMlopsError, match=r"new claims have no column \['amount'\]"):
        measured(claims(300, 0), claims(300, 1).drop_columns(["amount"]))
    with pytest.raises(FraudMlopsError, match=r"training claims have no column \['model_score'\]"):
        measured(claims(300, 0).drop_columns(["model_score"]), claims(300, 1))


def test_a_constant_that_becomes_another_constant_has_drifted() -> None:
    for value in (2.0, 4.0):
        found = numbers(np.full(500, 3.0), np.full(500, value))
        assert found.verdict == "drift"
        assert found.ks == 1.0
    assert numbers(np.full(500, 3.0), np.full(500, 3.0)).psi == 0


def test_a_flag_that_becomes_four_times_as_frequent_has_moved() -> None:
    """Deciles of a rare flag are all zero; it has its bins all the same."""
    rng = np.random.default_rng(0)
    before, now = (rng.random(5000) < rate for rate in (0.03, 0.12))
    assert numbers(before.astype(float), now.astype(float)).verdict == "warn"


def test_a_column_that_comes_to_life_or_dies_has_drifted() -> None:
    gone, known = np.full(500, np.nan), np.random.default_rng(0).normal(size=500)
    for pair in ((gone, known), (known, gone)):
        found = numbers(*pair)
        assert found.verdict == "drift"
        assert found.ks is None
    assert numbers(gone, gone).verdict == "stable"


def test_infinite_numbers_count_as_missing() -> None:
    known = np.random.default_rng(0).normal(size=1000)
    found = numbers(known, np.where(np.arange(1000) % 2, np.inf, known))
    assert (found.missing_reference, found.missing_current) == (0.0, 0.5)
    assert found.verdict == "drift"


def test_an_unseen_category_has_drifted_and_a_lone_typing_error_has_not() -> None:
    known = ["theft", "hail"] * 500
    assert texts(known, [*known[:700], *["flood"] * 300]).verdict == "drift"
    assert texts(known, [*known[:999], "thfet"]).verdict == "stable"
    assert texts(known, ["flood"] * 1000).js == 1.0


def test_gaps_are_judged_beyond_chance_and_by_the_limit() -> None:
    known = np.random.default_rng(0).normal(size=2000)

    def with_gaps(share: float) -> np.ndarray:
        return np.where(np.arange(2000) % 100 < 100 * share, np.nan, known)

    loose = Drift(psi_warn=9, psi_alert=9)
    assert numbers(known, with_gaps(0.09), limits=loose).verdict == "stable"
    assert numbers(known, with_gaps(0.11), limits=loose).verdict == "drift"
    assert numbers(with_gaps(0.11), known, limits=loose).verdict == "drift"


def test_psi_is_the_sum_over_bins_that_the_textbooks_have() -> None:
    before, now = np.array([500_000, 300_000, 200_000]), np.array([400_000, 300_000, 300_000])
    textbook = (0.4 - 0.5) * np.log(0.4 / 0.5) + (0.3 - 0.2) * np.log(0.3 / 0.2)
    found = stability(before, now)
    assert found.psi == pytest.approx(textbook, rel=1e-4)
    assert found.degrees == 2
    assert found.expected == pytest.approx(2 * (1e-6 + 1e-6))


def test_noise_of_psi_is_exceeded_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    draws = [
        stability(*numeric_counts(rng.normal(size=1000), rng.normal(size=500))) for _ in range(1500)
    ]
    assert np.mean([d.psi for d in draws]) == pytest.approx(draws[0].expected, rel=0.05)
    assert np.mean([d.psi > d.noise(0.05) for d in draws]) == pytest.approx(0.05, abs=0.02)


def test_ks_and_js_are_those_of_scipy() -> None:
    from scipy.spatial.distance import jensenshannon
    from scipy.stats import ks_2samp

    rng = np.random.default_rng(0)
    x, y = rng.poisson(3, 400).astype(float), rng.poisson(4, 300).astype(float)
    assert kolmogorov_smirnov(np.append(x, np.nan), y) == pytest.approx(ks_2samp(x, y).statistic)
    p, q = np.array([5, 3, 0, 2]), np.array([1, 4, 4, 0])
    assert jensen_shannon(p, q) == pytest.approx(jensenshannon(p, q, base=2))


@settings(max_examples=60, deadline=None)
@given(
    reference=st.lists(st.one_of(st.integers(-3, 3), st.floats(allow_nan=True)), max_size=60),
    current=st.lists(st.one_of(st.integers(-3, 3), st.floats(allow_nan=True)), max_size=60),
)
def test_every_claim_has_one_bin_and_psi_is_never_negative(
    reference: list[float], current: list[float]
) -> None:
    first, second = (np.array(v, dtype=np.float64) for v in (reference, current))
    edges = decile_edges(first[~np.isnan(first)])
    assert (np.diff(edges) > 0).all()
    counts = numeric_counts(first, second)
    assert [c.sum() for c in counts] == [len(first), len(second)]
    if len(first) and len(second):
        psi = stability(*counts).psi
        assert 0 <= psi < np.inf
        swapped = stability(counts[1], counts[0])
        assert swapped.psi == pytest.approx(psi, abs=1e-12)
