"""What a network is trained on, as tensors where it is trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch  # noqa: TID253 -- this file owns torch; others import it where they use it
from torch import Tensor  # noqa: TID253 -- likewise

from fraud_mlops.features.preprocessing import Matrix


class TrainingData(NamedTuple):
    """n claims: numeric [n, p], categories [n, c], labels, weights and offsets [n]."""

    numeric: Tensor
    categories: Tensor
    labels: Tensor
    weights: Tensor | None
    offsets: Tensor | None

    @classmethod
    def placed(
        cls,
        matrix: Matrix,
        labels: np.ndarray,
        weights: np.ndarray | None,
        offsets: np.ndarray | None,
        device: torch.device,
    ) -> TrainingData:
        """All claims: without a copy on the CPU, once on a GPU that has room for them."""
        data = cls(
            torch.from_numpy(matrix.numeric),
            torch.from_numpy(matrix.categories),
            torch.from_numpy(labels.astype(np.float32)),
            None if weights is None else torch.from_numpy(weights),
            None if offsets is None else torch.from_numpy(offsets),
        )
        if device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(device)
            if matrix.numeric.nbytes + matrix.categories.nbytes > free // 2:
                return data
        return data._each(lambda part: part.to(device))

    @property
    def device(self) -> torch.device:
        return self.labels.device

    def batch(self, rows: Tensor, device: torch.device) -> TrainingData:
        """The rows, on the device; a copy over the bus only where the data lie elsewhere."""
        rows = rows.to(self.device)
        return self._each(lambda part: part[rows].to(device))

    def _each(self, change: Callable[[Tensor], Tensor]) -> TrainingData:
        return TrainingData(
            change(self.numeric),
            change(self.categories),
            change(self.labels),
            None if self.weights is None else change(self.weights),
            None if self.offsets is None else change(self.offsets),
        )
