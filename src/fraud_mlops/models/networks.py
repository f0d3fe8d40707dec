"""One front for every family: inputs in, one logit a member out, rebuilt from JSON and weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Self, cast

import numpy as np
import torch  # noqa: TID253 -- this file owns torch; others import it where they use it
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn  # noqa: TID253 -- likewise

from fraud_mlops.models.encoders import DeepEncoder, PlainEncoder, quantile_edges
from fraud_mlops.models.heads import LogisticHead, MlpHead, TabmHead
from fraud_mlops.models.params import EncodingParams, LogisticParams, Params, TabmParams

if TYPE_CHECKING:
    from fraud_mlops.features.preprocessing import Matrix


class MemberSpec(BaseModel):
    """The shape of one network: its parameters, and for each numeric input the number of edges
    of its piecewise-linear embedding, 0 for an input that stays as it is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    params: Params
    edge_counts: tuple[int, ...] | None = None


class NetworkSpec(BaseModel):
    """All that `FraudNetwork` needs, with its weights, to be built again.

    n_numeric: numeric inputs (p); cardinalities: number of codes of each category (c of them).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    n_numeric: int
    cardinalities: tuple[int, ...]
    members: tuple[MemberSpec, ...]


class Member(nn.Module):
    """One network: an encoder of the inputs and the layers above it."""

    encoder: PlainEncoder | DeepEncoder
    head: LogisticHead | MlpHead | TabmHead

    def __init__(self, spec: MemberSpec, n_numeric: int, cardinalities: Sequence[int]) -> None:
        super().__init__()
        params = spec.params
        if isinstance(params, LogisticParams):
            self.encoder = PlainEncoder(n_numeric, cardinalities)
            self.head = LogisticHead(n_numeric)
            return
        self.encoder = DeepEncoder(params, n_numeric, cardinalities, spec.edge_counts)
        chunks = [stop - start for start, stop in sorted(self.encoder.columns())]
        if isinstance(params, TabmParams):
            embedded = self.encoder.pieces is not None or self.encoder.table is not None
            self.head = TabmHead(params, chunks, embedded=embedded)
        else:
            self.head = MlpHead(params, sum(chunks))

    def forward(self, numeric: Tensor, categories: Tensor) -> Tensor:
        out: Tensor = self.head(self.encoder(numeric, categories))
        return out


class FraudNetwork(nn.Module):
    """Members side by side, and the average training claim they are explained against.

    forward(numeric [n, p] float32, categories [n, c] int64) -> logits [n, k], k over all members.
    A claim's score is the mean of its logits (a logarithmic opinion pool), not the logit of the
    mean probability: one member that is sure cannot outvote the rest, and the attributions of
    the members average to those of the score without a residue.
    """

    numeric_mean: Tensor
    category_shares: Tensor

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self.spec = spec
        self.members = nn.ModuleList(
            Member(member, spec.n_numeric, spec.cardinalities) for member in spec.members
        )
        self.register_buffer("numeric_mean", torch.zeros(spec.n_numeric))
        self.register_buffer("category_shares", torch.zeros(sum(spec.cardinalities)))

    @classmethod
    def for_training(
        cls, params: Params, matrix: Matrix, cardinalities: Sequence[int], seed: int
    ) -> Self:
        """A network with random weights, laid out on the training inputs.

        The global generator of torch is seeded with `seed` and advanced.
        """
        torch.manual_seed(seed)
        n_numeric = matrix.numeric.shape[1]
        edges = None
        if isinstance(params, EncodingParams) and params.numeric == "piecewise_linear":
            edges = quantile_edges(matrix.numeric, params.bins, plain=matrix.beside)
        counts = None if edges is None else tuple(len(e) for e in edges)
        member = MemberSpec(params=params, edge_counts=counts)
        spec = NetworkSpec(
            n_numeric=n_numeric,
            cardinalities=tuple(cardinalities),
            members=(member,) * params.members,
        )
        network = cls(spec)
        for built in network.parts:
            if edges and isinstance(built.encoder, DeepEncoder):
                built.encoder.set_edges(edges)
        network._remember_average(matrix)
        return network

    @property
    def parts(self) -> list[Member]:
        return [cast("Member", member) for member in self.members]

    def forward(self, numeric: Tensor, categories: Tensor) -> Tensor:
        logits = [member(numeric, categories) for member in self.members]
        return torch.cat(logits, dim=1) if len(logits) > 1 else logits[0]

    def score(self, numeric: Tensor, categories: Tensor) -> Tensor:
        """One logit a claim: [n]."""
        logits: Tensor = self(numeric, categories)
        return logits.mean(1)

    def _remember_average(self, matrix: Matrix) -> None:
        rows = len(matrix.numeric)
        self.numeric_mean.copy_(torch.from_numpy(matrix.numeric.mean(axis=0, dtype=np.float64)))
        if self.spec.cardinalities:
            shares = [
                np.bincount(matrix.categories[:, i], minlength=cardinality) / rows
                for i, cardinality in enumerate(self.spec.cardinalities)
            ]
            self.category_shares.copy_(torch.from_numpy(np.concatenate(shares)))


def network_bytes(network: FraudNetwork) -> bytes:
    """The weights as safetensors; with `network.spec` the whole network."""
    from safetensors.torch import save

    state = {
        name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()
    }
    return bytes(save(state))


def network_from(spec: NetworkSpec, weights: bytes) -> FraudNetwork:
    """The network on the CPU, in eval mode, parameters frozen.

    Raises ValueError when the weights are not safetensors, or not those of `spec`.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        state = load(weights)
    except SafetensorError as error:
        raise ValueError(f"not safetensors: {error}") from None
    network = FraudNetwork(spec)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(f"not the weights of this network: {error}") from None
    for name, value in network.state_dict().items():
        if value.is_floating_point() and not value.isfinite().all():
            raise ValueError(f"{name} holds values that are not finite")
    return network.eval().requires_grad_(False)
