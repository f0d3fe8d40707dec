"""A network's encoder laid out in tables: from inputs to the encoded vector in a few array
operations.

The numbers are those of `models.encoders`, but for float32 rounding. A piecewise-linear embedding
there multiplies every piece of every input; here the one piece that the value lies in is looked up,
for the pieces before it are full and those after it empty.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fraud_mlops.features.preprocessing import LIMIT
from fraud_mlops.models.encoders import DeepEncoder, PlainEncoder
from fraud_mlops.models.reasons import input_of_column

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]

_APART = 4 * LIMIT
"""Inputs lie within +-LIMIT: so far apart, the edges of all of them are one rising array."""


class Pieces(NamedTuple):
    """The m pieces of all p shaped inputs, one input's after another's.

    columns: which inputs [p]; shift: where each one's edges lie [p]; edges: inner ones [m - p];
    slope, offset: how full a piece is at x, slope * x + offset [m]; full: the embedding when the
    pieces before are full [m, width]; more: what a full piece adds [m, width]; linear: what x adds
    by itself [p, width].
    """

    columns: Integers
    shift: npt.NDArray[np.float64]
    edges: npt.NDArray[np.float64]
    slope: npt.NDArray[np.float64]
    offset: npt.NDArray[np.float64]
    full: Floats
    more: Floats
    linear: Floats

    def embed(self, numeric: Floats) -> Floats:
        """float32 [n, p'] to [n, p * width]."""
        x = numeric[:, self.columns]
        # Inner edges before x's own are as many as pieces before it, less one for each input
        # before it, whose last piece has no edge behind it.
        place = np.searchsorted(self.edges, x + self.shift, side="right")
        place += np.arange(x.shape[1])
        # In float64: a narrow piece far from zero is the difference of two large numbers.
        filled = (self.slope[place] * x + self.offset[place]).astype(np.float32)
        out = self.more[place]
        out *= filled[:, :, None]
        out += self.full[place]
        out += self.linear * x[:, :, None]
        return out.reshape(len(x), -1)


class Encoder:
    """One member's. width: length d of the encoded vector; owner: the input, numeric ones first,
    that each of the d numbers comes from [d]."""

    def __init__(self, encoder: PlainEncoder | DeepEncoder) -> None:
        self.owner = input_of_column(encoder)
        self.width = len(self.owner)
        deep = encoder if isinstance(encoder, DeepEncoder) else None
        self._pieces = _pieces(deep) if deep is not None and deep.shaped else None
        plain = range(encoder.n_numeric) if deep is None else deep.plain
        self._plain = np.array(plain, dtype=np.int64)
        self._shaped_width = 0 if deep is None else len(deep.shaped) * deep.numeric_width
        self._numeric_width = self._shaped_width + len(self._plain)
        self._one_hot, self._looked_up = _categories(encoder)
        self._hot_width = sum(encoder.cardinalities[i] for i in self._one_hot[0].tolist())

    def __call__(self, numeric: Floats, categories: Integers) -> Floats:
        """float32 [n, p] and int64 [n, c] to float32 [n, d]."""
        n, begin = len(numeric), self._shaped_width
        out = np.zeros((n, self.width), dtype=np.float32)
        if self._pieces is not None:
            out[:, :begin] = self._pieces.embed(numeric)
        out[:, begin : self._numeric_width] = numeric[:, self._plain]
        chosen, offsets = self._one_hot
        if len(chosen):
            where = categories[:, chosen] + (offsets + self._numeric_width)
            out[np.arange(n)[:, None], where] = 1
        if self._looked_up is not None:
            chosen, offsets, table = self._looked_up
            found = table[categories[:, chosen] + offsets]
            out[:, self._numeric_width + self._hot_width :] = found.reshape(n, -1)
        return out


_Chosen = tuple[Integers, Integers]
_Table = tuple[Integers, Integers, Floats]


def _categories(encoder: PlainEncoder | DeepEncoder) -> tuple[_Chosen, _Table | None]:
    """Categories that are one-hot, and those that are looked up: which, where each begins."""
    none = np.empty(0, dtype=np.int64)
    if isinstance(encoder, PlainEncoder):
        if not encoder.cardinalities:
            return (none, none), None
        every = np.arange(len(encoder.cardinalities))
        return (none, none), (every, array_of(encoder.offsets), array_of(encoder.weights)[:, None])
    hot = np.array(encoder.one_hot, dtype=np.int64), array_of(encoder.one_hot_offsets)
    if encoder.table is None:
        return hot, None
    embedded = np.array(encoder.embedded, dtype=np.int64)
    return hot, (embedded, array_of(encoder.embedded_offsets), array_of(encoder.table.weight))


def _pieces(encoder: DeepEncoder) -> Pieces:
    """The package lays each input's pieces from the left, but its last one in the last column."""
    impl, layers = encoder.pieces.impl, encoder.pieces
    slope, offset = (array_of(values).astype(np.float64) for values in (impl.weight, impl.bias))
    weight = array_of(layers.linear.weight).astype(np.float64)  # [p, pieces, width]
    bias = array_of(layers.linear0.bias).astype(np.float64)  # [p, width]
    parts: list[tuple[Any, ...]] = []
    edges = []
    shift = np.arange(len(slope), dtype=np.float64) * _APART
    for i in range(len(slope)):
        own = np.flatnonzero(slope[i])
        before = np.cumsum(weight[i, own], axis=0) - weight[i, own]
        parts.append((slope[i, own], offset[i, own], bias[i] + before, weight[i, own]))
        # A piece begins where it is empty.
        edges.append((-offset[i, own] / slope[i, own])[1:] + shift[i])
    slopes, offsets, full, more = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Pieces(
        columns=np.array(encoder.shaped, dtype=np.int64),
        shift=shift,
        edges=np.concatenate(edges),
        slope=slopes,
        offset=offsets,
        full=full.astype(np.float32),
        more=more.astype(np.float32),
        linear=array_of(layers.linear0.weight),
    )


def array_of(tensor: Any) -> npt.NDArray[Any]:
    """A parameter's values, in one piece."""
    return np.ascontiguousarray(tensor.detach().cpu().numpy())
