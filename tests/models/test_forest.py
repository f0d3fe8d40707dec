"""A network that learns from a forest, too, finds what few claims tell, and stays one network."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score  # noqa: TID253
from toy_claims import candidate

from fraud_mlops.features.preprocessing import Matrix
from fraud_mlops.models import forest
from fraud_mlops.models.forest import out_of_bag
from fraud_mlops.models.networks import network_bytes
from fraud_mlops.models.training import train

CATEGORIES = (6, 6, 200)


def rare_patterns(n: int, seed: int) -> tuple[Matrix, np.ndarray]:
    """One claim in 36 has both codes, of which most are fraud; of all others one in thirty is."""
    rng = np.random.default_rng(seed)
    codes = np.stack([rng.integers(0, size, n) for size in CATEGORIES], axis=1)
    numeric = rng.normal(size=(n, 12)).astype(np.float32)
    both = (codes[:, 0] == 2) & (codes[:, 1] == 4)
    labels = rng.random(n) < np.where(both, 0.8, 0.03)
    return Matrix(numeric, codes), labels.astype(np.int8)


def word(matrix: Matrix, labels: np.ndarray, seed: int = 3, threads: int = 1) -> np.ndarray:
    return out_of_bag(matrix, labels, CATEGORIES, seed=seed, threads=threads)


def test_a_forest_tells_of_each_claim_by_trees_that_have_not_seen_it() -> None:
    matrix, labels = rare_patterns(1500, seed=1)
    noise = np.random.default_rng(2).permutation(labels)
    assert roc_auc_score(labels, out_of_bag(matrix, labels, CATEGORIES, seed=0, threads=1)) > 0.65
    assert (
        abs(roc_auc_score(noise, out_of_bag(matrix, noise, CATEGORIES, seed=0, threads=1)) - 0.5)
        < 0.1
    )


def test_it_says_the_same_by_any_number_of_threads() -> None:
    matrix, labels = rare_patterns(600, seed=1)
    one, two = (
        out_of_bag(matrix, labels, CATEGORIES, seed=3, threads=threads) for threads in (1, 2)
    )
    assert one.tobytes() == two.tobytes()
    assert one.tobytes() != out_of_bag(matrix, labels, CATEGORIES, seed=4, threads=1).tobytes()


def test_a_network_taught_by_it_finds_the_pattern_that_labels_alone_do_not_show() -> None:
    seen, labels = rare_patterns(1500, seed=1)
    unseen, truth = rare_patterns(4000, seed=2)
    found = []
    for distillation in (0.0, 0.5):
        chosen = candidate("tabm", epochs=30, distillation=distillation)
        network, log = train(chosen, seen, labels, CATEGORIES, threads=1)
        inputs = unseen.numeric, unseen.categories
        scores = network.score(*map(_tensor, inputs)).numpy()
        found.append(average_precision_score(truth, scores))
        assert log.samples == 30 * 1500
        assert log.samples / log.samples_per_second <= log.seconds
    assert found[1] > found[0] + 0.05


def test_the_same_bits_again() -> None:
    matrix, labels = rare_patterns(400, seed=1)
    taught = candidate("mlp", epochs=2, distillation=0.3, pairwise=0.3)
    first, second = (
        network_bytes(train(taught, matrix, labels, CATEGORIES, threads=1)[0]) for _ in range(2)
    )
    assert first == second
    alone = candidate("mlp", epochs=2, pairwise=0.3)
    assert first != network_bytes(train(alone, matrix, labels, CATEGORIES, threads=1)[0])


@pytest.mark.parametrize(("planned_for", "grown"), [(None, True), (400, True), (401, False)])
def test_with_many_claims_labels_are_enough(
    monkeypatch: pytest.MonkeyPatch, planned_for: int | None, grown: bool
) -> None:
    """And a refit on more claims goes by those that its recipe was judged on."""
    inputs = 12 + 6 + 6 + 1  # numbers, a column for each of few codes, the codes of many
    monkeypatch.setattr(forest, "MOST_CELLS", 400 * inputs)
    matrix, labels = rare_patterns(400 if planned_for is None else 500, seed=1)
    said: list[str] = []
    taught = candidate("mlp", epochs=1, distillation=0.5)
    train(
        *(taught, matrix, labels, CATEGORIES),
        threads=1,
        progress=said.append,
        planned_for=planned_for,
    )
    assert any("a forest of" in line for line in said) == grown


def _tensor(values: np.ndarray) -> object:
    import torch

    return torch.from_numpy(values)
