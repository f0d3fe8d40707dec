"""Training learns, repeats itself to the bit, stays within its budget, and says what went wrong."""

from __future__ import annotations

import numpy as np
import pytest
import torch  # noqa: TID253 -- tests of what owns torch
from sklearn.metrics import roc_auc_score  # noqa: TID253
from toy_claims import CARDINALITIES, candidate, matrix_of

from fraud_mlops.errors import TrainingError
from fraud_mlops.features.preprocessing import Matrix
from fraud_mlops.models.losses import claim_weights, period_offsets, training_loss
from fraud_mlops.models.networks import FraudNetwork, network_bytes
from fraud_mlops.models.params import MlpParams, TrainingParams
from fraud_mlops.models.steps import RecordedStep, Step
from fraud_mlops.models.training import learning_rate, train
from fraud_mlops.models.training_data import TrainingData
from fraud_mlops.models.training_log import TrainingLog


def fit(
    family: str, matrix: Matrix, labels: np.ndarray, **params: object
) -> tuple[FraudNetwork, TrainingLog]:
    return train(candidate(family, **params), matrix, labels, CARDINALITIES, threads=1)


def score(network: FraudNetwork, matrix: Matrix) -> np.ndarray:
    numeric, categories = torch.from_numpy(matrix.numeric), torch.from_numpy(matrix.categories)
    with torch.inference_mode():
        scores: np.ndarray = network.score(numeric, categories).numpy()
    return scores


@pytest.mark.parametrize("family", ["logistic", "mlp", "tabm"])
def test_every_family_learns_what_a_line_can_tell(family: str) -> None:
    matrix, _ = matrix_of(1000)
    effects = np.array([0.0, 1.5, -1.5, 0.0])[matrix.categories[:, 0]]
    labels = (matrix.numeric[:, 0] - matrix.numeric[:, 1] + effects > 0).astype(np.int8)
    network, log = fit(family, matrix, labels)
    assert roc_auc_score(labels, score(network, matrix)) > 0.97
    assert log.epoch_losses[-1] < log.epoch_losses[0]


def test_tabm_finds_an_interaction_that_no_line_can() -> None:
    train_on, labels = matrix_of(1500, seed=1)
    unseen, truth = matrix_of(1000, seed=2)
    tabm, _ = fit("tabm", train_on, labels)
    line, _ = fit("logistic", train_on, labels)
    assert roc_auc_score(truth, score(tabm, unseen)) > 0.9
    assert roc_auc_score(truth, score(line, unseen)) < 0.6


@pytest.mark.parametrize("family", ["logistic", "mlp", "tabm"])
def test_the_same_seed_gives_the_same_bits_whatever_was_drawn_before(family: str) -> None:
    matrix, labels = matrix_of(300)
    first, _ = fit(family, matrix, labels, epochs=2)
    torch.rand(17)
    second, _ = fit(family, matrix, labels, epochs=2)
    assert network_bytes(first) == network_bytes(second)
    other, _ = fit(family, matrix, labels, epochs=2, seed=2)
    assert network_bytes(first) != network_bytes(other)


def test_training_leaves_the_process_as_it_was() -> None:
    matrix, labels = matrix_of(200)
    torch.manual_seed(4)
    expected = torch.rand(3)
    torch.manual_seed(4)
    threads = torch.get_num_threads()
    fit("mlp", matrix, labels, epochs=1)
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()


def test_the_sample_budget_cuts_epochs_but_never_the_only_one() -> None:
    matrix, labels = matrix_of(500)
    chosen = candidate("mlp", epochs=10, members=2)
    for budget, epochs in [(3000, 3), (10**9, 10), (100, 1)]:
        _, log = train(chosen, matrix, labels, CARDINALITIES, threads=1, sample_budget=budget)
        assert log.epochs == epochs
        assert log.samples == epochs * 500 * 2
        assert len(log.epoch_losses) == 2 * epochs
        assert 0 < log.samples / log.samples_per_second <= log.seconds


@pytest.mark.parametrize(("planned_for", "batch", "epochs"), [(49_999, 256, 4), (50_001, 500, 3)])
def test_more_claims_may_be_learnt_by_the_recipe_for_fewer(
    planned_for: int, batch: int, epochs: int
) -> None:
    """Epochs and batches of 50,000 claims or more are others; 500 claims fill no batch of 1,024."""
    matrix, labels = matrix_of(500)
    _, log = train(
        candidate("mlp", epochs=10, batch_size=None), matrix, labels, CARDINALITIES,
        threads=1, sample_budget=200_000, planned_for=planned_for,
    )  # fmt: skip
    assert (log.batch_size, log.epochs) == (batch, epochs)
    assert log.samples == epochs * 500


def test_members_differ_and_progress_is_told_by_epoch() -> None:
    matrix, labels = matrix_of(200)
    said: list[str] = []
    network, _ = train(
        candidate("mlp", epochs=2, members=2), matrix, labels, CARDINALITIES, threads=1,
        progress=said.append,
    )  # fmt: skip
    assert [line.split(",")[0] for line in said] == [
        "mlp-1[1]: epoch 1 of 2",
        "mlp-1[1]: epoch 2 of 2",
        "mlp-1[2]: epoch 1 of 2",
        "mlp-1[2]: epoch 2 of 2",
    ]
    first, second = (next(part.head.parameters()) for part in network.parts)
    assert not torch.equal(first, second)


def test_a_loss_that_explodes_names_candidate_step_rate_and_remedy() -> None:
    matrix, labels = matrix_of(500)
    wild = Matrix(matrix.numeric * np.float32(1e30), matrix.categories)
    rash = {"numeric": "plain", "schedule": "constant", "learning_rate": 1, "blocks": 8}
    with pytest.raises(TrainingError) as caught:
        fit("mlp", wild, labels, **rash)
    message = str(caught.value)
    for told in ("candidate mlp-1", "at step", "learning rate 1)", "Lower learning_rate"):
        assert told in message


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        (np.zeros(50, np.int8), "holds no fraud"),
        (np.ones(50, np.int8), "holds frauds only"),
        (np.r_[np.ones(25, np.int8), -np.ones(25, np.int8)], r"found \[-1\]"),
        (np.ones(20, np.int8), "20 labels for 50 rows"),
    ],
)
def test_labels_that_cannot_be_learnt(labels: np.ndarray, told: str) -> None:
    matrix, _ = matrix_of(50)
    with pytest.raises(TrainingError, match=told):
        fit("mlp", matrix, labels)


def test_inputs_that_are_not_finite_are_named() -> None:
    matrix, labels = matrix_of(50)
    matrix.numeric[7, 2] = np.inf
    with pytest.raises(TrainingError, match=r"numeric inputs \[2\]"):
        fit("mlp", matrix, labels)


def test_a_device_that_is_not_there() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    matrix, labels = matrix_of(50)
    with pytest.raises(TrainingError, match="FRAUD_DEVICE"):
        train(candidate("mlp"), matrix, labels, CARDINALITIES, threads=1, device="cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_a_gpu_gives_the_same_model_within_tolerance() -> None:
    matrix, labels = matrix_of(2000)
    chosen = candidate("tabm")
    cpu, _ = train(chosen, matrix, labels, CARDINALITIES, threads=1, device="cpu")
    gpu, log = train(chosen, matrix, labels, CARDINALITIES, threads=1, device="cuda")
    assert log.device == "cuda"
    # Other random dropout and bfloat16 products: alike in what they know, not in their bits.
    areas = [roc_auc_score(labels, score(network, matrix)) for network in (cpu, gpu)]
    assert abs(areas[0] - areas[1]) < 0.02


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize("family", ["logistic", "mlp", "tabm"])
def test_a_recorded_step_does_what_a_step_does(family: str) -> None:
    matrix, labels = matrix_of(500)
    still = {} if family == "logistic" else {"dropout": 0.0, "unknown_rate": 0.0}
    params, place = candidate(family, **still).params, torch.device("cuda")
    courses = []
    for kind in (Step, RecordedStep):
        network = FraudNetwork.for_training(params, matrix, CARDINALITIES, 1).to(place)
        data = TrainingData.placed(matrix, labels, None, None, place)
        step = kind(network.parts[0].train(), data, params, place)
        torch.manual_seed(1)
        batches = [rows.to(place) for _ in range(4) for rows in torch.randperm(500).tensor_split(7)]
        courses.append([float(step(rows, 0.001 * (i % 5))) for i, rows in enumerate(batches)])
    assert len(courses[1]) == 28
    np.testing.assert_allclose(courses[1], courses[0], rtol=0.01)
    assert courses[1][-1] < courses[1][0]


def test_one_cycle_rises_then_falls_to_nothing() -> None:
    params = TrainingParams(learning_rate=1.0, warmup=0.25)
    rates = [learning_rate(params, i / 100) for i in range(101)]
    assert rates[0] == pytest.approx(1 / 25)
    assert max(rates) == rates[25] == pytest.approx(1.0)
    assert rates[:26] == sorted(rates[:26])
    assert rates[25:] == sorted(rates[25:], reverse=True)
    assert rates[-1] < 1e-3


def test_recent_claims_and_frauds_can_weigh_more() -> None:
    labels, ages = np.array([1, 0, 0]), np.array([0.0, 0.0, 90.0])
    assert claim_weights(labels, ages, TrainingParams()) is None
    params = TrainingParams(fraud_weight=4, recency_half_life=90)
    weights = claim_weights(labels, ages, params)
    assert weights is not None
    np.testing.assert_allclose(weights / weights[1], [4, 1, 0.5])
    assert weights.mean() == pytest.approx(1)


def test_recency_without_ages_is_refused() -> None:
    matrix, labels = matrix_of(50)
    with pytest.raises(TrainingError, match="pass ages"):
        fit("mlp", matrix, labels, recency_half_life=30)


def test_losses_by_hand() -> None:
    logits = torch.tensor([[2.0, 0.0], [-1.0, 1.0]])
    labels = torch.tensor([1.0, 0.0])

    def bce(logit: float, target: float) -> float:
        return float(np.log1p(np.exp(logit)) - target * logit)

    plain = training_loss(logits, labels, None, None, MlpParams())
    assert float(plain) == pytest.approx((bce(2, 1) + bce(0, 1) + bce(-1, 0) + bce(1, 0)) / 4)
    smooth = training_loss(logits, labels, None, None, MlpParams(label_smoothing=0.2))
    by_hand = (bce(2, 0.9) + bce(0, 0.9) + bce(-1, 0.1) + bce(1, 0.1)) / 4
    assert float(smooth) == pytest.approx(by_hand)
    ranked = training_loss(logits, labels, None, None, MlpParams(pairwise=1.0))
    assert float(ranked) == pytest.approx((np.log1p(np.exp(-3)) + np.log1p(np.exp(1))) / 2)


@pytest.mark.parametrize("params", [{"pairwise": 0.5}, {"fraud_weight": 3.0}, {"pairwise": 1.0}])
def test_other_losses_learn_as_well(params: dict[str, float]) -> None:
    matrix, labels = matrix_of(1000)
    network, _ = fit("tabm", matrix, labels, **params)
    assert roc_auc_score(labels, score(network, matrix)) > 0.9


def test_a_period_with_more_fraud_is_told_apart_from_claims_with_more_fraud() -> None:
    """The first month has every fraud: its offset is high, and that of the second is low."""
    labels = np.repeat([1, 0, 0], [30, 70, 100])
    ages = np.repeat([45.0, 15.0], 100)
    offsets = period_offsets(labels, ages, TrainingParams(base_rate_period=30))
    assert offsets is not None
    assert np.all(offsets[:100] > 0)
    assert np.all(offsets[100:] < 0)
    assert period_offsets(labels, ages, TrainingParams()) is None
    with pytest.raises(ValueError, match="needs the claims' ages"):
        period_offsets(labels, None, TrainingParams(base_rate_period=30))


def test_offsets_move_what_the_loss_compares_with_the_labels() -> None:
    logits, labels = torch.zeros(2, 1), torch.tensor([1.0, 0.0])
    offsets = torch.tensor([20.0, -20.0])
    assert training_loss(logits, labels, None, offsets, MlpParams()) < 1e-6
    assert training_loss(logits, labels, None, -offsets, MlpParams()) > 10
