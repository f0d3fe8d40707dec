"""From a claim's inputs to the flat vector that a network's layers see."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch  # noqa: TID253 -- this file owns torch; others import it where they use it
from torch import Tensor, nn  # noqa: TID253 -- likewise

from fraud_mlops.models.params import EncodingParams

_QUANTILE_ROWS = 100_000
_MIN_PIECE, _MIN_END_PIECE = 0.01, 0.1


def quantile_edges(numeric: np.ndarray, bins: int, plain: Sequence[int] = ()) -> list[np.ndarray]:
    """Edges of the pieces each column of `numeric` [n, p] is cut in: float32, rising, or none.

    A column in `plain` has none, nor has one that would be a single piece, a flag for instance:
    such an embedding is the input itself, times a weight for every number it is embedded in.

    Quantiles (Gorishniy, Rubachev & Babenko, NeurIPS 2022, section 3.2.1) of evenly spaced rows,
    at most 100,000 of them. Inputs are standardised, so that widths can be compared: a piece is
    at least 0.01 wide, the first and the last, which go on beyond the training range, at least
    0.1, lest a claim a little outside that range lands far away.
    """
    if not numeric.shape[1]:
        return []
    sample = numeric[:: max(1, len(numeric) // _QUANTILE_ROWS)]
    quantiles = np.quantile(sample, np.linspace(0, 1, bins + 1), axis=0)
    lowest, highest = numeric.min(axis=0), numeric.max(axis=0)
    edges = [
        _thinned(quantiles[1:-1, i], float(lowest[i]), float(highest[i]))
        for i in range(numeric.shape[1])
    ]
    none = np.empty(0, np.float32)
    return [none if i in plain or len(e) == 2 else e for i, e in enumerate(edges)]


def _thinned(inner: np.ndarray, low: float, high: float) -> np.ndarray:
    high = max(high, low + _MIN_END_PIECE)
    edges = [low]
    for edge in inner:
        wide = _MIN_END_PIECE if len(edges) == 1 else _MIN_PIECE
        if edge - edges[-1] >= wide and high - edge >= _MIN_END_PIECE:
            edges.append(float(edge))
    return np.array([*edges, high], dtype=np.float32)


class InputColumns(NamedTuple):
    """Columns start <= j < stop of the encoded vector that come from one input."""

    start: int
    stop: int


class PlainEncoder(nn.Module):
    """Numeric inputs as they are; a category becomes one learnt number, at first 0.

    What comes out are the terms of a logistic regression, once the numeric ones have weights.
    """

    def __init__(self, n_numeric: int, cardinalities: Sequence[int]) -> None:
        super().__init__()
        self.n_numeric = n_numeric
        self.register_buffer("offsets", _offsets(cardinalities), persistent=False)
        self.weights = nn.Parameter(torch.zeros(sum(cardinalities)))
        self.cardinalities = tuple(cardinalities)

    offsets: Tensor

    def columns(self) -> list[InputColumns]:
        """One entry an input, numeric ones first."""
        return [InputColumns(i, i + 1) for i in range(self.n_numeric + len(self.cardinalities))]

    def forward(self, numeric: Tensor, categories: Tensor) -> Tensor:
        """float32 [n, p] and int64 [n, c] to [n, p + c]."""
        return torch.cat([numeric, self.weights[categories + self.offsets]], dim=1)

    def average(self, numeric: Tensor, shares: Tensor) -> Tensor:
        """The encoding [1, d] of a claim with inputs `numeric` [p] and category shares [sum c]."""
        parts = [
            (weights * share).sum()[None]
            for weights, share in zip(
                torch.split(self.weights, list(self.cardinalities)),
                torch.split(shares, list(self.cardinalities)),
                strict=True,
            )
        ]
        return torch.cat([numeric, *parts])[None]


class DeepEncoder(nn.Module):
    """Numeric inputs embedded piecewise linearly, categories one-hot or embedded.

    edge_counts: for each numeric input the number of edges, 0 for one that stays as it is; None
    leaves all as they are.
    The edges themselves are part of the state (as slopes and offsets of the pieces), so that
    counts and weights are enough to build the encoder again. Beyond the training range the
    first and last pieces, and the linear term, go on: nothing is clipped.
    """

    def __init__(
        self,
        params: EncodingParams,
        n_numeric: int,
        cardinalities: Sequence[int],
        edge_counts: Sequence[int] | None,
    ) -> None:
        super().__init__()
        self.n_numeric = n_numeric
        self.cardinalities = tuple(cardinalities)
        self.unknown_rate = params.unknown_rate
        self.pieces: Any = None
        counts = [0] * n_numeric if edge_counts is None else list(edge_counts)
        self.numeric_width = params.numeric_width
        self.shaped = [i for i, count in enumerate(counts) if count]
        self.plain = [i for i, count in enumerate(counts) if not count]
        if self.shaped:
            counts = [counts[i] for i in self.shaped]
            for name, limit in zip(("lowest", "highest"), _limits(counts), strict=True):
                self.register_buffer(name, limit, persistent=False)
            placeholder = [torch.arange(count, dtype=torch.float32) for count in counts]
            self.pieces = _pieces(placeholder, params.numeric_width)
        # Tensors, where lists would be carried to a GPU again in every pass.
        for name, inputs in (("shaped", self.shaped), ("plain", self.plain)):
            self.register_buffer(
                f"{name}_inputs", torch.tensor(inputs, dtype=torch.int64), persistent=False
            )
        self.one_hot = [i for i, c in enumerate(cardinalities) if c <= params.one_hot_up_to]
        self.embedded = [i for i, c in enumerate(cardinalities) if c > params.one_hot_up_to]
        self._one_hot_width = sum(self.cardinalities[i] for i in self.one_hot)
        for name, chosen in (("one_hot", self.one_hot), ("embedded", self.embedded)):
            offsets = _offsets([self.cardinalities[i] for i in chosen])
            self.register_buffer(f"{name}_offsets", offsets, persistent=False)
            self.register_buffer(
                f"{name}_inputs", torch.tensor(chosen, dtype=torch.int64), persistent=False
            )
        self.table: nn.Embedding | None = None
        if self.embedded:
            rows = sum(self.cardinalities[i] for i in self.embedded)
            self.table = nn.Embedding(rows, params.category_width)
            nn.init.normal_(self.table.weight, std=params.category_width**-0.5)

    lowest: Tensor
    highest: Tensor
    shaped_inputs: Tensor
    plain_inputs: Tensor
    one_hot_inputs: Tensor
    one_hot_offsets: Tensor
    embedded_inputs: Tensor
    embedded_offsets: Tensor

    def set_edges(self, edges: Sequence[np.ndarray]) -> None:
        """Lay the pieces of the numeric embedding on `edges`, one array an input."""
        if self.pieces is not None:
            laid = _pieces([torch.from_numpy(edges[i]) for i in self.shaped], self.numeric_width)
            for name in ("weight", "bias"):
                self.pieces.get_buffer(f"impl.{name}").copy_(laid.get_buffer(f"impl.{name}"))

    def columns(self) -> list[InputColumns]:
        """One entry an input, numeric ones first, then categories in their own order."""
        widths: dict[int, int] = dict.fromkeys(self.shaped, self.numeric_width)
        widths |= dict.fromkeys(self.plain, 1)
        widths |= {self.n_numeric + i: self.cardinalities[i] for i in self.one_hot}
        width = self.table.embedding_dim if self.table else 0
        widths |= {self.n_numeric + i: width for i in self.embedded}
        places, start = {}, 0
        for place, width in widths.items():
            places[place] = InputColumns(start, start + width)
            start += width
        return [places[i] for i in range(len(places))]

    def forward(self, numeric: Tensor, categories: Tensor) -> Tensor:
        """float32 [n, p] and int64 [n, c] to [n, d]."""
        if self.training and self.unknown_rate > 0 and categories.shape[1]:
            hidden = torch.rand(categories.shape, device=categories.device) < self.unknown_rate
            categories = categories.masked_fill(hidden, 0)
        parts = self._encode_numeric(numeric)
        if self.one_hot:
            # Categories in one scatter: a one_hot call for each costs more than the network.
            where = categories[:, self.one_hot_inputs] + self.one_hot_offsets
            zeros = numeric.new_zeros(len(where), self._one_hot_width)
            parts.append(zeros.scatter_(1, where, 1.0))
        if self.table is not None:
            where = categories[:, self.embedded_inputs] + self.embedded_offsets
            parts.append(self.table(where).flatten(1))
        return torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]

    def average(self, numeric: Tensor, shares: Tensor) -> Tensor:
        """The encoding [1, d] of a claim with inputs `numeric` [p] and category shares [sum c].

        A category's encoding is the mean over training claims, shares being their frequencies.
        """
        by_feature = torch.split(shares, list(self.cardinalities)) if self.cardinalities else ()
        parts = [part[0] for part in self._encode_numeric(numeric[None])]
        parts += [by_feature[i] for i in self.one_hot]
        if self.table is not None:
            rows = torch.split(self.table.weight, [self.cardinalities[i] for i in self.embedded])
            parts += [by_feature[i] @ row for i, row in zip(self.embedded, rows, strict=True)]
        return torch.cat(parts)[None]

    def _encode_numeric(self, numeric: Tensor) -> list[Tensor]:
        """Embedded inputs, then those that stay as they are."""
        parts = [self._embedded(numeric[:, self.shaped_inputs])] if self.shaped else []
        return [*parts, numeric[:, self.plain_inputs]] if self.plain else parts

    def _embedded(self, numeric: Tensor) -> Tensor:
        """The package's own forward to the bit, in one clamp for its three and a copy.

        In place: of 512 claims all pieces are megabytes, and memory for them twice costs as much
        as the arithmetic.
        """
        impl = self.pieces.impl
        pieces = torch.addcmul(impl.bias, impl.weight, numeric[..., None])
        pieces.clamp_(self.lowest, self.highest)
        embedded: Tensor = self.pieces.linear0(numeric).add_(self.pieces.linear(pieces))
        return embedded.flatten(1)


def _pieces(edges: list[Tensor], width: int) -> nn.Module:
    from rtdl_num_embeddings import PiecewiseLinearEmbeddings

    module: nn.Module = PiecewiseLinearEmbeddings(edges, width, activation=False, version="B")
    return module


def _limits(edge_counts: Sequence[int]) -> tuple[Tensor, Tensor]:
    """What each piece of the encoding [p, most pieces] is kept between.

    0 and 1, but the first piece goes on below and the last, which the package keeps in the last
    column whatever a feature's number of pieces, goes on above.
    """
    shape = len(edge_counts), max(edge_counts) - 1
    lowest, highest = torch.zeros(shape), torch.ones(shape)
    lowest[:, 0], highest[:, -1] = -torch.inf, torch.inf
    return lowest, highest


def _offsets(cardinalities: Sequence[int]) -> Tensor:
    """Where each feature's categories begin in a table of all of them: int64 [c]."""
    return torch.tensor(np.cumsum([0, *cardinalities])[:-1], dtype=torch.int64)
