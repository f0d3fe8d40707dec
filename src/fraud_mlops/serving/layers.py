"""The layers above the encoded inputs in numpy, and the multipliers of `models.multipliers`.

Every claim has matrix products of its own, stacked: a product of many claims' rows at once would
round a claim's numbers in one way or another as others stand beside it.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from fraud_mlops.models.heads import LogisticHead, MlpHead, TabmHead
from fraud_mlops.serving.encoding import array_of

Floats = npt.NDArray[np.float32]
Entering = tuple[Floats, ...]
"""What enters the ReLUs, layer by layer [n, k, h]; none for a logistic regression."""


class Layers(Protocol):
    def forward(self, encoded: Floats) -> tuple[Entering, Floats]:
        """Of [n, d], and their mean logits [n]."""

    def multipliers(self, begin: Entering, end: Entering) -> Floats:
        """Of the encoded vectors [n, d], from what they made `forward` find (`end`, of n claims)
        and what the vector that the rise is counted from did (`begin`, of one)."""


def layers_of(head: LogisticHead | MlpHead | TabmHead, width: int) -> Layers:
    """Of a head in eval mode; width: of the encoded vector."""
    if isinstance(head, LogisticHead):
        return Weighted(head, width)
    return _of_mlp(head) if isinstance(head, MlpHead) else _of_tabm(head)


class Weighted:
    """A logistic regression: the same multipliers everywhere."""

    def __init__(self, head: LogisticHead, width: int) -> None:
        weight, self._bias = array_of(head.weight), array_of(head.bias)
        ones = np.ones(width - head.n_numeric, dtype=np.float32)  # of the categories' own numbers
        self._weight = np.concatenate([weight, ones])

    def forward(self, encoded: Floats) -> tuple[Entering, Floats]:
        total = (encoded * self._weight).sum(axis=1, dtype=np.float64)
        return (), np.asarray(total + self._bias, dtype=np.float32)

    def multipliers(self, begin: Entering, end: Entering) -> Floats:  # noqa: ARG002 - as a Layers
        return np.asarray(self._weight)[None]


class Layer:
    """Of k perceptrons: scale_out[i] * (weight (scale_in[i] * x)) + bias[i] in the i-th.

    weight [out, in], the same for all; scale_in [k, in] and scale_out [k, out], None where all are
    one; bias [k, out] or [1, out]. Multiplied into k weights of their own, they would be read from
    beyond a core's cache for every claim.
    """

    def __init__(
        self,
        weight: Floats,
        bias: Floats,
        scale_in: Floats | None = None,
        scale_out: Floats | None = None,
    ) -> None:
        self._weight, self._bias = weight, bias
        # A copy: a product of few rows with a transposed view takes three times as long.
        self._transposed = np.ascontiguousarray(weight.T)
        self._scale_in, self._scale_out = scale_in, scale_out

    def forward(self, x: Floats) -> Floats:
        """[n, k, in], or [n, 1, in] for all of them, to [n, k, out]."""
        if self._scale_in is not None:
            x = x * self._scale_in
        out = x @ self._transposed
        if self._scale_out is not None:
            out *= self._scale_out
        out += self._bias
        return np.asarray(out, dtype=np.float32)

    def back(self, by_output: Floats) -> Floats:
        """Multipliers of the output [n, k, out] to those of the input [n, k, in]."""
        if self._scale_out is not None:
            by_output = by_output * self._scale_out
        by_input = by_output @ self._weight
        if self._scale_in is not None:
            by_input *= self._scale_in
        return np.asarray(by_input)


class Perceptrons:
    """k perceptrons on the same inputs; k = 1 for an MLP. output: weights [k, h] and biases [k] of
    their logits."""

    def __init__(self, layers: list[Layer], output: tuple[Floats, Floats]) -> None:
        weight, bias = output
        self._layers = layers
        self._output, self._bias = weight / np.float32(len(weight)), bias.mean()
        self._flat = self._output.ravel()

    def forward(self, encoded: Floats) -> tuple[Entering, Floats]:
        entering = []
        hidden = encoded[:, None]
        for layer in self._layers:
            entering.append(layer.forward(hidden))
            hidden = np.maximum(entering[-1], 0)
        logits = hidden.reshape(len(encoded), 1, -1) @ self._flat
        return tuple(entering), np.asarray(logits[:, 0] + self._bias, dtype=np.float32)

    def multipliers(self, begin: Entering, end: Entering) -> Floats:
        back = self._output
        for layer, *rise in zip(self._layers[::-1], begin[::-1], end[::-1], strict=True):
            back = layer.back(back * _passed_on(*rise))
        return np.asarray(back.sum(axis=1))


def _passed_on(begin: Floats, end: Floats) -> Floats:
    """By a ReLU of each unit that what enters it rises by [n, k, h]."""
    rise = end - begin
    passed = np.maximum(end, 0)
    passed -= np.maximum(begin, 0)
    if not rise.all():  # a division with `where` takes as long as four without
        still = rise == 0
        rise[still], passed[still] = 1, end[still] > 0
    passed /= rise
    return np.asarray(passed, dtype=np.float32)


def _of_mlp(head: MlpHead) -> Perceptrons:
    layers = [Layer(array_of(x.weight), array_of(x.bias)[None]) for x in head.layers]
    return Perceptrons(layers, (array_of(head.output.weight), array_of(head.output.bias)))


def _of_tabm(head: TabmHead) -> Perceptrons:
    layers = []
    for i, block in enumerate(head.backbone.blocks):
        layer: Any = block[0]
        scalings: list[Floats] = []
        if hasattr(layer, "r"):
            scalings = [array_of(layer.r), array_of(layer.s)]
        elif i == 0:  # tabm-mini: one scaling, before the first layer
            scalings = [array_of(head.backbone.affine.weight)]
        layers.append(Layer(array_of(layer.weight), np.atleast_2d(array_of(layer.bias)), *scalings))
    weight, bias = array_of(head.output.weight), array_of(head.output.bias)
    return Perceptrons(layers, (weight[..., 0], bias[:, 0]))
