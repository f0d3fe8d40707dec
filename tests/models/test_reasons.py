"""Reasons add up to the score, point at what matters, and read as an analyst would say them."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pyarrow as pa
import pytest
import torch  # noqa: TID253 -- tests of what owns torch
from toy_claims import NUMERIC, candidate, claims, model

from fraud_mlops.features.preprocessing import Matrix, Preprocessor
from fraud_mlops.models.fraud_model import FraudModel, TypicalClaim
from fraud_mlops.models.heads import MlpHead
from fraud_mlops.models.multipliers import multipliers
from fraud_mlops.models.params import MlpParams
from fraud_mlops.models.reasons import (
    attributions,
    feature_of_input,
    input_of_column,
    reason_texts,
    reference_logit,
    sentence,
)
from fraud_mlops.models.training import train

TABLE, LABELS = claims(1200)
MODELS = {
    "logistic": model("logistic", TABLE, LABELS),
    "mlp": model("mlp", TABLE, LABELS),
    "tabm": model("tabm", TABLE, LABELS),
    "ensemble": model("tabm", TABLE, LABELS, members=2, epochs=3, one_hot_up_to=0),
}


@pytest.mark.parametrize("name", MODELS)
def test_contributions_sum_to_the_distance_from_the_average_claim(name: str) -> None:
    explained = MODELS[name]
    rows = TABLE.slice(0, 100)
    total = attributions(explained, rows).sum(axis=1)
    expected = explained.logits(rows).astype(float) - reference_logit(explained)
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(total, expected, atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_where_nothing_is_switched_a_multiplier_is_the_gradient(name: str) -> None:
    explained = MODELS[name]
    matrix = explained.preprocessor.transform(TABLE.slice(0, 20))
    for member in explained.network.parts:
        encoded = member.encoder(
            torch.from_numpy(matrix.numeric), torch.from_numpy(matrix.categories)
        ).detach()
        for row in encoded.split(1):
            place = row.clone().requires_grad_(True)
            (gradient,) = torch.autograd.grad(member.head(place).mean(), place)
            found = multipliers(member.head, row, row)
            np.testing.assert_allclose(found.detach(), gradient, rtol=0, atol=1e-6)


def test_a_unit_passes_on_the_share_of_its_rise_that_it_lets_through() -> None:
    """3 * relu(2 x - 1), off until 0.5, by four units that are alike."""
    head = MlpHead(MlpParams(width=4, blocks=1), d_in=1).eval()
    with torch.no_grad():
        for parameter, number in zip(head.parameters(), (2.0, -1.0, 0.75, 0.5), strict=True):
            parameter.fill_(number)

    def found(begin: float, end: float) -> float:
        return multipliers(head, torch.tensor([[begin]]), torch.tensor([[end]])).item()

    assert found(0.0, 1.0) == 3
    assert found(1.0, 0.0) == 3
    assert found(1 / 3, 0.6) == pytest.approx(6 * 0.1 / (0.6 - 1 / 3))
    assert (found(0.1, 0.4), found(0.6, 0.9), found(0.4, 0.4)) == (0, 6, 0)


@pytest.mark.parametrize("name", ["mlp", "tabm", "ensemble"])
def test_contributions_are_close_to_shapley_values(name: str) -> None:
    rows = TABLE.slice(0, 60)
    found, expected = attributions(MODELS[name], rows), shapley(MODELS[name], rows)
    off = np.abs(found - expected).sum(axis=1) / np.abs(expected).sum(axis=1)
    assert np.median(off) < 0.2
    assert (found.argmax(axis=1) == expected.argmax(axis=1)).mean() > 0.8


def shapley(explained: FraudModel, rows: pa.Table) -> np.ndarray:
    """Of each feature in the logit, by all ways to put a claim's features, in their encoding, in
    the average claim's place."""
    matrix, features = explained.preprocessor.transform(rows), len(explained.features)
    values = {
        frozenset(chosen): value(explained, matrix, chosen)
        for size in range(features + 1)
        for chosen in itertools.combinations(range(features), size)
    }
    out = np.zeros((rows.num_rows, features))
    for chosen in values:
        for i in set(range(features)) - chosen:
            weight = 1 / (features * math.comb(features - 1, len(chosen)))
            out[:, i] += weight * (values[chosen | {i}] - values[chosen])
    return out


def value(explained: FraudModel, matrix: Matrix, chosen: tuple[int, ...]) -> np.ndarray:
    """Logits of claims of which only these features are their own."""
    network, logits = explained.network, []
    for member in network.parts:
        encoded = member.encoder(
            torch.from_numpy(matrix.numeric), torch.from_numpy(matrix.categories)
        )
        average = member.encoder.average(network.numeric_mean, network.category_shares)
        own = np.isin(feature_of_input(explained)[input_of_column(member.encoder)], chosen)
        with torch.no_grad():
            mixed = torch.where(torch.from_numpy(own), encoded, average)
            logits.append(member.head(mixed).double().mean(1).numpy())
    return np.asarray(np.mean(logits, axis=0))


def test_a_stored_model_explains_as_the_one_that_was_trained() -> None:
    """Stored features are sorted by name; a contribution must not go to a neighbour."""
    unsorted = ("region", "peril")
    fitted = Preprocessor.fit(TABLE, NUMERIC, unsorted)
    matrix = fitted.transform(TABLE)
    chosen = candidate("mlp", epochs=3)
    network, _ = train(chosen, matrix, LABELS, fitted.cardinalities, threads=1)
    trained = FraudModel(chosen, fitted, network, TypicalClaim.of(TABLE, NUMERIC, unsorted))
    stored = FraudModel.from_files(trained.to_files())
    assert stored.features != trained.features
    rows = TABLE.slice(0, 50)
    before, after = attributions(trained, rows), attributions(stored, rows)
    order = [stored.features.index(name) for name in trained.features]
    np.testing.assert_allclose(after[:, order], before, atol=1e-6)


@pytest.mark.parametrize("name", ["mlp", "tabm", "logistic"])
def test_the_planted_features_rank_first(name: str) -> None:
    explained = MODELS[name]
    strength = np.abs(attributions(explained, TABLE)).mean(axis=0)
    ranked = [explained.features[i] for i in np.argsort(-strength)]
    assert set(ranked[:2]) == {"amount", "peril"}


def test_a_logistic_contribution_is_weight_times_distance() -> None:
    explained = MODELS["logistic"]
    network, rows = explained.network, TABLE.slice(0, 50)
    part = network.parts[0]
    matrix = explained.preprocessor.transform(rows)
    by_input = (matrix.numeric - network.numeric_mean.numpy()) * part.head.weight.numpy()
    owner = np.array(explained.preprocessor.input_features)
    found = attributions(explained, rows)
    for i, feature in enumerate(NUMERIC):
        expected = by_input[:, owner == feature].sum(axis=1)
        np.testing.assert_allclose(found[:, i], expected, atol=1e-5)
    size = explained.preprocessor.cardinalities[0]
    weights, shares = part.encoder.weights[:size].numpy(), network.category_shares[:size].numpy()
    expected = weights[matrix.categories[:, 0]] - weights @ shares
    np.testing.assert_allclose(found[:, 3], expected, atol=1e-5)


def test_claims_are_explained_alike_alone_or_together_and_in_inference_mode() -> None:
    explained = MODELS["tabm"]
    together = attributions(explained, TABLE.slice(0, 80))
    with torch.inference_mode():
        alone = attributions(explained, TABLE.slice(7, 1))
    np.testing.assert_allclose(alone[0], together[7], atol=1e-5)


def test_reasons_are_sentences_with_the_usual_value_beside() -> None:
    explained = MODELS["tabm"]
    rows = pa.table(
        {
            "amount": [123_456.0, 12.0],
            "claims_30d": [2.0, 2.0],
            "odd": [None, 1.0],
            "peril": ["theft", "storm"],
            "region": ["north", None],
        },
        schema=TABLE.schema,
    )
    found = attributions(explained, rows)
    large, small = reason_texts(explained, rows, found, unsaid=(), top=2)
    usual = explained.typical.numeric["amount"]
    assert large == [
        f"amount 123,456 (typical {usual:,.0f}) raises the score",
        "peril theft, the most common value, raises the score against the average claim's",
    ]
    assert not any(text.startswith(("amount", "peril")) for text in small)


def test_only_what_raises_is_told_strongest_first_and_no_more_than_asked() -> None:
    explained, rows = MODELS["mlp"], TABLE.slice(0, 2)
    contributions = np.array([[0.1, 0.3, -2.0, 0.2, 0.0], [-1.0, -1.0, -1.0, 0.0, -1.0]])
    first, second = reason_texts(explained, rows, contributions, unsaid=(), top=5)
    assert [text.split()[0] for text in first] == ["claims", "peril", "amount"]
    assert second == []
    assert len(reason_texts(explained, rows, contributions, unsaid=(), top=1)[0]) == 1


def test_missing_values_and_names_are_readable() -> None:
    rows = TABLE.slice(0, 1)
    for name, column in [("claims_30d", pa.array([None], pa.float64()))]:
        rows = rows.set_column(rows.schema.get_field_index(name), name, column)
    contributions = np.array([[0.0, 1.0, 0.0, 0.0, 0.0]])
    (texts,) = reason_texts(MODELS["mlp"], rows, contributions, unsaid=())
    assert texts == ["claims 30d missing (typical 2) raises the score"]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (999.7, "1,000"),
        (-999.9, "-1,000"),
        (999.49, "999"),
        (99.96, "100"),
        (0.00001, "0.00001"),
        (0.1, "0.1"),
        (-0.0, "0"),
        (5, "5"),
        (12_345.6, "12,346"),
        (1e14, "100,000,000,000,000"),
        (1e308, "1e+308"),
        (-1e-300, "-1e-300"),
    ],
)
def test_numbers_are_written_as_people_write_them(value: float, shown: str) -> None:
    assert sentence(MODELS["mlp"], "amount", value).startswith(f"amount {shown} (typical ")


@pytest.mark.parametrize("value", [1.0, 70.0, None])
def test_of_a_personal_feature_only_the_name_is_told_whatever_its_value(value: float) -> None:
    rows = TABLE.slice(0, 1)
    place = rows.schema.get_field_index("claims_30d")
    rows = rows.set_column(place, "claims_30d", pa.array([value], pa.float64()))
    contributions = np.array([[0.0, 1.0, 0.0, 0.0, 0.0]])
    (texts,) = reason_texts(MODELS["mlp"], rows, contributions, unsaid={"claims_30d"})
    assert texts == ["claims 30d raises the score"]
