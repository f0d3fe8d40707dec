"""Training speed: train() against a plain PyTorch loop, and candidates side by side or in turn.

    python benchmarks/bench_training.py [--rows 40000] [--inputs 60] [--json out.json]

1. Samples a second of `fraud_mlops.models.training.train` against a loop as one would write it
   by hand: the same layers with the same weights (TabM's layers and dropout as the packages
   compute them, the inputs' encoder ours), AdamW, shuffled slices, no logs, no schedule, no
   clipping. Runs alternate, the median of several counts. "train / plain" above 1 means that
   train() is the faster.
2. Two TabM candidates in two processes of one thread each against one after the other with two
   threads each. Process start and import of torch are part of both.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fraud_mlops.features.preprocessing import Matrix
from fraud_mlops.models.candidates import Candidate, draw_candidates

if TYPE_CHECKING:
    from fraud_mlops.models.training_log import TrainingLog

CATEGORIES = (12,) * 8
REPEATS = 3


def made_up(rows: int, inputs: int) -> tuple[Matrix, np.ndarray]:
    rng = np.random.default_rng(0)
    numeric = rng.normal(size=(rows, inputs)).astype(np.float32)
    categories = rng.integers(0, 12, size=(rows, len(CATEGORIES)))
    risk = numeric[:, 0] + numeric[:, 1] * (categories[:, 0] > 6)
    return Matrix(numeric, categories), (risk > np.quantile(risk, 0.94)).astype(np.int8)


def one_epoch(candidate: Candidate) -> Candidate:
    params = candidate.params.model_copy(update={"epochs": 1})
    return candidate.model_copy(update={"params": params})


def ours(candidate: Candidate, matrix: Matrix, labels: np.ndarray, threads: int) -> TrainingLog:
    from fraud_mlops.models.training import train

    return train(candidate, matrix, labels, CATEGORIES, threads=threads, device="cpu")[1]


def plain(
    candidate: Candidate,
    matrix: Matrix,
    labels: np.ndarray,
    threads: int,
    batch_size: int,
    device: str = "cpu",
) -> float:
    """Samples a second of the loop written by hand, building the network included."""
    import torch

    from fraud_mlops.models.networks import FraudNetwork

    torch.set_num_threads(threads)
    started = time.perf_counter()
    network = FraudNetwork.for_training(candidate.params, matrix, CATEGORIES, candidate.seed)
    part = network.parts[0].to(device)
    head = as_written_by_hand(part.head, candidate)
    optimizer = torch.optim.AdamW(part.parameters(), lr=candidate.params.learning_rate)
    whole = matrix.numeric, matrix.categories, labels.astype(np.float32)
    numeric, categories, targets = (torch.from_numpy(array).to(device) for array in whole)
    part.train()
    for rows in torch.randperm(len(labels)).split(batch_size):
        optimizer.zero_grad()
        logits = head(part.encoder(numeric[rows], categories[rows]))
        wanted = targets[rows, None].expand_as(logits)
        torch.nn.functional.binary_cross_entropy_with_logits(logits, wanted).backward()
        optimizer.step()
    torch.cuda.synchronize() if device == "cuda" else None
    return len(labels) / (time.perf_counter() - started)


def as_written_by_hand(head: Any, candidate: Candidate) -> Any:
    from torch import nn

    if candidate.family == "tabm":
        return head.reference_forward
    if candidate.family == "mlp":
        rate = candidate.params.model_dump()["dropout"]
        blocks = [nn.Sequential(layer, nn.ReLU(), nn.Dropout(rate)) for layer in head.layers]
        return nn.Sequential(*blocks, head.output)
    return head


def speeds(rows: int, inputs: int) -> list[dict[str, Any]]:
    matrix, labels = made_up(rows, inputs)
    small = Matrix(matrix.numeric[:1000], matrix.categories[:1000])
    table = []
    for candidate in map(one_epoch, draw_candidates(3, 0)):
        log = ours(candidate, small, labels[:1000], 1)  # libraries load, memory is mapped
        plain(candidate, small, labels[:1000], 1, log.batch_size)
        pairs = []
        for _ in range(REPEATS):
            log = ours(candidate, matrix, labels, 1)
            beside = plain(candidate, matrix, labels, 1, log.batch_size)
            pairs.append((log.samples_per_second, beside))
        mine, other = (statistics.median(column) for column in zip(*pairs, strict=True))
        ratio = statistics.median(a / b for a, b in pairs)
        row = {"candidate": candidate.name, "rows": rows, "inputs": inputs}
        row |= {"train": mine, "plain": other, "ratio": ratio}
        table.append(row)
    return table


def side_by_side(rows: int, inputs: int) -> dict[str, float]:
    """Seconds for two candidates, each in a process of its own."""

    def start(seed: int, threads: int) -> subprocess.Popen[bytes]:
        task = [sys.executable, __file__, "--task", str(seed), "--threads", str(threads)]
        return subprocess.Popen([*task, "--rows", str(rows), "--inputs", str(inputs)])

    def run(*tasks: subprocess.Popen[bytes]) -> None:
        assert [task.wait() for task in tasks] == [0] * len(tasks)

    def seconds(*rounds: tuple[int, ...]) -> float:
        """Of rounds of tasks, given by their threads; tasks of a round run at the same time."""
        began = time.perf_counter()
        for threads in rounds:
            run(*[start(i, t) for i, t in enumerate(threads)])
        return time.perf_counter() - began

    seconds((1,))  # warm up: libraries come from the page cache from here on
    pairs = [(seconds((1, 1)), seconds((2,), (2,))) for _ in range(REPEATS)]
    parallel, in_turn = (statistics.median(column) for column in zip(*pairs, strict=True))
    return {"parallel_seconds": parallel, "in_turn_seconds": in_turn, "ratio": in_turn / parallel}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=40_000)
    parser.add_argument("--inputs", type=int, default=60)
    parser.add_argument("--json", type=Path, help="write the measurements here as well")
    parser.add_argument("--task", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--threads", type=int, default=1, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.task is not None:
        candidate = one_epoch(draw_candidates(1, options.task)[0])
        ours(candidate, *made_up(options.rows, options.inputs), options.threads)
        return
    table = speeds(options.rows, options.inputs)
    print(
        f"{'candidate':<12} {'train samples/s':>16} {'plain samples/s':>16} {'train / plain':>14}"
    )
    for row in table:
        print(
            f"{row['candidate']:<12} {row['train']:>16,.0f} {row['plain']:>16,.0f} "
            f"{row['ratio']:>14.2f}"
        )
    both = side_by_side(options.rows, options.inputs)
    print(
        f"\ntwo TabM candidates: {both['parallel_seconds']:.1f} s side by side (1 thread each), "
        f"{both['in_turn_seconds']:.1f} s in turn (2 threads each): {both['ratio']:.2f} times"
    )
    if options.json:
        options.json.write_text(json.dumps({"training": table, "candidates": both}, indent=1))


if __name__ == "__main__":
    main()
