"""What is kept of a training, in words that need no torch to be read."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class TrainingLog(BaseModel):
    """How a training went.

    samples: claims seen, over all epochs and members; epoch_losses: mean loss of each epoch, of
    one member after another. device, threads: what else the network's bits depend on.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    seconds: float
    samples: int
    samples_per_second: float
    epochs: int
    batch_size: int
    device: str
    threads: int
    epoch_losses: tuple[float, ...]
