"""Why a claim scored as it did: each feature's share of its logit, in numbers and in words."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import torch  # noqa: TID253 -- this file owns torch; others import it where they use it

from fraud_mlops.models.fraud_model import FraudModel
from fraud_mlops.models.multipliers import multipliers

if TYPE_CHECKING:
    from fraud_mlops.features.preprocessing import Matrix
    from fraud_mlops.models.encoders import DeepEncoder, PlainEncoder

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


def attributions(model: FraudModel, claims: pa.Table | pa.RecordBatch) -> np.ndarray:
    """Each feature's contribution to each claim's logit, float64 [n, len(model.features)].

    Rows sum to logit(claim) - reference_logit(model), but for float32 rounding. DeepLIFT with the
    Rescale rule (see `models.multipliers`) over the embedded inputs, against the average training
    claim: its mean numeric inputs, and for a category the mean encoding over training claims.
    The several inputs of a feature are added up. For the logistic family a contribution is weight
    times distance from the average.

    Cost: two to three scorings a claim.
    """
    explainer = Explainer(model)
    out = np.zeros((claims.num_rows, len(model.features)))
    for start in range(0, claims.num_rows, _BATCH_ROWS):
        batch = claims.slice(start, _BATCH_ROWS)
        out[start : start + batch.num_rows] = explainer(model.preprocessor.transform(batch))
    return out


class Explainer:
    """`attributions` of claims that are preprocessed already, with what is the same for all of
    them worked out once."""

    def __init__(self, model: FraudModel) -> None:
        self._features, network = len(model.features), model.network
        owner = feature_of_input(model)
        with torch.inference_mode():
            self._members = [
                (
                    member,
                    member.encoder.average(network.numeric_mean, network.category_shares),
                    torch.from_numpy(owner[input_of_column(member.encoder)]),
                )
                for member in network.parts
            ]

    def __call__(self, matrix: Matrix) -> np.ndarray:
        """float64 [n, features], rows summing to logit minus reference logit."""
        numeric = torch.from_numpy(matrix.numeric)
        categories = torch.from_numpy(matrix.categories)
        shares = torch.zeros(len(numeric), self._features).double()
        with torch.inference_mode():
            for member, average, owner in self._members:
                encoded = member.encoder(numeric, categories)
                by_column = (encoded - average) * multipliers(member.head, average, encoded)
                shares.index_add_(1, owner, by_column.double())
        # Members of a network have the same number of logits: their means may be averaged.
        return shares.numpy() / len(self._members)


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


def feature_of_input(model: FraudModel) -> np.ndarray:
    """For each of the p + c inputs the place of its feature in model.features."""
    place = {name: i for i, name in enumerate(model.features)}
    # Not in the order of `typical`, which is sorted once a model has been through JSON.
    categorical = (category.name for category in model.preprocessor.categorical)
    inputs: Sequence[str] = (*model.preprocessor.input_features, *categorical)
    return np.array([place[name] for name in inputs], dtype=np.int64)


def input_of_column(encoder: PlainEncoder | DeepEncoder) -> np.ndarray:
    """For each of the d encoded numbers the place of the input, numeric ones first, it is of."""
    columns = encoder.columns()
    owner = np.empty(max((stop for _, stop in columns), default=0), dtype=np.int64)
    for place, (start, stop) in enumerate(columns):
        owner[start:stop] = place
    return owner


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
