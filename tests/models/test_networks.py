"""Networks: inputs keep their meaning, and JSON with weights is the whole network."""

from __future__ import annotations

import numpy as np
import pytest
import torch  # noqa: TID253 -- tests of what owns torch
from toy_claims import CARDINALITIES, candidate, matrix_of

from fraud_mlops.features.preprocessing import Matrix
from fraud_mlops.models.dropout import dropout
from fraud_mlops.models.encoders import DeepEncoder, quantile_edges
from fraud_mlops.models.networks import FraudNetwork, NetworkSpec, network_bytes, network_from
from fraud_mlops.models.params import MlpParams

FAMILIES = ["logistic", "mlp", "tabm"]
VARIANTS = [
    ("logistic", {}),
    ("mlp", {"numeric": "plain", "one_hot_up_to": 0}),
    ("tabm", {}),
    ("tabm", {"architecture": "tabm-mini", "members": 2}),
    ("tabm", {"numeric": "plain", "one_hot_up_to": 1000}),
]


def network(family: str, matrix: Matrix, **params: object) -> FraudNetwork:
    built = FraudNetwork.for_training(candidate(family, **params).params, matrix, CARDINALITIES, 3)
    with torch.no_grad():  # as after training: nothing left at its starting zero
        for parameter in built.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return built.eval()


def tensors(matrix: Matrix) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(matrix.numeric), torch.from_numpy(matrix.categories)


@pytest.mark.parametrize(("family", "params"), VARIANTS)
def test_a_network_is_built_again_from_json_and_weights_alone(
    family: str, params: dict[str, object]
) -> None:
    matrix, _ = matrix_of(300)
    original = network(family, matrix, **params)
    spec = NetworkSpec.model_validate_json(original.spec.model_dump_json())
    again = network_from(spec, network_bytes(original))
    with torch.no_grad():
        assert torch.equal(original(*tensors(matrix)), again(*tensors(matrix)))


def test_one_logit_a_member() -> None:
    matrix, _ = matrix_of(50)
    logits = network("tabm", matrix, k=4, members=3)(*tensors(matrix))
    assert logits.shape == (50, 12)
    assert network("mlp", matrix)(*tensors(matrix)).shape == (50, 1)


@pytest.mark.parametrize("architecture", ["tabm", "tabm-mini"])
def test_folded_tabm_is_the_tabm_of_the_package(architecture: str) -> None:
    matrix, _ = matrix_of(200)
    member = network("tabm", matrix, architecture=architecture).parts[0]
    encoded = member.encoder(*tensors(matrix))
    ours, theirs = member.head(encoded), member.head.reference_forward(encoded)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("architecture", ["tabm", "tabm-mini"])
def test_folded_tabm_learns_the_gradients_of_the_package(architecture: str) -> None:
    matrix, _ = matrix_of(200)
    member = network("tabm", matrix, architecture=architecture, dropout=0).parts[0].train()
    encoded = member.encoder(*tensors(matrix)).detach()
    parameters = list(member.head.parameters())
    ours = torch.autograd.grad(member.head(encoded).square().sum(), parameters)
    theirs = torch.autograd.grad(member.head.reference_forward(encoded).square().sum(), parameters)
    for mine, given in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, given, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("family", ["mlp", "tabm"])
def test_a_value_beyond_the_training_range_still_counts(family: str) -> None:
    """A quantile transform would flatten it; the last piece of ours goes on."""
    matrix, _ = matrix_of(300)
    net = network(family, matrix)
    top = matrix.numeric[:1].copy()
    top[0, 0] = matrix.numeric[:, 0].max()
    numeric = torch.from_numpy(np.repeat(top, 3, axis=0))
    numeric[1, 0] += 5
    numeric[2, 0] += 10
    categories = torch.from_numpy(np.repeat(matrix.categories[:1], 3, axis=0))
    with torch.no_grad():
        at_top, further, furthest = net.parts[0].encoder(numeric, categories).double()
    assert (further - at_top).abs().max() > 0.05
    torch.testing.assert_close(furthest - further, further - at_top, rtol=1e-3, atol=1e-4)


def test_edges_are_quantiles_apart_enough_and_end_pieces_wide() -> None:
    rng = np.random.default_rng(0)
    skewed = np.exp(rng.normal(size=5000) * 2)
    flag = (rng.random(5000) < 0.01).astype(float)
    columns = [skewed / skewed.std(), flag, np.zeros(5000), rng.normal(size=5000)]
    columns.append(columns[0])
    numeric = np.stack(columns, axis=1).astype(np.float32)
    edges = quantile_edges(numeric, 16, plain=[4])
    for i in (0, 3):
        edge, column = edges[i], columns[i]
        assert edge[0] == np.float32(column.min())
        assert edge[-1] >= np.float32(column.max())
        assert np.diff(edge).min() > 0.0099
        assert min(np.diff(edge)[[0, -1]]) > 0.099
    assert len(edges[3]) > 12
    assert [len(edges[i]) for i in (1, 2, 4)] == [0, 0, 0]  # a flag, a constant, as asked


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("p", "c"), [(0, 2), (3, 0)])
def test_claims_may_lack_numeric_or_categorical_features(family: str, p: int, c: int) -> None:
    matrix, _ = matrix_of(100)
    matrix = Matrix(matrix.numeric[:, :p], matrix.categories[:, :c])
    params = candidate(family).params
    net = FraudNetwork.for_training(params, matrix, CARDINALITIES[:c], 0).eval()
    assert net.score(*tensors(matrix)).shape == (100,)
    average = net.parts[0].encoder.average(net.numeric_mean, net.category_shares)
    assert average.shape == net.parts[0].encoder(*tensors(matrix))[:1].shape


@pytest.mark.parametrize("one_hot_up_to", [0, 10, 1000])
def test_a_feature_owns_its_columns_and_no_other(one_hot_up_to: int) -> None:
    matrix, _ = matrix_of(20)
    params = MlpParams(one_hot_up_to=one_hot_up_to)
    encoder = DeepEncoder(params, 4, CARDINALITIES, (3, 4, 0, 5)).eval()
    numeric, categories = tensors(matrix)
    before = encoder(numeric, categories)
    owned = encoder.columns()
    assert sorted(owned)[0].start == 0
    assert sorted(owned)[-1].stop == before.shape[1]
    for i, (start, stop) in enumerate(owned):
        moved, changed = numeric.clone(), categories.clone()
        if i < 4:
            moved[:, i] += 1
        else:
            changed[:, i - 4] = (changed[:, i - 4] + 1) % CARDINALITIES[i - 4]
        touched = (encoder(moved, changed) != before).any(0).nonzero()[:, 0]
        assert len(touched)
        assert start <= int(touched.min()) <= int(touched.max()) < stop


def test_weights_of_another_network_are_refused() -> None:
    matrix, _ = matrix_of(100)
    mlp, tabm = network("mlp", matrix), network("tabm", matrix)
    with pytest.raises(ValueError, match="not the weights of this network"):
        network_from(tabm.spec, network_bytes(mlp))
    with pytest.raises(ValueError, match="not safetensors"):
        network_from(mlp.spec, network_bytes(mlp)[:-40])
    with torch.no_grad():
        next(mlp.parameters()).fill_(float("nan"))
    with pytest.raises(ValueError, match="not finite"):
        network_from(mlp.spec, network_bytes(mlp))


def test_dropout_keeps_the_mean_drops_the_rate_and_repeats_with_the_seed() -> None:
    ones = torch.ones(7, 300, 33, requires_grad=True)
    torch.manual_seed(1)
    first = dropout(ones, 0.3, training=True)
    torch.manual_seed(1)
    assert torch.equal(first, dropout(ones, 0.3, training=True))
    assert float((first == 0).float().mean()) == pytest.approx(0.3, abs=0.01)
    assert float(first.detach().mean()) == pytest.approx(1, abs=0.01)
    torch.testing.assert_close(torch.autograd.grad(first.sum(), ones)[0], first)
    # Neighbouring units are drawn by one number: they must not go together.
    dropped = (first == 0).flatten()
    assert float((dropped[1:] & dropped[:-1]).float().mean()) == pytest.approx(0.09, abs=0.01)
    assert dropout(ones, 0.3, training=False) is ones


@pytest.mark.parametrize("counts", [(3, 4, 5, 3), (3, 3, 3, 3), (9, 9, 9, 9)])
def test_numeric_embeddings_are_those_of_the_package_to_the_bit(counts: tuple[int, ...]) -> None:
    encoder = DeepEncoder(MlpParams(), 4, (), counts)
    encoder.set_edges([np.linspace(-1, 1, n, dtype=np.float32) for n in counts])
    torch.nn.init.normal_(encoder.pieces.linear.weight)
    numeric = torch.randn(500, 4, generator=torch.Generator().manual_seed(0)) * 2
    ours = encoder(numeric, torch.empty(500, 0, dtype=torch.int64))
    assert torch.equal(ours, encoder.pieces(numeric).flatten(1))
