"""The layers above the encoded inputs in numpy, and the gradient through them along a line.

Every claim has matrix products of its own, stacked: a product of many claims' rows at once would
round a claim's numbers in one way or another as others stand beside it.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from fraud_mlops.models.heads import LogisticHead, MlpHead, TabmHead
from fraud_mlops.models.reasons import NODES
from fraud_mlops.serving.encoding import array_of

Floats = npt.NDArray[np.float32]


class Layers(Protocol):
    def first(self, encoded: Floats) -> Floats:
        """What enters the first ReLU: [n, d] to [n, k, h]."""

    def rest(self, encoded: Floats, first: Floats) -> Floats:
        """Mean logits [n]."""

    def gradient(self, begin: Floats, end: Floats) -> Floats:
        """Of the mean logit by the encoded vector, averaged along the line to `end` [n, k, h] from
        `begin` [1, k, h], given as what enters the first ReLU there: [n, d]."""


def layers_of(head: LogisticHead | MlpHead | TabmHead, width: int) -> Layers:
    """Of a head in eval mode; width: of the encoded vector."""
    if isinstance(head, LogisticHead):
        return Weighted(head, width)
    return _of_mlp(head) if isinstance(head, MlpHead) else _of_tabm(head)


class Weighted:
    """A logistic regression: the same gradient everywhere."""

    def __init__(self, head: LogisticHead, width: int) -> None:
        weight, self._bias = array_of(head.weight), array_of(head.bias)
        ones = np.ones(width - head.n_numeric, dtype=np.float32)  # of the categories' own numbers
        self._weight = np.concatenate([weight, ones])

    def first(self, encoded: Floats) -> Floats:
        return np.empty((len(encoded), 0, 0), dtype=np.float32)

    def rest(self, encoded: Floats, first: Floats) -> Floats:  # noqa: ARG002 - as a Layers
        total = (encoded * self._weight).sum(axis=1, dtype=np.float64)
        return np.asarray(total + self._bias, dtype=np.float32)

    def gradient(self, begin: Floats, end: Floats) -> Floats:  # noqa: ARG002 - as a Layers
        return np.asarray(self._weight)[None]


class Perceptrons:
    """k perceptrons on the same inputs; k = 1 for an MLP.

    The first layer of perceptron i is scale_out[i] * (weight (scale_in[i] * x)) + bias[i], with
    weight [h, d], scale_in [k, d], scale_out and bias [k, h]; deeper ones, as pairs, have weights
    [k, out, in] and biases [k, out]. output: weight [k, h] and bias [k] of the logits.
    """

    def __init__(
        self,
        first: tuple[Floats, Floats, Floats, Floats],
        deeper: list[tuple[Floats, Floats]],
        output: tuple[Floats, Floats],
    ) -> None:
        # Transposed by views: a copy would want twice the cache, and others want it too.
        self._back, self._scale_in, self._scale_out, self._bias = first
        self._weight = self._back.T
        self._deeper = [(w.transpose(0, 2, 1), w, b[:, None]) for w, b in deeper]
        weight, bias = output
        self._output, self._output_bias = weight[:, None] / len(weight), bias.mean()
        self._output_t = self._output.transpose(0, 2, 1)
        points, weights = np.polynomial.legendre.leggauss(NODES)
        self._points = ((points + 1) / 2).astype(np.float32)[:, None]
        self._point_weights = (weights / 2).astype(np.float32)

    def first(self, encoded: Floats) -> Floats:
        out = (encoded[:, None] * self._scale_in) @ self._weight
        out *= self._scale_out
        out += self._bias
        return np.asarray(out, dtype=np.float32)

    def rest(self, encoded: Floats, first: Floats) -> Floats:  # noqa: ARG002 - as Layers
        hidden = np.maximum(first, 0)[:, :, None]  # [n, k, 1, h]
        for weight, _, bias in self._deeper:
            hidden = hidden @ weight
            hidden += bias
            np.maximum(hidden, 0, out=hidden)
        logits = (hidden @ self._output_t).reshape(len(first), -1).sum(axis=1)
        return np.asarray(logits + self._output_bias, dtype=np.float32)

    def gradient(self, begin: Floats, end: Floats) -> Floats:
        """Along the line what enters the first ReLU changes evenly, so that the wide first layer is
        passed once, on the way back; the points are Gauss and Legendre's."""
        hidden = (end - begin)[:, :, None] * self._points
        hidden += begin[:, :, None]  # [n, k, points, h]
        passed = [hidden > 0]
        for weight, _, bias in self._deeper:
            np.maximum(hidden, 0, out=hidden)
            hidden = hidden @ weight
            hidden += bias
            passed.append(hidden > 0)
        back = self._output
        for (_, weight, _), mask in zip(reversed(self._deeper), reversed(passed[1:]), strict=True):
            back = (back * mask) @ weight
        by_first = self._point_weights @ (back * passed[0])  # [n, k, h]
        by_first *= self._scale_out
        by_input = by_first @ self._back
        by_input *= self._scale_in
        return np.asarray(by_input.sum(axis=1))


def _of_mlp(head: MlpHead) -> Perceptrons:
    (weight, bias), *deeper = [(array_of(x.weight), array_of(x.bias)) for x in head.layers]
    h, d = weight.shape
    ones = np.ones((1, d), dtype=np.float32), np.ones((1, h), dtype=np.float32)
    return Perceptrons(
        (weight, *ones, bias[None]),
        [(w[None], b[None]) for w, b in deeper],
        (array_of(head.output.weight), array_of(head.output.bias)),
    )


def _of_tabm(head: TabmHead) -> Perceptrons:
    layer: Any = head.backbone.blocks[0][0]
    weight, k = array_of(layer.weight), head.k
    if hasattr(layer, "r"):
        scalings = array_of(layer.r), array_of(layer.s), array_of(layer.bias)
    else:  # tabm-mini: one scaling, before the first layer
        ones = np.ones((k, len(weight)), dtype=np.float32)
        bias = np.tile(array_of(layer.bias), (k, 1))
        scalings = array_of(head.backbone.affine.weight), ones, bias
    return Perceptrons(
        (weight, *scalings),
        [(array_of(w), array_of(b)) for w, b in head.folded()[1:]],
        (array_of(head.output.weight)[..., 0], array_of(head.output.bias)[:, 0]),
    )
