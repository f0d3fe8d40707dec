"""A random forest as a teacher: what it makes of claims that its trees have not seen.

Trees find rare, sharp patterns at once, for which a network needs many claims; a network ranks
better what changes little by little. A network that learns from labels and from a forest's
probabilities has both, and stays the one model that is stored, explained and served.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from fraud_mlops.features.preprocessing import Matrix

MOST_CELLS = 3_000_000
"""Claims times inputs, for which a forest takes half a minute on one core."""

_TREES = 200
_ONE_HOT_UP_TO = 64


def worth_it(claims: int, matrix: Matrix, cardinalities: Sequence[int]) -> bool:
    """Whether so many claims with such inputs, and categories of so many codes, are few."""
    numbers: int = matrix.numeric.shape[1] - len(matrix.beside)
    columns = sum(size if size <= _ONE_HOT_UP_TO else 1 for size in cardinalities)
    return claims * (numbers + columns) <= MOST_CELLS


def out_of_bag(
    matrix: Matrix,
    labels: np.ndarray,
    cardinalities: Sequence[int],
    *,
    seed: int,
    threads: int,
) -> npt.NDArray[np.float32]:
    """Probability of fraud of each claim, [n], by the trees that were not grown on it.

    labels [n], 1 fraud and 0 genuine. Breiman 1996, "Out-of-bag estimation": a forest's word on
    what it was grown on would be the labels once more. The same for any number of threads.
    """
    from sklearn.ensemble import RandomForestClassifier

    forest = RandomForestClassifier(
        _TREES,
        min_samples_leaf=2,
        max_features=0.3,
        oob_score=True,
        random_state=seed,
        n_jobs=threads,
    ).fit(_inputs(matrix, cardinalities), labels == 1)
    return np.asarray(forest.oob_decision_function_[:, 1], dtype=np.float32)


def _inputs(matrix: Matrix, cardinalities: Sequence[int]) -> npt.NDArray[np.float32]:
    """Categories of few values as a column a value, of many as their codes; and numbers once, since
    trees do not mind their scale."""
    columns = [np.delete(matrix.numeric, matrix.beside, axis=1)]
    for codes, size in zip(matrix.categories.T, cardinalities, strict=True):
        few = size <= _ONE_HOT_UP_TO
        columns.append(codes[:, None] == np.arange(size) if few else codes[:, None])
    return np.concatenate(columns, axis=1, dtype=np.float32)
