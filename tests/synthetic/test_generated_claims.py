"""What a user of generated claims gets: a canonical table, the same one every time."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from fraud_mlops import catalog
from fraud_mlops.sources import SyntheticSource
from fraud_mlops.synthetic import (
    CATEGORICAL,
    ENTITIES,
    NUMERIC,
    claims_schema,
    generate,
    synthetic_contract_columns,
    truth_schema,
)

MAY_LACK = {
    *("vehicle_value", "driver_age", "annual_mileage_km", "report_delay_hours", "distance_km"),
    *("amount_to_guide", "police_report", "usage"),
}


def test_the_dataset_contract_names_the_generated_columns():
    contract = catalog.load("synthetic_claims")
    columns = synthetic_contract_columns()
    assert isinstance(contract.source, SyntheticSource)
    assert contract.source.claims == 20_000
    assert contract.entities == {name: name for name in columns["entities"]}
    assert contract.numeric == columns["numeric"]
    assert contract.categorical == columns["categorical"]


def test_claims_have_the_canonical_raw_schema():
    schema = pytest.importorskip("fraud_mlops.claims.schema")
    assert schema.raw_schema(catalog.load("synthetic_claims")).equals(claims_schema())


def test_every_chunk_has_the_schema_and_the_truth_stands_apart(source):
    for chunk in generate(source(), chunk_rows=6_000):
        assert chunk.claims.schema.equals(claims_schema())
        assert chunk.truth.schema.equals(truth_schema())
        assert chunk.claims.column("claim_id").equals(chunk.truth.column("claim_id"))
        chunk.claims.validate(full=True)
    assert not {"fraud_probability", "kind"} & set(claims_schema().names)


def test_the_out_of_time_window_holds_labels_and_the_drift_comes_after_it(make_tables):
    contract = catalog.load("synthetic_claims")
    claims, _ = make_tables(contract.source)
    window = contract.split.oot
    times = claims["event_time"]
    in_window = pc.and_(
        pc.greater_equal(times, pa.scalar(window.start, times.type)),
        pc.less(times, pa.scalar(window.end, times.type)),
    )
    assert claims["label"].filter(in_window).null_count == 0
    assert contract.source.drift_from >= window.end


def test_a_seed_gives_the_same_claims_in_another_process(source, make_tables):
    code = (
        "import sys, hashlib, pyarrow as pa\n"
        "from fraud_mlops.sources import SyntheticSource\n"
        "from fraud_mlops.synthetic import generate\n"
        "digest = hashlib.sha256()\n"
        "for chunk in generate(SyntheticSource.model_validate_json(sys.argv[1])):\n"
        "    for batch in chunk: digest.update(batch.serialize())\n"
        "print(digest.hexdigest())\n"
    )
    run = [sys.executable, "-c", code, source(claims=3_000).model_dump_json()]
    first, second = (subprocess.run(run, check=True, capture_output=True).stdout for _ in "ab")
    assert len(first.strip()) == 64
    assert first == second


def test_another_seed_gives_other_claims(source, make_tables):
    one, _ = make_tables(source(claims=500))
    other, _ = make_tables(source(claims=500, seed=8))
    same = pc.equal(one["policyholder"], other["policyholder"])
    assert pc.sum(same).as_py() < 10
    assert not one["amount"].equals(other["amount"])


BLOCKS = SyntheticSource(
    kind="synthetic", claims=70_000, start="2022-01-01", end="2025-01-01", seed=7
)


@pytest.fixture(scope="module")
def whole(make_tables):
    return make_tables(BLOCKS)


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(chunk_rows=st.integers(700, 90_000))
@example(chunk_rows=65_536)
@example(chunk_rows=65_537)
@example(chunk_rows=1_000_000)
def test_rows_do_not_depend_on_the_chunk_size(chunk_rows, whole, make_tables):
    sizes = [chunk.claims.num_rows for chunk in generate(BLOCKS, chunk_rows=chunk_rows)]
    assert all(size == chunk_rows for size in sizes[:-1])
    assert 0 < sizes[-1] <= chunk_rows
    claims, truth = make_tables(BLOCKS, chunk_rows=chunk_rows)
    assert claims.equals(whole[0])
    assert truth.equals(whole[1])


@pytest.mark.parametrize("claims", [1, 2, 7, 100])
def test_a_handful_of_claims_is_a_table_too(claims, source, make_tables):
    table, truth = make_tables(source(claims=claims, drift_from=None))
    assert table.num_rows == truth.num_rows == claims


@pytest.mark.parametrize(
    ("start", "end"), [("2024-01-01T00:00:00", "2024-01-01T00:30:00"), ("2020-02-29", "2021-02-28")]
)
def test_any_period_will_do(start, end, source, make_tables):
    made = source(claims=400, start=start, end=end, drift_from=None)
    times = make_tables(made)[0]["event_time"].to_pandas()
    assert times.is_monotonic_increasing
    assert times.between(made.start, made.end, inclusive="left").all()


def test_a_chunk_needs_rows(source):
    with pytest.raises(ValueError, match="chunk_rows is 0; give a positive number"):
        generate(source(), chunk_rows=0)


def test_claim_ids_are_unique_and_count_on_across_blocks(many):
    assert many["claim_id"].is_unique
    assert many["claim_id"].iloc[0] == "CLM-000000000000"
    assert many["claim_id"].iloc[-1] == "CLM-000000199999"


def test_claims_come_in_order_of_time_to_the_second(many, source):
    times = many["event_time"]
    assert times.is_monotonic_increasing
    assert (times == times.dt.floor("s")).all()
    assert times.iloc[0] >= source().start
    assert times.iloc[-1] < source().end


def test_a_label_is_known_weeks_after_its_event_and_only_what_is_known_by_the_end_is_told(
    many, source
):
    labelled = many[many["label"].notna()]
    delay = (labelled["label_time"] - labelled["event_time"]).dt.total_seconds() / 86_400
    assert delay.min() > 0
    assert delay.median() == pytest.approx(30, rel=0.02)
    assert labelled["label_time"].max() <= source().end

    unlabelled = many[many["label"].isna()]
    assert unlabelled["label_time"].isna().all()
    assert 0.01 < len(unlabelled) / len(many) < 0.06
    assert unlabelled["event_time"].min() > source().end - pd.Timedelta("120D")
    assert many["label"].tail(100).isna().all()


def test_fields_go_missing_where_they_would_and_nowhere_else(few):
    share = few[[*NUMERIC, *CATEGORICAL, *ENTITIES, "amount"]].isna().mean()
    assert set(share[share > 0].index) == MAY_LACK
    assert share[list(MAY_LACK)].between(0.003, 0.15).all()


def test_winters_weekdays_and_rush_hours_bring_more_claims(many):
    day = many["event_time"].dt
    by_month = day.month.value_counts()
    assert by_month[1] > 1.25 * by_month[7]
    by_weekday = day.day_of_week.value_counts()
    assert by_weekday[0] > 1.4 * by_weekday[6]
    by_hour = day.hour.value_counts()
    assert by_hour[17] > 5 * by_hour[3]
    storms = many[many["peril"] == "weather"]["event_time"].dt.month.value_counts()
    assert storms[7] > 1.5 * storms[1]


def test_amounts_are_lognormal_about_a_median_of_their_peril(many):
    log_amount = np.log(many["amount"]).groupby(many["peril"])
    medians = np.exp(log_amount.median())
    assert medians["glass"] < medians["collision"] < medians["theft"]
    assert log_amount.skew().abs().max() < 0.6
    assert (many["amount"] > 0).all()
    assert (many["amount"] == many["amount"].round(2)).all()


def test_histories_stay_realistic_whatever_the_number_of_claims(few, many):
    for claims in (few, many):
        per_policyholder = claims["policyholder"].value_counts()
        assert 1.3 < per_policyholder.mean() < 3
        assert per_policyholder.quantile(0.99) <= 6
        assert 50 < claims["provider"].value_counts().median() < 200
        assert 100 < claims["agent"].value_counts().median() < 300


def test_a_policyholder_and_a_vehicle_are_the_same_from_claim_to_claim(few):
    known = few[few["driver_age"].notna()]
    assert (known.groupby("policyholder")["driver_age"].nunique() == 1).all()
    assert (few.groupby("policyholder")["region"].nunique() == 1).all()
    assert (few.groupby("vehicle")["vehicle_class"].nunique() == 1).all()
    assert (few.groupby("vehicle")["policyholder"].nunique() == 1).all()


def test_vehicles_are_replaced_so_the_fleet_does_not_age(few):
    years = few["event_time"].dt.year
    ages = few.groupby(years)["vehicle_age_years"]
    assert ages.mean().max() - ages.mean().min() < 0.3
    assert ages.std().max() / ages.std().min() < 1.05
    assert few["vehicle_age_years"].between(0, 20).all()
