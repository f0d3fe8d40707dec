"""Dropout that does not spend more time on random numbers than the layer on its product."""

from __future__ import annotations

import torch  # noqa: TID253 -- this file owns torch; others import it where they use it
from torch import Tensor  # noqa: TID253 -- likewise
from torch.nn import functional as F  # noqa: N812, TID253 -- its usual name


def dropout(hidden: Tensor, rate: float, training: bool) -> Tensor:
    """As torch.nn.functional.dropout; on a CPU the rate is rounded to 1/256.

    There one 64-bit draw decides on eight units, instead of one draw a unit: 2.5 times as fast
    with ReLU and backward pass, where torch's own takes a sixth of a TabM's training.
    """
    if not training or rate == 0:
        return hidden
    if hidden.device.type != "cpu":
        return F.dropout(hidden, rate)
    dropped = min(255, round(rate * 256))
    count = hidden.numel()
    draws = torch.empty((count + 7) // 8, dtype=torch.int64).random_(-(2**63), None)
    kept = draws.view(torch.uint8)[:count].view(hidden.shape) >= dropped
    return hidden * kept.to(hidden.dtype).mul_(256 / (256 - dropped))
