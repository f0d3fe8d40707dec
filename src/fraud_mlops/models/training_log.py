"""What is kept of a training, in words that need no torch to be read."""

from __future__ import annotations

from pydantic import AwareDatetime, BaseModel, ConfigDict


class TrainingLog(BaseModel):
    """How a training went.

    seconds: of all of it. samples: claims seen, over all epochs and members. samples_per_second: of
    the network alone, without a forest that it learnt from. epoch_losses: mean loss of each epoch,
    of one member after another. device, threads: what else the network's bits depend on.
    last_event, last_label: when the latest of the claims that it was given happened, and when the
    last label of them became known.
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
    last_event: AwareDatetime | None = None
    last_label: AwareDatetime | None = None
