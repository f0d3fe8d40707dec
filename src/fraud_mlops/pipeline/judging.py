"""Claims judged by a model in one piece, for measures and comparisons."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from fraud_mlops.settings import settings

if TYPE_CHECKING:
    from fraud_mlops.models.fraud_model import FraudModel


def logits_of(model: FraudModel, claims: pa.Table) -> np.ndarray:
    """float32 [n], in the claims' order, by the threads that the project may use."""
    from fraud_mlops.models.runtime import cpu_threads

    with cpu_threads(settings().threads):
        return model.logits(claims)
