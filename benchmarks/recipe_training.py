"""The training loop of `bench_recipes.py`, with what the library's has not: it did not earn it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 -- its usual name
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from fraud_mlops.features.preprocessing import Matrix
from fraud_mlops.models.candidates import Candidate
from fraud_mlops.models.losses import period_offsets
from fraud_mlops.models.networks import FraudNetwork
from fraud_mlops.models.params import TrainingParams
from fraud_mlops.models.runtime import reproducible
from fraud_mlops.models.steps import decay_groups
from fraud_mlops.models.training import learning_rate


@dataclass(frozen=True)
class Extra:
    """What is added to plain training; nothing by default.

    hints: weight of monotone hints (Sill & Abu-Mostafa 1996): a claim that is one level more
    suspicious should not score lower. focal: exponent of the focal loss (Lin et al. 2017). swap:
    share of inputs taken from another claim of the batch. mixup: Beta(a, a) of two claims' numbers
    and labels (Zhang et al. 2018). average: exponential average of the weights.
    """

    hints: float = 0.0
    focal: float = 0.0
    swap: float = 0.0
    mixup: float = 0.0
    average: bool = False


def learn(
    candidate: Candidate,
    matrix: Matrix,
    labels: np.ndarray,
    cardinalities: Sequence[int],
    ages: np.ndarray,
    extra: Extra,
    riskier: Sequence[Matrix],
) -> FraudNetwork:
    """A network of one member, on the CPU, in eval mode. riskier: the same claims, for hints."""
    params = candidate.params
    offsets = period_offsets(labels, ages, params)
    with reproducible(torch.device("cpu"), 1):
        network = FraudNetwork.for_training(params, matrix, cardinalities, candidate.seed)
        data = _Data(
            _inputs(matrix),
            torch.from_numpy(labels.astype(np.float32)),
            torch.zeros(len(labels)) if offsets is None else torch.from_numpy(offsets),
            [_inputs(moved) for moved in riskier],
        )
        _train(network.parts[0], data, params, extra)
    return network.eval().requires_grad_(False)


class _Data(NamedTuple):
    """inputs: numbers and categories. riskier: those of the hints."""

    inputs: tuple[Tensor, Tensor]
    truth: Tensor
    shift: Tensor
    riskier: list[tuple[Tensor, Tensor]]


def _inputs(matrix: Matrix) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(matrix.numeric), torch.from_numpy(matrix.categories)


def _train(member: nn.Module, data: _Data, params: TrainingParams, extra: Extra) -> None:
    optimizer = torch.optim.AdamW(decay_groups(member, params), fused=True)
    average = AveragedModel(member, multi_avg_fn=_ema()) if extra.average else None
    steps = max(1, round(len(data.truth) / (params.batch_size or 256)))
    member.train()
    for epoch in range(params.epochs):
        for i, rows in enumerate(torch.randperm(len(data.truth)).tensor_split(steps)):
            course = (epoch * steps + i) / (params.epochs * steps)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(params, course)
            optimizer.zero_grad(set_to_none=True)
            _step_loss(member, data, rows, extra).backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(member.parameters(), params.clip_norm)
            optimizer.step()
            if average is not None:
                average.update_parameters(member)
    if average is not None:
        member.load_state_dict(average.module.state_dict())


def _step_loss(member: nn.Module, data: _Data, rows: Tensor, extra: Extra) -> Tensor:
    inputs = data.inputs[0][rows], data.inputs[1][rows]
    loss = _loss(member, inputs, data.truth[rows], data.shift[rows], extra)
    if extra.hints and data.riskier:
        numeric, categories = data.riskier[int(torch.randint(len(data.riskier), ()))]
        loss = loss + extra.hints * _hint(member, inputs, (numeric[rows], categories[rows]))
    return loss


def _ema() -> Callable[..., None]:
    ema: Callable[..., None] = get_ema_multi_avg_fn(0.99)  # type: ignore[no-untyped-call]
    return ema


def _loss(
    member: nn.Module, inputs: tuple[Tensor, Tensor], truth: Tensor, shift: Tensor, extra: Extra
) -> Tensor:
    numeric, categories = inputs
    if extra.swap:
        numeric, categories = _swapped(numeric, extra.swap), _swapped(categories, extra.swap)
    if extra.mixup:
        other = torch.randperm(len(truth))
        share = torch.distributions.Beta(extra.mixup, extra.mixup).sample((len(truth), 1))
        share = torch.maximum(share, 1 - share)
        numeric = share * numeric + (1 - share) * numeric[other]
        truth = share[:, 0] * truth + (1 - share[:, 0]) * truth[other]
    logits = member(numeric, categories) + shift[:, None]
    each = F.binary_cross_entropy_with_logits(
        logits, truth[:, None].expand_as(logits), reduction="none"
    )
    return (each * (1 - torch.exp(-each)) ** extra.focal).mean() if extra.focal else each.mean()


def _swapped(values: Tensor, share: float) -> Tensor:
    mask = torch.rand(values.shape) < share
    return torch.where(mask, values[torch.randperm(len(values))], values)


def _hint(member: nn.Module, inputs: tuple[Tensor, Tensor], up: tuple[Tensor, Tensor]) -> Tensor:
    """How far the more suspicious claim scores below the claim itself; 0 where it does not."""
    return F.relu(member(*inputs).mean(1) - member(*up).mean(1)).mean()
