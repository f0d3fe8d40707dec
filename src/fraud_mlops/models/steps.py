"""A step of training: forward, loss, backward, clipping, AdamW; recorded and replayed on a GPU."""

from __future__ import annotations

import torch  # noqa: TID253 -- this file owns torch; others import it where they use it
from torch import Tensor, nn  # noqa: TID253 -- likewise

from fraud_mlops.models.losses import training_loss
from fraud_mlops.models.params import TrainingParams
from fraud_mlops.models.training_data import TrainingData

_WARM_UP = 3


class Step:
    """Called with rows of the data and a learning rate: changes the member, gives the loss.

    The loss [] stays on the device, and is not finite where the loss or the gradient was not: a
    gradient without end is clipped to nothing, so that the loss alone would not show it.
    """

    def __init__(
        self, member: nn.Module, data: TrainingData, params: TrainingParams, device: torch.device
    ) -> None:
        self._member, self._data, self._params, self._device = member, data, params, device
        self._parameters = [p for p in member.parameters() if p.numel()]
        self._optimizer = self._adamw()

    def __call__(self, rows: Tensor, rate: float) -> Tensor:
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        return self._run(rows)

    def _adamw(self) -> torch.optim.AdamW:
        fused = self._device.type in ("cpu", "cuda")
        return torch.optim.AdamW(decay_groups(self._member, self._params), fused=fused)

    def _run(self, rows: Tensor) -> Tensor:
        batch = self._data.batch(rows, self._device)
        kind = self._device.type
        with torch.autocast(kind, torch.bfloat16, enabled=kind == "cuda"):
            logits = self._member(batch.numeric, batch.categories)
        loss = training_loss(logits, batch.labels, batch.weights, batch.offsets, self._params)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self._parameters, self._params.clip_norm)
        self._optimizer.step()
        return loss.detach() + 0 * norm


class RecordedStep(Step):
    """The same on a GPU as a CUDA graph, one for each size of batch.

    A step of networks as small as these is some three hundred kernels of a few microseconds;
    started from Python one by one, they keep the GPU waiting most of the time. The first steps
    run as usual, on a stream of their own as recording asks for, and set up what is recorded.
    """

    def __init__(
        self, member: nn.Module, data: TrainingData, params: TrainingParams, device: torch.device
    ) -> None:
        self._rate = torch.zeros((), device=device)
        super().__init__(member, data, params, device)
        self._aside = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._ran = 0
        self._recorded: dict[int, tuple[torch.cuda.CUDAGraph, Tensor, Tensor]] = {}

    @staticmethod
    def can(data: TrainingData, params: TrainingParams, device: torch.device) -> bool:
        """Whether nothing in a step waits for the GPU: claims lie there, shapes are known."""
        return device.type == data.device.type == "cuda" and not params.pairwise

    def __call__(self, rows: Tensor, rate: float) -> Tensor:
        self._rate.fill_(rate)
        if self._ran < _WARM_UP:
            self._ran += 1
            return self._beside(rows)
        if len(rows) not in self._recorded:
            self._recorded[len(rows)] = self._record(rows)
        graph, given, loss = self._recorded[len(rows)]
        given.copy_(rows)
        graph.replay()
        return loss

    def _adamw(self) -> torch.optim.AdamW:
        optimizer = super()._adamw()
        for group in optimizer.param_groups:
            group["lr"] = self._rate
        return optimizer

    def _beside(self, rows: Tensor) -> Tensor:
        main = torch.cuda.current_stream(self._device)
        self._aside.wait_stream(main)
        with torch.cuda.stream(self._aside):
            loss = self._run(rows)
        main.wait_stream(self._aside)
        return loss

    def _record(self, rows: Tensor) -> tuple[torch.cuda.CUDAGraph, Tensor, Tensor]:
        for group in self._optimizer.param_groups:
            group["capturable"] = True
        given = rows.to(self._device, copy=True)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            loss = self._run(given)
        return graph, given, loss


def decay_groups(member: nn.Module, params: TrainingParams) -> list[dict[str, object]]:
    """Weights decay; biases, which say how common fraud is, do not."""
    named = [(name, p) for name, p in member.named_parameters() if p.numel()]
    biases = [p for name, p in named if name.endswith("bias")]
    weights = [p for name, p in named if not name.endswith("bias")]
    groups: list[dict[str, object]] = [{"params": biases, "weight_decay": 0.0}]
    return [{"params": weights, "weight_decay": params.weight_decay}, *groups]
