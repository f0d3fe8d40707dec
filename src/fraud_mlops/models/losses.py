"""What training minimises. A new loss is a new field of `TrainingParams` and a term here."""

from __future__ import annotations

import numpy as np
from torch import Tensor  # noqa: TID253 -- this file owns torch; others import it lazily
from torch.nn import functional as F  # noqa: N812, TID253 -- its usual name

from fraud_mlops.models.params import TrainingParams

_PERIOD_STRENGTH = 20.0


def training_loss(
    logits: Tensor,
    labels: Tensor,
    weights: Tensor | None,
    offsets: Tensor | None,
    params: TrainingParams,
) -> Tensor:
    """The mean over members and claims; logits [n, k], labels [n], the rest [n].

    labels: 0 or 1, or what a teacher makes of them: frauds from a half on.
    offsets: of `period_offsets`, added to what the network says; at scoring there is none.

    Each member answers for its own logits: the loss of the mean would let members lean on one
    another, and the ensemble be no better than one of them (TabM, section 3).
    """
    logits = logits.float()
    if offsets is not None:
        logits = logits + offsets[:, None]
    if params.pairwise == 1:
        return _pairwise(logits, labels)
    targets = labels
    if params.label_smoothing:
        targets = labels * (1 - params.label_smoothing) + params.label_smoothing / 2
    targets = targets[:, None].expand_as(logits)
    if weights is None:
        loss = F.binary_cross_entropy_with_logits(logits, targets)
    else:
        each = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
        loss = (each.mean(1) * weights).mean()
    if params.pairwise:
        loss = (1 - params.pairwise) * loss + params.pairwise * _pairwise(logits, labels)
    return loss


def claim_weights(
    labels: np.ndarray, ages: np.ndarray | None, params: TrainingParams
) -> np.ndarray | None:
    """Weight of each training claim, float32 [n] with mean 1; None when all weigh the same.

    ages: days from each claim to the end of the training window; needed for recency.
    """
    if params.fraud_weight == 1 and params.recency_half_life is None:
        return None
    weights = np.where(labels == 1, params.fraud_weight, 1.0)
    if params.recency_half_life is not None:
        if ages is None:
            raise ValueError("recency_half_life needs the claims' ages; pass ages to train()")
        # Counted from the youngest claim: a short half-life must not round all weights to zero.
        younger = np.asarray(ages, dtype=np.float64) - np.min(ages)
        weights = weights * 0.5 ** (younger / params.recency_half_life)
    scaled: np.ndarray = (weights / weights.mean()).astype(np.float32)
    return scaled


def period_offsets(
    labels: np.ndarray, ages: np.ndarray | None, params: TrainingParams
) -> np.ndarray | None:
    """How much commoner fraud was in each claim's period than on the whole, log-odds [n].

    Where the base rate changes from period to period (a backlog, a campaign, a rule that was
    switched off) a network without it learns the calendar in place of the claim: whatever was
    frequent in a bad month looks bad. The rate of a period is shrunk towards that of all claims
    as if _PERIOD_STRENGTH more of them had been seen. None without base_rate_period.
    """
    if params.base_rate_period is None:
        return None
    if ages is None:
        raise ValueError("base_rate_period needs the claims' ages; pass ages to train()")
    periods = np.floor(np.asarray(ages, dtype=np.float64) / params.base_rate_period)
    _, place = np.unique(periods, return_inverse=True)
    rate = labels.mean()
    frauds, claims = np.bincount(place, weights=labels), np.bincount(place)
    rates = (frauds + _PERIOD_STRENGTH * rate) / (claims + _PERIOD_STRENGTH)
    offsets = np.log(rates / (1 - rates)) - np.log(rate / (1 - rate))
    return np.asarray(offsets[place], dtype=np.float32)


def _pairwise(logits: Tensor, labels: Tensor) -> Tensor:
    """Logistic loss of every fraud against every genuine claim of the batch (RankNet).

    0 where a batch has claims of one class only. Memory: frauds x genuine x k of a batch.
    """
    fraud = labels >= 0.5
    lead = logits[fraud][:, None] - logits[~fraud][None]
    return F.softplus(-lead).mean() if lead.numel() else logits.sum() * 0
