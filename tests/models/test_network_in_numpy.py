"""A served claim passes the network in numpy: the numbers are those of torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch  # noqa: TID253 -- tests of what owns torch
from toy_claims import claims, model

from fraud_mlops.features.preprocessing import Matrix
from fraud_mlops.models.multipliers import multipliers
from fraud_mlops.models.reasons import Explainer, input_of_column, reference_logit
from fraud_mlops.serving.layers import layers_of
from fraud_mlops.serving.network import FastNetwork, mean_logits, rows_of

TABLE, LABELS = claims(1200)
MODELS = {
    "logistic": model("logistic", TABLE, LABELS),
    "mlp": model("mlp", TABLE, LABELS, epochs=4),
    "mlp of one layer": model("mlp", TABLE, LABELS, epochs=2, blocks=1, numeric="plain"),
    "tabm": model("tabm", TABLE, LABELS, epochs=4),
    "tabm-mini": model("tabm", TABLE, LABELS, epochs=2, architecture="tabm-mini", blocks=3),
    "members, embedded": model("tabm", TABLE, LABELS, members=2, epochs=2, one_hot_up_to=0),
    "logistic members": model("logistic", TABLE, LABELS, members=2, epochs=2),
}


def far_and_near(name: str) -> Matrix:
    """Claims of training, and inputs far beyond it, on every side and edge."""
    matrix = MODELS[name].preprocessor.transform(TABLE.slice(0, 300))
    wide = matrix.numeric.copy()
    wide[100:200] *= 8
    wide[200:250] = 30
    wide[250:] = -30
    return Matrix(np.clip(wide, -30, 30), matrix.categories)


@pytest.mark.parametrize("name", MODELS)
def test_probabilities_are_those_of_torch_to_a_millionth(name: str) -> None:
    matrix, network = far_and_near(name), FastNetwork(MODELS[name])
    found = mean_logits(network.passed(matrix))
    assert found.dtype == np.float32
    logits = MODELS[name].matrix_logits(matrix)
    expected = MODELS[name].calibrated(logits)
    np.testing.assert_allclose(MODELS[name].calibrated(found), expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(found[:100], logits[:100], rtol=2**-22, atol=1e-6)


@pytest.mark.parametrize("name", MODELS)
def test_attributions_are_those_of_torch_and_sum_to_the_distance(name: str) -> None:
    matrix, network = far_and_near(name), FastNetwork(MODELS[name])
    passed = network.passed(matrix)
    found, expected = network.attributions(passed), Explainer(MODELS[name])(matrix)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    distance = mean_logits(passed) - reference_logit(MODELS[name])
    np.testing.assert_allclose(found.sum(axis=1), distance, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["mlp", "tabm", "tabm-mini"])
def test_a_unit_that_nothing_moves_passes_on_its_gradient(name: str) -> None:
    for member in MODELS[name].network.parts:
        width = len(input_of_column(member.encoder))
        place = np.random.default_rng(0).normal(size=(1, width)).astype(np.float32)
        layers = layers_of(member.head, width)
        entering, _ = layers.forward(place)
        with torch.inference_mode():
            same = torch.from_numpy(place)
            expected = multipliers(member.head, same, same).numpy()
        np.testing.assert_allclose(layers.multipliers(entering, entering), expected, atol=1e-6)


@pytest.mark.parametrize("name", MODELS)
def test_a_claim_has_the_same_bits_whoever_is_beside_it(name: str) -> None:
    matrix, network = far_and_near(name), FastNetwork(MODELS[name])
    together = network.passed(rows_of(matrix, slice(0, 32)))
    shares = network.attributions(together)
    for i in (0, 7, 31):
        alone = network.passed(rows_of(matrix, slice(i, i + 1)))
        assert mean_logits(alone)[0] == mean_logits(together)[i]
        np.testing.assert_array_equal(network.attributions(alone)[0], shares[i])
