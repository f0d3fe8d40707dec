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
from fraud_mlops.models.losses import claim_weights, period_offsets, training_loss
from fraud_mlops.models.networks import FraudNetwork
from fraud_mlops.models.params import LogisticParams, TrainingParams
from fraud_mlops.models.runtime import reproducible, resolve_device
from fraud_mlops.models.training_log import TrainingLog

if TYPE_CHECKING:
    from fraud_mlops.features.preprocessing import Matrix
    from fraud_mlops.models.candidates import Candidate

SAMPLE_BUDGET = 2_000_000
"""Claims seen in training, epochs and members together: about what a million claims need twice."""

_CHECK_STEPS = 64
_COMPILE_STEPS = 3_000
"""Steps from which compiling on a GPU (about a minute) is earned back."""


class _Data(NamedTuple):
    numeric: Tensor
    categories: Tensor
    labels: Tensor
    weights: Tensor | None
    offsets: Tensor | None

    def to(self, device: torch.device) -> _Data:
        return self._each(lambda part: part.to(device))

    def _each(self, change: Callable[[Tensor], Tensor]) -> _Data:
        return _Data(
            change(self.numeric),
            change(self.categories),
            change(self.labels),
            None if self.weights is None else change(self.weights),
            None if self.offsets is None else change(self.offsets),
        )

    def batch(self, rows: Tensor, device: torch.device) -> _Data:
        """The rows, on the device; a copy over the bus only where the data lie elsewhere."""
        rows = rows.to(self.labels.device)
        return self._each(lambda part: part[rows]).to(device)


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
) -> tuple[FraudNetwork, TrainingLog]:
    """Fit the candidate's network to labelled claims.

    matrix: n claims; labels [n], 1 fraud and 0 genuine; cardinalities: codes of each category;
    ages [n]: days to the end of the training window, for candidates with recency_half_life or
    base_rate_period.
    Epochs are cut so that epochs * n * members stays within sample_budget; one epoch is always
    run. The same candidate, data and threads give the same bits on a CPU. The network comes back
    on the CPU, in eval mode, its parameters frozen.

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
    plan = _plan(params, len(labels), sample_budget)
    losses: list[float] = []
    started = time.perf_counter()
    with reproducible(place, threads):
        network = FraudNetwork.for_training(params, matrix, cardinalities, candidate.seed)
        network.to(place)
        data = _placed(matrix, labels, (weights, offsets), place)
        for i, member in enumerate(network.members):
            title = f"{candidate.name}[{i + 1}]" if params.members > 1 else candidate.name
            # A member's course does not depend on how many there are before it.
            torch.manual_seed(candidate.seed + 7919 * (i + 1))
            for epoch, loss in enumerate(_epochs(title, member, data, params, plan, place), 1):
                losses.append(loss)
                if progress:
                    progress(f"{title}: epoch {epoch} of {plan.epochs}, loss {loss:.4f}")
        network.cpu().eval().requires_grad_(False)
    seconds = time.perf_counter() - started
    samples = plan.epochs * len(labels) * params.members
    log = TrainingLog(
        seconds=seconds,
        samples=samples,
        samples_per_second=samples / seconds,
        epochs=plan.epochs,
        batch_size=plan.batch_size,
        device=str(place),
        epoch_losses=tuple(losses),
    )
    return network, log


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
    data: _Data,
    params: TrainingParams,
    plan: _Plan,
    device: torch.device,
) -> Iterator[float]:
    """Train one member; yield the mean loss of each epoch."""
    member.train()
    parameters = [p for p in member.parameters() if p.numel()]
    optimizer = torch.optim.AdamW(
        decay_groups(member, params),
        lr=params.learning_rate,
        fused=device.type in ("cpu", "cuda"),
    )
    total = plan.epochs * plan.steps
    forward: Callable[[Tensor, Tensor], Tensor] = member
    if device.type == "cuda" and total >= _COMPILE_STEPS:
        forward = torch.compile(member)
    n = len(data.labels)
    for epoch in range(plan.epochs):
        # Drawn on the CPU: the same order of claims on every device.
        batches = torch.randperm(n).tensor_split(plan.steps)
        losses = torch.zeros(plan.steps, device=device)
        for i, rows in enumerate(batches):
            step = epoch * plan.steps + i
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(params, step / total)
            batch = data.batch(rows, device)
            with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
                logits = forward(batch.numeric, batch.categories)
            loss = training_loss(logits, batch.labels, batch.weights, batch.offsets, params)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            norm = nn.utils.clip_grad_norm_(parameters, params.clip_norm)
            optimizer.step()
            # A gradient without end is clipped to nothing: the loss alone would not show it.
            losses[i] = loss.detach() + 0 * norm
            if (i + 1) % _CHECK_STEPS == 0 or i + 1 == plan.steps:
                _stop_if_diverged(title, losses[: i + 1], epoch * plan.steps, params, total)
        yield float(losses.mean())


def decay_groups(member: nn.Module, params: TrainingParams) -> list[dict[str, object]]:
    """Weights decay; biases, which say how common fraud is, do not."""
    named = [(name, p) for name, p in member.named_parameters() if p.numel()]
    biases = [p for name, p in named if name.endswith("bias")]
    weights = [p for name, p in named if not name.endswith("bias")]
    groups: list[dict[str, object]] = [{"params": biases, "weight_decay": 0.0}]
    return [{"params": weights, "weight_decay": params.weight_decay}, *groups]


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


def _plan(params: TrainingParams, n: int, budget: int) -> _Plan:
    epochs = max(1, min(params.epochs, budget // (n * params.members)))
    batch_size = params.batch_size or _usual_batch(params, n)
    # Batches of the same size, give or take one: no stray last batch of two claims.
    steps = max(1, round(n / batch_size))
    return _Plan(epochs, steps, min(batch_size, n))


def _usual_batch(params: TrainingParams, n: int) -> int:
    small = 256 if n < 50_000 else 1024
    return max(small, 1024) if isinstance(params, LogisticParams) and n >= 10_000 else small


def _placed(
    matrix: Matrix,
    labels: np.ndarray,
    extras: tuple[np.ndarray | None, np.ndarray | None],
    device: torch.device,
) -> _Data:
    """All claims as tensors: without a copy on the CPU, once on a GPU that has room for them."""
    data = _Data(
        torch.from_numpy(matrix.numeric),
        torch.from_numpy(matrix.categories),
        torch.from_numpy(labels.astype(np.float32)),
        *(None if extra is None else torch.from_numpy(extra) for extra in extras),
    )
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        if matrix.numeric.nbytes + matrix.categories.nbytes > free // 2:
            return data
    return data.to(device)
