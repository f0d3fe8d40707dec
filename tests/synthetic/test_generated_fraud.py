"""The truth behind generated claims: honest probabilities, several kinds, a drift."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from fraud_mlops.synthetic import KINDS, generate


def probabilities(source):
    return np.concatenate(
        [chunk.truth.column("fraud_probability").to_numpy() for chunk in generate(source)]
    )


@pytest.mark.parametrize("fraud_rate", [0.01, 0.06, 0.2, 0.5])
@pytest.mark.parametrize("seed", [1, 2])
def test_the_mean_probability_is_the_fraud_rate_asked_for(fraud_rate, seed, source):
    made = source(claims=150_000, fraud_rate=fraud_rate, seed=seed)
    assert probabilities(made).mean() == pytest.approx(fraud_rate, rel=0.05)


def test_labels_are_coins_thrown_with_the_true_probability(many):
    known = many[many["label"].notna()]
    p, label = known["fraud_probability"], known["label"].astype(float)
    assert p.between(0, 1).all()
    assert label.mean() == pytest.approx(p.mean(), abs=4 * np.sqrt((p * (1 - p)).sum()) / len(p))


def test_the_true_probability_is_calibrated_from_the_surest_to_the_least_sure(many):
    known = many[many["label"].notna()]
    bins = pd.cut(known["fraud_probability"], [0, 0.01, 0.05, 0.2, 0.4, 0.6, 0.7, 0.8, 1])
    p, label = known["fraud_probability"], known["label"].astype(float)
    sums = pd.DataFrame({"p": p, "variance": p * (1 - p), "label": label, "rows": 1})
    sums = sums.groupby(bins, observed=True).sum()
    assert len(sums) >= 7
    assert sums["rows"].min() > 100
    z = (sums["label"] - sums["p"]) / np.sqrt(sums["variance"])
    # Chi-square with 8 degrees of freedom: 26.1 is its 99.9th percentile.
    assert (z**2).sum() < 26.1


def test_the_best_possible_ranking_is_neither_perfect_nor_poor(many):
    from sklearn.metrics import average_precision_score

    known = many[many["label"].notna()]
    ceiling = average_precision_score(known["label"].astype(int), known["fraud_probability"])
    assert 0.5 < ceiling < 0.8


def test_every_kind_of_fraud_is_there_and_genuine_claims_have_none(many):
    known = many[many["label"].notna()]
    assert ((known["kind"] == "none") == (known["label"] == 0)).all()
    share = known.loc[known["label"] == 1, "kind"].value_counts(normalize=True)
    assert set(share.index) == set(KINDS) - {"none"}
    assert share.min() > 0.04
    assert share.max() < 0.5


def test_duplicates_repeat_an_earlier_claim_of_the_same_people(few):
    duplicates = few[few["kind"] == "duplicate"]
    assert len(duplicates) > 100
    same = ["policyholder", "vehicle", "provider", "agent", "peril"]
    pairs = duplicates.merge(few, on=same, suffixes=("", "_first"))
    gap = pairs["event_time"] - pairs["event_time_first"]
    near = (pairs["amount"] / pairs["amount_first"] - 1).abs() < 0.03
    repeats = pairs[near & (gap > pd.Timedelta(0)) & (gap < pd.Timedelta("10D"))]
    assert set(repeats["claim_id"]) == set(duplicates["claim_id"])


def earlier_at_provider(claims: pd.DataFrame, days: int) -> pd.Series:
    """Claims of the same provider in the days before each claim."""
    ordered = claims.set_index("event_time").assign(one=1.0)
    counts = ordered.groupby("provider")["one"].rolling(f"{days}D", closed="left").sum().fillna(0)
    keyed = counts.reset_index().drop_duplicates(["provider", "event_time"])
    merged = claims[["provider", "event_time"]].merge(keyed, how="left")
    return pd.Series(merged["one"].to_numpy(), claims.index)


def test_rings_show_as_bursts_at_providers_they_share(few):
    crowd = earlier_at_provider(few, days=7)
    ring = few["kind"] == "ring"
    assert crowd[ring].median() >= 3
    assert crowd[few["kind"] == "none"].median() <= 1
    # Busy spells of honest providers look alike in numbers.
    assert (crowd[few["kind"] == "none"] >= 3).sum() > 50

    before = few[ring & (few["event_time"] < "2023-07-01")]["provider"].value_counts()
    assert len(before) < 0.15 * few["provider"].nunique()
    assert before.median() >= 5
    assert few[ring].groupby("provider")["agent"].nunique().median() <= 2


def test_genuine_claims_show_the_patterns_of_fraud_less_often(many):
    before = many[(many["event_time"] < "2023-07-01") & many["label"].notna()]
    for pattern, kind in (
        (before["policy_age_days"] < 40, "early_policy"),
        (before["amount_to_guide"] > 1.7, "inflated"),
    ):
        among_fraud = pattern[before["kind"] == kind].mean()
        among_genuine = pattern[before["kind"] == "none"].mean()
        assert 0.005 < among_genuine < 0.1
        assert among_fraud > 0.5


def test_drift_changes_which_fraud_there_is_and_where(many):
    fraud = many[many["kind"] != "none"]
    later = fraud["event_time"] >= "2023-07-01"
    mix = pd.crosstab(later, fraud["kind"], normalize="index")
    assert mix.loc[True, "early_policy"] < 0.7 * mix.loc[False, "early_policy"]
    assert mix.loc[True, "ring"] > 1.1 * mix.loc[False, "ring"]

    inflated = fraud["kind"] == "inflated"
    assert fraud[inflated & ~later]["peril"].value_counts().idxmax() == "collision"
    assert set(fraud[inflated & later]["peril"].value_counts().index[:2]) == {"glass", "weather"}

    # Rings also move on from year to year: within 2023 only the drift can have moved them.
    ring = (fraud["kind"] == "ring") & (fraud["event_time"].dt.year == 2023)
    old, new = (set(fraud[ring & when]["provider"]) for when in (~later, later))
    assert len(old & new) < 0.2 * len(new)


def test_drift_shifts_a_few_covariates_and_leaves_the_others(many):
    later = many["event_time"] >= "2023-07-01"
    app = (many["channel"] == "app").groupby(later).mean()
    assert app[True] > 2 * app[False]
    amount = many["amount"].groupby(later).median()
    assert amount[True] > 1.03 * amount[False]
    for steady in ("driver_age", "annual_mileage_km", "deductible", "documents"):
        means = many[steady].groupby(later).mean()
        assert means[True] == pytest.approx(means[False], rel=0.02)


def test_without_a_drift_date_the_mix_of_fraud_stays(source):
    chunks = list(generate(source(claims=200_000, drift_from=None)))
    truth = pd.concat([chunk.truth.to_pandas() for chunk in chunks], ignore_index=True)
    kinds = truth.loc[truth["kind"] != "none", "kind"]
    mix = pd.crosstab(kinds.index >= 133_333, kinds, normalize="index")
    assert (mix.loc[True] / mix.loc[False]).between(0.8, 1.25).all()
