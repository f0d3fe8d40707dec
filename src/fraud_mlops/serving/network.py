"""A network's forward pass and its attributions in numpy, laid out for few claims.

Through torch a claim takes a third of a millisecond, of which the arithmetic is a tenth: the rest
is some hundred calls. Here there are few, and the attributions go on from what the forward pass has
worked out. A logit is that of `FraudNetwork.score` but for float32 rounding, about a millionth, and
the same to the bit whichever claims are scored along with it; attributions are those of
`models.reasons`. docs/benchmarks.md has what else was tried.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fraud_mlops.features.preprocessing import Matrix
from fraud_mlops.models.fraud_model import FraudModel
from fraud_mlops.models.networks import FraudNetwork, Member
from fraud_mlops.models.reasons import feature_of_input
from fraud_mlops.serving.encoding import Encoder, array_of
from fraud_mlops.serving.layers import Entering, Layers, layers_of

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]


class Passed(NamedTuple):
    """What one member saw of n claims. encoded [n, d]; entering: its ReLUs; logits: their mean
    over k [n]."""

    encoded: Floats
    entering: Entering
    logits: Floats


class FastNetwork:
    """A model's network, all members of it."""

    def __init__(self, model: FraudModel) -> None:
        owner, features = feature_of_input(model), len(model.features)
        self._members = [
            _FastMember(member, model.network, owner, features) for member in model.network.parts
        ]

    def passed(self, matrix: Matrix) -> list[Passed]:
        """What every member makes of a few claims, to ask for logits and attributions."""
        return [member.forward(matrix) for member in self._members]

    def attributions(self, passed: list[Passed]) -> npt.NDArray[np.float64]:
        """Contribution of each feature to the logits of n claims, float64 [n, features].

        Rows add up to logit less that of the average training claim. DeepLIFT; see
        `models.reasons.attributions`.
        """
        pairs = zip(self._members, passed, strict=True)
        shares = [member.shares(seen) for member, seen in pairs]
        # Members of a network have the same number of logits: their means may be averaged.
        return shares[0] if len(shares) == 1 else np.asarray(np.mean(shares, axis=0))


def mean_logits(passed: list[Passed]) -> Floats:
    """Of all members [n]."""
    if len(passed) == 1:
        return passed[0].logits
    return np.asarray(np.mean([seen.logits for seen in passed], axis=0), dtype=np.float32)


def rows_of(matrix: Matrix, rows: slice | Integers) -> Matrix:
    return Matrix(matrix.numeric[rows], matrix.categories[rows])


class _FastMember:
    """owner: the feature of each input."""

    def __init__(
        self, member: Member, network: FraudNetwork, owner: Integers, features: int
    ) -> None:
        self._encode = Encoder(member.encoder)
        self._by_feature = Sums(owner[self._encode.owner], features)
        self._layers: Layers = layers_of(member.head, self._encode.width)
        average = member.encoder.average(network.numeric_mean, network.category_shares)
        self._average = self._pass(array_of(average))

    def forward(self, matrix: Matrix) -> Passed:
        return self._pass(self._encode(matrix.numeric, matrix.categories))

    def shares(self, seen: Passed) -> npt.NDArray[np.float64]:
        """Of each feature in the rise of the mean logit from the average claim's [n, features]."""
        by_column = seen.encoded - self._average.encoded
        by_column *= self._layers.multipliers(self._average.entering, seen.entering)
        return self._by_feature(by_column)

    def _pass(self, encoded: Floats) -> Passed:
        return Passed(encoded, *self._layers.forward(encoded))


class Sums:
    """Adds up columns of one owner: [n, m] to float64 [n, size]; owner: 0 <= owner < size [m]."""

    def __init__(self, owner: Integers, size: int) -> None:
        self._size = size
        self._order = np.argsort(owner, kind="stable")
        self._owners, self._starts = np.unique(owner[self._order], return_index=True)

    def __call__(self, values: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        wide = values.astype(np.float64)[:, self._order]
        out = np.zeros((len(values), self._size))
        if len(self._starts):
            out[:, self._owners] = np.add.reduceat(wide, self._starts, axis=1)
        return out
