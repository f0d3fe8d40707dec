"""Reasons add up to the score, point at what matters, and read as an analyst would say them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import torch  # noqa: TID253 -- tests of what owns torch
from toy_claims import NUMERIC, candidate, claims, model

from fraud_mlops.features.preprocessing import Preprocessor
from fraud_mlops.models.fraud_model import FraudModel, TypicalClaim
from fraud_mlops.models.gradients import line_gradient
from fraud_mlops.models.reasons import attributions, reason_texts, reference_logit, sentence
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
    np.testing.assert_allclose(total, expected, atol=1e-4)


@pytest.mark.parametrize("name", MODELS)
def test_written_out_gradients_are_those_of_autograd(name: str) -> None:
    model, matrix = MODELS[name], MODELS[name].preprocessor.transform(TABLE.slice(0, 100))
    for member in model.network.parts:
        encoded = member.encoder(
            torch.from_numpy(matrix.numeric), torch.from_numpy(matrix.categories)
        )
        begin, expected = encoded.mean(0, keepdim=True).detach(), 0
        points, weights = torch.tensor([0.1, 0.5, 1.0]), torch.tensor([0.2, 0.5, 0.3])
        for point, weight in zip(points, weights, strict=True):
            place = torch.lerp(begin, encoded, point).detach().requires_grad_(True)
            (gradient,) = torch.autograd.grad(member.head(place).mean(1).sum(), place)
            expected = expected + weight * gradient
        found = line_gradient(member.head, begin, encoded, points, weights)
        np.testing.assert_allclose(found.numpy(), expected.numpy(), atol=1e-5)


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


@pytest.mark.parametrize("name", ["mlp", "tabm"])
def test_more_nodes_hardly_change_a_contribution(name: str) -> None:
    rows = TABLE.slice(0, 100)
    usual, fine = (attributions(MODELS[name], rows, nodes=n) for n in (16, 200))
    assert np.abs(usual - fine).max() < 0.05 * np.abs(fine).max()


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
    np.testing.assert_allclose(alone[0], together[7], atol=1e-4)


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
