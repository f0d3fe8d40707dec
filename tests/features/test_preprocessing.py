"""Inputs of similar size whose tails still tell, codes for categories, all stored as JSON."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from fraud_mlops.errors import ContractError
from fraud_mlops.features.preprocessing import LIMIT, Preprocessor

RNG = np.random.default_rng(0)
AMOUNTS = RNG.lognormal(8, 1.2, 5000)
PERILS = RNG.choice(["theft", "storm", "crash"], 5000).tolist()


def claims(**changed: object) -> pa.Table:
    usual = {"amount": AMOUNTS, "age": RNG.uniform(18, 80, 5000), "peril": PERILS}
    return pa.table(usual | changed)


def fitted(table: pa.Table | None = None, **options: int) -> Preprocessor:
    return Preprocessor.fit(table or claims(), ["amount", "age"], ["peril"], **options)


def inputs(preprocessor: Preprocessor, table: pa.Table) -> dict[str, np.ndarray]:
    matrix = preprocessor.transform(table)
    return dict(zip(preprocessor.input_names, matrix.numeric.T, strict=True))


def numeric(values: object) -> pa.Table:
    return pa.table({"x": pa.array(values, pa.float64())})


def test_inputs_are_standardised_and_a_heavy_tail_has_its_logarithm_beside_it() -> None:
    preprocessor = fitted()
    assert preprocessor.input_names == ("amount", "amount:log", "age")
    assert preprocessor.input_features == ("amount", "amount", "age")
    matrix = preprocessor.transform(claims())
    assert matrix.numeric.dtype == np.float32
    assert matrix.numeric.flags.c_contiguous
    assert matrix.numeric.mean(axis=0) == pytest.approx(0, abs=0.05)
    assert matrix.numeric.std(axis=0) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize(
    ("kind", "heavy"),
    [("normal", False), ("uniform", False), ("exponential", True), ("standard_t", True)],
)
def test_only_heavy_tails_get_a_logarithm(kind: str, heavy: bool) -> None:
    draw = getattr(np.random.default_rng(1), kind)
    table = numeric(draw(2.5, 20_000) if kind == "standard_t" else draw(size=20_000))
    preprocessor = Preprocessor.fit(table, ["x"], [])
    assert ("x:log" in preprocessor.input_names) == heavy


def test_a_tail_goes_on_rising_far_beyond_the_training_maximum() -> None:
    beyond = AMOUNTS.max() * np.array([1, 1.5, 3, 10, 100, 1000])
    table = claims().slice(0, 6).set_column(0, "amount", pa.array(beyond))
    found = inputs(fitted(), table)
    assert (np.diff(found["amount:log"]) > 0.1).all()
    assert (np.diff(found["amount"]) >= 0).all()
    assert found["amount"].max() == LIMIT


@hypothesis_settings(max_examples=50, deadline=None)
@example(train=[0.0, 8e52, 2e-255, 1e-284], new=[])  # their ratio is beyond all numbers
@given(
    st.lists(st.floats(allow_nan=True, allow_infinity=True) | st.none(), min_size=1, max_size=30),
    st.lists(st.floats(allow_nan=True, allow_infinity=True) | st.none(), max_size=10),
)
def test_whatever_the_numbers_inputs_are_finite_and_keep_their_order(
    train: list[float | None], new: list[float | None]
) -> None:
    preprocessor = Preprocessor.fit(numeric(train), ["x"], [])
    assert Preprocessor.model_validate_json(preprocessor.model_dump_json()) == preprocessor
    for values in (train, new):
        found = preprocessor.transform(numeric(values)).numeric
        assert found.shape == (len(values), len(preprocessor.input_names))
        assert np.isfinite(found).all()
        assert np.abs(found).max(initial=0) <= LIMIT
    known = np.array(sorted(v for v in new if v is not None and np.isfinite(v)))
    for name, column in inputs(preprocessor, numeric(known)).items():
        assert (np.diff(column) >= 0).all(), name


@pytest.mark.parametrize("nothing", [-(2.0**63), 1e15, 1e308])
def test_a_number_for_nothing_leaves_the_others_as_they_are(nothing: float) -> None:
    """A smallest integer, say: it would be all that mean and scale see."""
    normal = np.random.default_rng(1).normal(3, 2, 2000)
    spoilt = np.where(np.arange(2000) % 400 == 0, nothing, normal)
    found = inputs(Preprocessor.fit(numeric(spoilt), ["x"], []), numeric(spoilt))["x"]
    good = spoilt != nothing
    assert found[good].std() == pytest.approx(1, abs=0.05)
    assert (np.abs(found[~good]) == LIMIT).all()


def test_a_logarithm_does_not_depend_on_the_unit() -> None:
    cents = claims(amount=AMOUNTS * 100)
    euros_log = inputs(fitted(), claims())["amount:log"]
    assert inputs(fitted(cents), cents)["amount:log"] == pytest.approx(euros_log, abs=1e-4)


def test_a_missing_number_is_the_median_and_says_so_if_some_were_missing_in_training() -> None:
    holes = AMOUNTS.copy()
    holes[::10] = np.nan
    preprocessor = fitted(claims(amount=pa.array(holes, from_pandas=True)))
    assert preprocessor.input_names == ("amount", "amount:log", "amount:missing", "age")
    few = claims().slice(0, 4)
    few = few.set_column(0, "amount", pa.array([None, float(np.nanmedian(holes)), np.inf, 1.0]))
    found = inputs(preprocessor, few)
    assert found["amount:missing"].tolist() == [1, 0, 1, 0]
    assert found["amount"][0] == found["amount"][1] == found["amount"][2] > found["amount"][3]


def test_a_feature_that_tells_nothing_is_left_out_and_remembered() -> None:
    columns = {
        "constant": pa.array([3.0] * 4),
        "empty": pa.array([None] * 4, pa.float64()),
        "sometimes": pa.array([1.0, None, 1.0, None]),
        "flag": pa.array([0, 1, 1, 0], pa.int8()),
    }
    preprocessor = Preprocessor.fit(pa.table(columns), list(columns), [])
    assert preprocessor.input_names == ("sometimes:missing", "flag")
    assert {d.name: d.reason for d in preprocessor.dropped} == {
        "constant": "constant",
        "empty": "all missing",
    }
    without = pa.table(columns).drop_columns(["constant", "empty"])
    assert preprocessor.transform(without).numeric[:, 0].tolist() == [0, 1, 0, 1]


def test_rare_and_unheard_of_categories_share_code_0_and_null_has_its_own() -> None:
    perils = ["theft"] * 10 + ["storm"] * 10 + [None] * 10 + ["meteor"] * 2
    table = pa.table({"peril": pa.array(perils, pa.string())})
    preprocessor = Preprocessor.fit(table, [], ["peril"], min_count=3)
    assert preprocessor.cardinalities == (4,)
    new = pa.table({"peril": pa.array(["storm", "theft", None, "meteor", "flood", ""])})
    matrix = preprocessor.transform(new)
    assert matrix.categories.dtype == np.int64
    assert matrix.categories[:, 0].tolist() == [1, 2, 3, 0, 0, 0]
    assert matrix.numeric.shape == (6, 0)


def test_null_is_unknown_where_training_had_none() -> None:
    new = claims().slice(0, 1).set_column(2, "peril", pa.array([None], pa.string()))
    assert fitted().transform(new).categories.tolist() == [[0]]


def test_codes_are_the_same_however_a_category_is_stored() -> None:
    preprocessor, table = fitted(), claims()
    encoded = table.set_column(2, "peril", table["peril"].dictionary_encode())
    large = table.set_column(2, "peril", table["peril"].cast(pa.large_string()))
    for other in (encoded, large):
        assert (
            preprocessor.transform(other).categories == preprocessor.transform(table).categories
        ).all()


def test_json_gives_back_the_same_inputs_to_the_bit() -> None:
    preprocessor, table = fitted(), claims()
    stored = json.dumps(preprocessor.model_dump(mode="json"), allow_nan=False, sort_keys=True)
    again = Preprocessor.model_validate_json(stored)
    assert again == preprocessor
    assert (again.transform(table).numeric == preprocessor.transform(table).numeric).all()


def test_a_claim_has_the_same_inputs_alone_as_among_others_and_in_any_column_order() -> None:
    table = pa.concat_tables([claims()] * 8).select(["peril", "age", "amount"])
    preprocessor = fitted()
    whole = preprocessor.transform(table)
    batches = [preprocessor.transform(batch) for batch in table.to_batches(777)]
    assert (np.concatenate([b.numeric for b in batches]) == whole.numeric).all()
    assert (np.concatenate([b.categories for b in batches]) == whole.categories).all()
    assert preprocessor.transform(table.slice(0, 0)).numeric.shape == (0, 3)


def test_a_missing_column_is_named() -> None:
    with pytest.raises(ContractError, match=r"lack 1 of 3 features: age\. Give"):
        fitted().transform(claims().drop_columns(["age"]))


def test_a_column_of_the_wrong_kind_is_named() -> None:
    with pytest.raises(ContractError, match="column 'age' should hold numbers, not string"):
        fitted().transform(claims(age=["old"] * 5000))
