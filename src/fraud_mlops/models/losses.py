"""What training minimises. A new loss is a new field of `TrainingParams` and a term here."""

from __future__ import annotations

import numpy as np
from torch import Tensor  # noqa: TID253 -- this file owns torch; others import it lazily
from torch.nn import functional as F  # noqa: N812, TID253 -- its usual name

from fraud_mlops.models.params import TrainingParams


def training_loss(
    logits: Tensor, labels: Tensor, weights: Tensor | None, params: TrainingParams
) -> Tensor:
    """The mean over members and claims; logits [n, k], labels [n] in {0, 1}, weights [n].

    Each member answers for its own logits: the loss of the mean would let members lean on one
    another, and the ensemble be no better than one of them (TabM, section 3).
    """
    logits = logits.float()
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
        weights = weights * 0.5 ** (np.asarray(ages, dtype=np.float64) / params.recency_half_life)
    scaled: np.ndarray = (weights / weights.mean()).astype(np.float32)
    return scaled


def _pairwise(logits: Tensor, labels: Tensor) -> Tensor:
    """Logistic loss of every fraud against every genuine claim of the batch (RankNet).

    0 where a batch has claims of one class only. Memory: frauds x genuine x k of a batch.
    """
    fraud = labels > 0.5
    lead = logits[fraud][:, None] - logits[~fraud][None]
    return F.softplus(-lead).mean() if lead.numel() else logits.sum() * 0
