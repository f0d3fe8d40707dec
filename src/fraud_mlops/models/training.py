"""Train one candidate: AdamW, a learning-rate schedule, a bounded number of samples.

train() makes batches by indexing tensors that are made once; no loader, no worker processes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch  # noqa: TID253 -- this file owns torch; others import it where they use it
from torch import Tensor, nn  # noqa: TID253 -- likewise

from fraud_mlops.errors import TrainingError
from fraud_mlops.models.losses import claim_weights, period_offsets
from fraud_mlops.models.networks import FraudNetwork
from fraud_mlops.models.params import LogisticParams, TrainingParams
from fraud_mlops.models.runtime import reproducible, resolve_device
from fraud_mlops.models.steps import RecordedStep, Step
from fraud_mlops.models.training_data import TrainingData
from fraud_mlops.models.training_log import TrainingLog

if TYPE_CHECKING:
    from fraud_mlops.features.preprocessing import Matrix
    from fraud_mlops.models.candidates import Candidate

SAMPLE_BUDGET = 2_000_000
"""Claims seen in training, epochs and members together: about what a million claims need twice."""

_CHECK_STEPS = 64


class _Plan(NamedTuple):
    epochs: int
    steps: int
    """Steps an epoch."""
    batch_size: int


def train(
    candidate: Candidate,
    matrix: Matrix,
    labels: np.ndarray,
    cardinalities: Sequence[int],
    *,
    threads: int,
    device: str = "auto",
    progress: Callable[[str], None] | None = None,
    ages: np.ndarray | None = None,
    sample_budget: int = SAMPLE_BUDGET,
    planned_for: int | None = None,
) -> tuple[FraudNetwork, TrainingLog]:
    """Fit the candidate's network to labelled claims.

    matrix: n claims; labels [n], 1 fraud and 0 genuine; cardinalities: codes of each category;
    ages [n]: days to the end of the training window, for candidates with recency_half_life or
    base_rate_period.
    Epochs are cut so that epochs * n * members stays within sample_budget; one epoch is always
    run. planned_for: claims that epochs and batch size are chosen for, n when left out: to train on
    more claims by the recipe that was judged. With distillation a random forest is grown first, as
    long as claims are few (`forest.MOST_CELLS`). The same candidate, data and threads give the
    same bits on a CPU. The network comes back on the CPU, in eval mode, its parameters frozen.

    Raises TrainingError when the data cannot be learnt from, the device is missing, or the loss
    stops being finite.
    """
    params = candidate.params
    _check(candidate.name, matrix, labels)
    place = resolve_device(device)
    try:
        weights = claim_weights(labels, ages, params)
        offsets = period_offsets(labels, ages, params)
    except ValueError as error:
        raise TrainingError(f"candidate {candidate.name}: {error}") from None
    plan = _plan(params, len(labels), planned_for or len(labels), sample_budget)
    losses: list[float] = []
    started = time.perf_counter()
    with reproducible(place, threads):
        chosen_for = planned_for or len(labels)
        targets = _targets(candidate, matrix, labels, cardinalities, chosen_for, threads, progress)
        learning = time.perf_counter()
        network = FraudNetwork.for_training(params, matrix, cardinalities, candidate.seed)
        network.to(place)
        data = TrainingData.placed(matrix, targets, weights, offsets, place)
        for i, member in enumerate(network.members):
            title = f"{candidate.name}[{i + 1}]" if params.members > 1 else candidate.name
            # A member's course does not depend on how many there are before it.
            torch.manual_seed(candidate.seed + 7919 * (i + 1))
            for epoch, loss in enumerate(_epochs(title, member, data, params, plan, place), 1):
                losses.append(loss)
                if progress:
                    progress(f"{title}: epoch {epoch} of {plan.epochs}, loss {loss:.4f}")
        network.cpu().eval().requires_grad_(False)
    ended = time.perf_counter()
    samples = plan.epochs * len(labels) * params.members
    log = TrainingLog(
        seconds=ended - started,
        samples=samples,
        samples_per_second=samples / (ended - learning),
        epochs=plan.epochs,
        batch_size=plan.batch_size,
        device=str(place),
        threads=threads,
        epoch_losses=tuple(losses),
    )
    return network, log


def _targets(
    candidate: Candidate,
    matrix: Matrix,
    labels: np.ndarray,
    cardinalities: Sequence[int],
    chosen_for: int,
    threads: int,
    progress: Callable[[str], None] | None,
) -> np.ndarray:
    """Labels, or labels and a teacher's word on them (Hinton, Vinyals & Dean 2015)."""
    from fraud_mlops.models.forest import out_of_bag, worth_it

    share = candidate.params.distillation
    if not share or not worth_it(chosen_for, matrix, cardinalities):
        return labels
    if progress:
        progress(f"{candidate.name}: a forest of {len(labels):,} claims, to learn from")
    taught = out_of_bag(matrix, labels, cardinalities, seed=candidate.seed, threads=threads)
    return np.asarray((1 - share) * labels + share * taught, dtype=np.float32)


def learning_rate(params: TrainingParams, progress: float) -> float:
    """The rate after this share of the steps, 0 <= progress <= 1.

    one_cycle (Smith & Topin 2019): a cosine rise from 1/25 of the highest rate, then a cosine
    fall to almost nothing.
    """
    if params.schedule == "constant":
        return params.learning_rate
    low, share = 1e-4, progress
    if params.schedule == "one_cycle" and params.warmup > 0:
        rising = progress < params.warmup
        low = 1 / 25 if rising else 1e-4
        share = 1 - progress / params.warmup if rising else progress - params.warmup
        share = share if rising else share / (1 - params.warmup)
    return params.learning_rate * (low + (1 - low) * (1 + math.cos(math.pi * share)) / 2)


def _epochs(
    title: str,
    member: nn.Module,
    data: TrainingData,
    params: TrainingParams,
    plan: _Plan,
    device: torch.device,
) -> Iterator[float]:
    """Train one member; yield the mean loss of each epoch."""
    member.train()
    kind = RecordedStep if RecordedStep.can(data, params, device) else Step
    step = kind(member, data, params, device)
    total = plan.epochs * plan.steps
    for epoch in range(plan.epochs):
        # Drawn on the CPU: the same order of claims on every device.
        order = torch.randperm(len(data.labels)).to(data.device)
        losses = torch.zeros(plan.steps, device=device)
        for i, rows in enumerate(order.tensor_split(plan.steps)):
            rate = learning_rate(params, (epoch * plan.steps + i) / total)
            losses[i] = step(rows, rate)
            if (i + 1) % _CHECK_STEPS == 0 or i + 1 == plan.steps:
                _stop_if_diverged(title, losses[: i + 1], epoch * plan.steps, params, total)
        yield float(losses.mean())


def _stop_if_diverged(
    title: str, losses: Tensor, first_step: int, params: TrainingParams, total: int
) -> None:
    """Looked at every few steps only, since a look makes a GPU wait."""
    finite = losses.isfinite()
    if bool(finite.all()):
        return
    step = first_step + int((~finite).nonzero()[0])
    rate = learning_rate(params, step / total)
    raise TrainingError(
        f"candidate {title}: loss or gradient is no longer finite at step {step + 1} of {total} "
        f"(learning rate {rate:.3g}). Lower learning_rate (now {params.learning_rate:g}) or "
        f"clip_norm (now {params.clip_norm:g}), or look for extreme values in the features."
    )


def _check(name: str, matrix: Matrix, labels: np.ndarray) -> None:
    n = len(labels)
    if len(matrix.numeric) != n or len(matrix.categories) != n:
        raise TrainingError(
            f"candidate {name}: {n} labels for {len(matrix.numeric)} rows of numeric inputs and "
            f"{len(matrix.categories)} of categories"
        )
    if matrix.numeric.shape[1] + matrix.categories.shape[1] == 0:
        raise TrainingError(f"candidate {name}: there is no feature to learn from")
    values = set(np.unique(labels).tolist())
    if not values <= {0, 1}:
        raise TrainingError(
            f"candidate {name}: labels must be 1 (fraud) or 0 (genuine), found "
            f"{sorted(values - {0, 1})}; leave claims with unknown labels out of training"
        )
    if len(values) < 2:
        kind = "no claims" if n == 0 else "frauds only" if 1 in values else "no fraud"
        raise TrainingError(
            f"candidate {name}: the training window holds {kind} (n={n}); both classes are "
            "needed. Widen the window, or check how the contract maps label values."
        )
    # A sum is not finite where a value is not, and needs no mask as large as the matrix.
    broken = np.flatnonzero(~np.isfinite(matrix.numeric.sum(axis=0, dtype=np.float64)))
    if len(broken):
        raise TrainingError(
            f"candidate {name}: numeric inputs {broken.tolist()[:5]} hold values that are not "
            "finite; preprocessing should have replaced them"
        )


def _plan(params: TrainingParams, n: int, chosen_for: int, budget: int) -> _Plan:
    epochs = max(1, min(params.epochs, budget // (chosen_for * params.members)))
    batch_size = params.batch_size or _usual_batch(params, chosen_for)
    # Batches of the same size, give or take one: no stray last batch of two claims.
    steps = max(1, round(n / batch_size))
    return _Plan(epochs, steps, min(batch_size, n))


def _usual_batch(params: TrainingParams, n: int) -> int:
    small = 256 if n < 50_000 else 1024
    return max(small, 1024) if isinstance(params, LogisticParams) and n >= 10_000 else small
