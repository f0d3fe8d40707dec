"""Multipliers of DeepLIFT: what a network's mean logit rises by for each unit of its input.

Shrikumar, Greenside & Kundaje, "Learning important features through propagating activation
differences", ICML 2017, with the Rescale rule: a ReLU passes on the share of its own rise that it
lets through. One pass there and one back, at two points only, where gradients averaged along the
line between them want as many passes as points; benchmarks/bench_reasons.py compares the two with
Shapley values.
"""

from __future__ import annotations

from typing import cast

import torch  # noqa: TID253 -- this file owns torch; others import it where they use it
from torch import Tensor, nn  # noqa: TID253 -- likewise
from torch.nn import functional as F  # noqa: N812, TID253 -- its usual name

from fraud_mlops.models.heads import LogisticHead, MlpHead, TabmHead

_Layers = list[tuple[Tensor, Tensor]]
"""Weight [k, out, in] and bias [k, out] of each."""


def multipliers(head: LogisticHead | MlpHead | TabmHead, begin: Tensor, end: Tensor) -> Tensor:
    """m [n, d], for which the sum of m * (end - begin) over d is mean(head(end)) less that of
    begin, but for rounding.

    begin [1, d], end [n, d]. The head is in eval mode. Where no ReLU is on at one point and off at
    the other, m is the gradient.
    """
    if isinstance(head, LogisticHead):
        ones = end.new_ones(end.shape[1] - head.n_numeric)
        return torch.cat([head.weight, ones]).expand_as(end)
    if isinstance(head, MlpHead):
        layers = [cast("nn.Linear", layer) for layer in head.layers]
        return _of_layers(
            [(x.weight[None], x.bias[None]) for x in layers], head.output.weight, begin, end
        )
    return _of_layers(head.folded(), head.output.weight[..., 0], begin, end)


def _of_layers(layers: _Layers, output: Tensor, begin: Tensor, end: Tensor) -> Tensor:
    """k networks side by side that share their input; output: weights of their logits [k, h]."""
    (first, bias), *deeper = layers
    k, wide = len(first), first.flatten(0, 1)
    both = F.linear(torch.cat([begin, end]), wide, bias.flatten())
    entering = [both.view(len(both), k, -1).transpose(0, 1)]  # a ReLU; [k, 1 + n, h]
    for weight, bias in deeper:
        entering.append(torch.baddbmm(bias[:, None], F.relu(entering[-1]), weight.mT))
    back = output[:, None] / k
    for (weight, _), seen in zip(reversed(deeper), reversed(entering[1:]), strict=True):
        back = (back * _passed_on(seen)) @ weight
    return (back * _passed_on(entering[0])).transpose(0, 1).flatten(1) @ wide


def _passed_on(entering: Tensor) -> Tensor:
    """By a ReLU of each unit that enters it rises by [k, n, h]; the first row is where from."""
    begin, end = entering[:, :1], entering[:, 1:]
    rise = end - begin
    return torch.where(rise == 0, end > 0, (F.relu(end) - F.relu(begin)) / rise)
