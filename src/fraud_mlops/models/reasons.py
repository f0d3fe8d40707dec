"""Why a claim scored as it did: each feature's share of its logit, in numbers and in words."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import torch  # noqa: TID253 -- this file owns torch; others import it where they use it
from torch import Tensor  # noqa: TID253 -- likewise

from fraud_mlops.models.fraud_model import FraudModel
from fraud_mlops.models.gradients import line_gradient

if TYPE_CHECKING:
    from fraud_mlops.features.preprocessing import Matrix
    from fraud_mlops.models.networks import Member

NODES = 16
_BATCH_ROWS = 1024


def reference_logit(model: FraudModel) -> float:
    """The logit of the average training claim, which attributions are counted from."""
    network = model.network
    with torch.inference_mode():
        averages = [
            member.head(member.encoder.average(network.numeric_mean, network.category_shares))
            for member in network.parts
        ]
        return float(torch.cat(averages, dim=1).double().mean())


def attributions(
    model: FraudModel, claims: pa.Table | pa.RecordBatch, *, nodes: int = NODES
) -> np.ndarray:
    """Each feature's contribution to each claim's logit, float64 [n, len(model.features)].

    Rows sum to logit(claim) - reference_logit(model). Integrated gradients (Sundararajan, Taly &
    Yan, ICML 2017) over the embedded inputs, along the straight line from the average training
    claim: its mean numeric inputs, and for a category the mean encoding over training claims.
    The several inputs of a feature are added up. The integral is taken at `nodes` Gauss-Legendre
    points; the little that a network's kinks leave over is laid on the features in proportion to
    what they have, so that the sum is exact. For the logistic family a contribution is weight
    times distance from the average.

    Cost: some scorings a claim; meant for the claims that people look at.
    """
    explainer = Explainer(model, nodes=nodes)
    out = np.zeros((claims.num_rows, len(model.features)))
    for start in range(0, claims.num_rows, _BATCH_ROWS):
        batch = claims.slice(start, _BATCH_ROWS)
        out[start : start + batch.num_rows] = explainer(model.preprocessor.transform(batch))
    return out


class Explainer:
    """`attributions` of claims that are preprocessed already, with what is the same for all of
    them worked out once."""

    def __init__(self, model: FraudModel, *, nodes: int = NODES) -> None:
        points, weights = np.polynomial.legendre.leggauss(nodes)
        self._points = torch.from_numpy((points + 1) / 2).float()
        self._weights = torch.from_numpy(weights / 2).float()
        self._features, self._owner = len(model.features), feature_of_input(model)
        network = model.network
        with torch.inference_mode():
            self._lines = [
                _Line.of(member, network.numeric_mean, network.category_shares)
                for member in network.parts
            ]

    def __call__(self, matrix: Matrix) -> np.ndarray:
        """float64 [n, features], rows summing to logit minus reference logit."""
        with torch.inference_mode():
            shares, rise = self._shares(matrix)
        by_input = completed(shares.numpy(), rise.numpy())
        out = np.zeros((len(by_input), self._features))
        np.add.at(out.T, self._owner, by_input.T)
        return out

    def _shares(self, matrix: Matrix) -> tuple[Tensor, Tensor]:
        """Of each of the p + c inputs in the rise of the logit, and the rise."""
        numeric = torch.from_numpy(matrix.numeric)
        categories = torch.from_numpy(matrix.categories)
        shares = torch.zeros(len(numeric), numeric.shape[1] + categories.shape[1]).double()
        rise = torch.zeros(len(numeric)).double()
        for line in self._lines:
            encoded = line.member.encoder(numeric, categories)
            gradient = line_gradient(
                line.member.head, line.average, encoded, self._points, self._weights
            )
            by_column = ((encoded - line.average) * gradient).double()
            shares.index_add_(1, line.owner, by_column)
            rise += line.member.head(encoded).double().mean(1) - line.reference
        # Members of a network have the same number of logits: their means may be averaged.
        return shares / len(self._lines), rise / len(self._lines)


@dataclass(frozen=True)
class _Line:
    """From the average claim's encoding [1, d], with this mean logit, to a claim's.

    owner: the input that each of the d encoded numbers comes from.
    """

    member: Member
    average: Tensor
    reference: float
    owner: Tensor

    @classmethod
    def of(cls, member: Member, numeric: Tensor, shares: Tensor) -> _Line:
        average = member.encoder.average(numeric, shares)
        owner = torch.empty(average.shape[1], dtype=torch.int64)
        for i, (begin, end) in enumerate(member.encoder.columns()):
            owner[begin:end] = i
        return cls(member, average, float(member.head(average).double().mean()), owner)


def reason_texts(
    model: FraudModel,
    claims: pa.Table | pa.RecordBatch,
    contributions: np.ndarray,
    *,
    unsaid: Collection[str],
    top: int = 3,
) -> list[list[str]]:
    """For each claim at most `top` sentences on what raises its score most, strongest first.

    contributions: [n, features] of `attributions`. unsaid: features whose values are not told. A
    claim that nothing raises has no sentence.
    """
    names = model.features
    columns = {name: claims.column(name).to_pylist() for name in names}
    order = np.argsort(-contributions, axis=1, kind="stable")[:, :top]
    return [
        [
            sentence(model, names[j], columns[names[j]][i], unsaid=names[j] in unsaid)
            for j in order[i]
            if contributions[i, j] > 0
        ]
        for i in range(claims.num_rows)
    ]


def completed(shares: np.ndarray, rise: np.ndarray) -> np.ndarray:
    """Shares [n, m] with what is missing to `rise` [n] laid on them by size."""
    size = np.abs(shares)
    total = size.sum(axis=1, keepdims=True)
    even = np.full_like(shares, 1 / max(1, shares.shape[1]))
    portion = np.divide(size, total, out=even, where=total > 0)
    return np.asarray(shares + portion * (rise - shares.sum(axis=1))[:, None])


def feature_of_input(model: FraudModel) -> np.ndarray:
    """For each of the p + c inputs the place of its feature in model.features."""
    place = {name: i for i, name in enumerate(model.features)}
    # Not in the order of `typical`, which is sorted once a model has been through JSON.
    categorical = (category.name for category in model.preprocessor.categorical)
    inputs: Sequence[str] = (*model.preprocessor.input_features, *categorical)
    return np.array([place[name] for name in inputs], dtype=np.int64)


def sentence(
    model: FraudModel, feature: str, value: float | str | None, *, unsaid: bool = False
) -> str:
    """That a feature with this value raises the score, and what would be usual.

    A usual value raises it, too, where other values lower it more than it does: scores are
    compared with the average claim's. unsaid: without the value, and without whether it is usual.
    """
    if unsaid:
        return f"{feature.replace('_', ' ')} raises the score"
    numeric = feature in model.typical.numeric
    typical = (model.typical.numeric if numeric else model.typical.categorical).get(feature)
    shown, usual = _shown(value), _shown(typical)
    told = f"{feature.replace('_', ' ')} {shown}"
    if shown != usual:
        return f"{told} ({'typical' if numeric else 'most often'} {usual}) raises the score"
    common = "typical as it is" if numeric else "the most common value"
    return f"{told}, {common}, raises the score against the average claim's"


def _shown(value: float | str | None) -> str:
    """12345.6 as 12,346, 3.14159 as 3.14, nothing as missing; powers where that is too long."""
    if value is None or value != value:
        return "missing"
    if isinstance(value, str):
        return value or "empty"
    size = abs(value)
    if size >= 1e15 or 0 < size < 1e-6:
        return f"{value:.3g}"
    if size >= 1000:
        return f"{value:,.0f}"
    return f"{Decimal(f'{value:.3g}') + 0:,f}"  # 999.7 as 1,000, and -0 as 0
