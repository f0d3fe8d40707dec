"""Claims judged by a model in one piece, for measures and comparisons."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from fraud_mlops.settings import settings

if TYPE_CHECKING:
    from fraud_mlops.models.fraud_model import FraudModel


def logits_of(model: FraudModel, claims: pa.Table, *, threads: int | None = None) -> np.ndarray:
    """float32 [n], in the claims' order; by all threads that the project may use when left out."""
    from fraud_mlops.models.runtime import cpu_threads

    with cpu_threads(threads or settings().threads):
        return model.logits(claims)
