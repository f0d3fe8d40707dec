"""A model is one thing from raw features to probability, and files are all of it."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_claims import CATEGORICAL, NUMERIC, claims, model

from fraud_mlops.errors import BundleError
from fraud_mlops.evaluation.calibration import choose_calibration
from fraud_mlops.models.fraud_model import FraudModel

FAMILIES = ["logistic", "mlp", "tabm"]
TABLE, LABELS = claims(600)
MODELS = {family: model(family, TABLE, LABELS, epochs=3) for family in FAMILIES}


def whole(family: str) -> FraudModel:
    logits = MODELS[family].logits(TABLE)
    return MODELS[family].decided(choose_calibration(logits, LABELS), threshold=0.25)


@pytest.mark.parametrize("family", FAMILIES)
def test_files_are_the_whole_model_to_the_bit(family: str) -> None:
    original = whole(family)
    files = original.to_files()
    again = FraudModel.from_files(files)
    np.testing.assert_array_equal(again.logits(TABLE), original.logits(TABLE))
    np.testing.assert_array_equal(again.probability(TABLE), original.probability(TABLE))
    assert again.threshold == 0.25
    assert again.candidate == original.candidate
    assert again.to_files() == files


def test_files_are_safetensors_and_json_only() -> None:
    files = whole("tabm").to_files()
    assert sorted(files) == [
        "calibration.json", "network.json", "preprocessing.json", "weights.safetensors",
    ]  # fmt: skip
    for name, data in files.items():
        if name.endswith(".json"):
            json.loads(data)


def test_a_model_without_calibration_or_threshold_is_whole_too() -> None:
    again = FraudModel.from_files(MODELS["mlp"].to_files())
    assert again.calibration is None
    assert again.threshold is None
    logits = again.logits(TABLE).astype(float)
    np.testing.assert_allclose(again.probability(TABLE), 1 / (1 + np.exp(-logits)))
    extreme = again.calibrated(np.array([-1e4, 1e4], dtype=np.float32))
    np.testing.assert_array_equal(extreme, [0, 1])


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=12, deadline=None)
@given(size=st.integers(1, 600), start=st.integers(0, 599))
def test_a_claim_scores_the_same_whatever_its_batch(family: str, size: int, start: int) -> None:
    scorer = MODELS[family]
    expected = scorer.logits(TABLE)
    np.testing.assert_allclose(scorer.logits(TABLE, size), expected, rtol=1e-6, atol=1e-6)
    alone = scorer.logits(TABLE.slice(start, 1))
    np.testing.assert_allclose(alone, expected[start : start + 1], rtol=1e-6, atol=1e-6)


def test_a_record_batch_scores_like_its_table_and_nothing_scores_nothing() -> None:
    scorer = MODELS["tabm"]
    batch = TABLE.combine_chunks().to_batches()[0]
    np.testing.assert_array_equal(scorer.logits(batch), scorer.logits(TABLE))
    assert scorer.logits(TABLE.slice(0, 0)).shape == (0,)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_category_that_training_never_saw_is_scored_as_unknown(
    family: str,
) -> None:
    scorer = MODELS[family]

    def with_peril(value: str | None) -> np.ndarray:
        perils = pa.array([value] * TABLE.num_rows, pa.string())
        return scorer.logits(TABLE.set_column(3, "peril", perils))

    flood = with_peril("flood")
    assert np.isfinite(flood).all()
    np.testing.assert_array_equal(flood, with_peril("earthquake"))
    np.testing.assert_array_equal(flood, with_peril(None))
    assert not np.allclose(flood, with_peril("theft"))


@pytest.mark.parametrize("name", ["weights.safetensors", "network.json", "preprocessing.json"])
def test_a_missing_or_truncated_file_is_refused_by_name(name: str) -> None:
    files = whole("tabm").to_files()
    with pytest.raises(BundleError, match=name):
        FraudModel.from_files({k: v for k, v in files.items() if k != name})
    for cut in (0, 10, len(files[name]) - 2):
        with pytest.raises(BundleError, match=name):
            FraudModel.from_files(files | {name: files[name][:cut]})


def test_a_truncated_calibration_is_refused() -> None:
    files = whole("mlp").to_files()
    with pytest.raises(BundleError, match=r"calibration\.json"):
        FraudModel.from_files(files | {"calibration.json": b"{"})


@settings(max_examples=20, deadline=None)
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_one_flipped_bit_in_the_weights_is_found(place: float, bit: int) -> None:
    files = MODELS["mlp"].to_files()
    damaged = bytearray(files["weights.safetensors"])
    damaged[int(place * len(damaged))] ^= 1 << bit
    with pytest.raises(BundleError, match=r"weights\.safetensors"):
        FraudModel.from_files(files | {"weights.safetensors": bytes(damaged)})


def test_weights_of_other_shapes_are_refused_even_with_a_digest_that_fits() -> None:
    small = MODELS["mlp"].to_files()
    wide = model("mlp", TABLE, LABELS, epochs=1, width=16).to_files()
    network = json.loads(small["network.json"])
    network["weights_sha256"] = json.loads(wide["network.json"])["weights_sha256"]
    mixed = small | {
        "weights.safetensors": wide["weights.safetensors"],
        "network.json": json.dumps(network).encode(),
    }
    with pytest.raises(BundleError, match="not the weights of this network"):
        FraudModel.from_files(mixed)


def test_preprocessing_of_another_model_is_refused() -> None:
    other = TABLE.set_column(3, "peril", pa.array([f"peril {i % 9}" for i in range(600)]))
    files = MODELS["mlp"].to_files()
    foreign = model("mlp", other, LABELS, epochs=1).to_files()["preprocessing.json"]
    with pytest.raises(BundleError, match=r"preprocessing\.json"):
        FraudModel.from_files(files | {"preprocessing.json": foreign})


def test_features_are_the_columns_a_claim_must_have() -> None:
    assert MODELS["mlp"].features == NUMERIC + CATEGORICAL


def test_typical_values_are_medians_and_the_commonest() -> None:
    typical = MODELS["mlp"].typical
    assert typical.numeric["amount"] == pytest.approx(np.median(TABLE.column("amount")))
    assert typical.categorical["peril"] == "theft"
