"""Train one candidate, choose the winner, fit it again on all that may be learnt from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from fraud_mlops.evaluation.leaderboard import LeaderboardRow
from fraud_mlops.evaluation.metrics import evaluate
from fraud_mlops.features.build import FeatureSet, read_window
from fraud_mlops.models.candidates import Candidate
from fraud_mlops.models.fraud_model import FraudModel

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Trained:
    """A candidate after training on the train window.

    files: the model as bundle files, without calibration or threshold.
    validation_logits: float32 [n], in the order of the validation window.
    """

    candidate: Candidate
    files: dict[str, bytes]
    row: LeaderboardRow
    validation_logits: np.ndarray


def labels_of(table: pa.Table) -> np.ndarray:
    """Labels as int8 [n]; -1 where unknown."""
    return table.column("label").fill_null(-1).to_numpy().astype(np.int8)
