"""A GPU against the CPU: how much sooner the same candidates are trained, and how alike they are.

    python benchmarks/bench_gpu.py [--rows 100000] [--inputs 60] [--threads 2]

1. Speed: samples a second of train() on the CPU, on the GPU, and of a plain 32-bit loop on the GPU
   (that of bench_training.py); eight epochs, after a short run that loads libraries.
2. Likeness: average precision on claims that were not trained on, of the whole training with the
   usual budget on either device. They differ in dropout's draws and by bfloat16.
3. What recording a step gains: training with N and with 3 N steps gives the milliseconds of a step,
   started from Python kernel by kernel and replayed, and the seconds before the first.
"""

from __future__ import annotations

import argparse
import time
from contextlib import nullcontext
from typing import NamedTuple
from unittest.mock import patch

import numpy as np
import torch
from bench_training import CATEGORIES, made_up, one_epoch, plain
from sklearn.metrics import average_precision_score

from fraud_mlops.features.preprocessing import Matrix
from fraud_mlops.models import training
from fraud_mlops.models.candidates import DEFAULTS, Candidate
from fraud_mlops.models.networks import FraudNetwork
from fraud_mlops.models.steps import RecordedStep
from fraud_mlops.models.training_log import TrainingLog

NEVER = 10**9
STEPS = 600


class Claims(NamedTuple):
    """To learn from, and as many that are new."""

    learnt: Matrix
    labels: np.ndarray
    new: Matrix
    truth: np.ndarray


def claims(rows: int, inputs: int) -> Claims:
    whole, labels = made_up(2 * rows, inputs)
    rng = np.random.default_rng(1)  # a tenth of the frauds and as many others are mislabelled
    flip = rng.random(2 * rows) < np.where(labels == 1, 0.1, 0.006)
    labels = np.where(flip, 1 - labels, labels).astype(np.int8)
    first, last = slice(None, rows), slice(rows, None)
    return Claims(
        *(Matrix(whole.numeric[first], whole.categories[first]), labels[first]),
        *(Matrix(whole.numeric[last], whole.categories[last]), labels[last]),
    )


def learn(
    candidate: Candidate, data: Claims, device: str, threads: int, budget: int | None = None
) -> tuple[FraudNetwork, TrainingLog]:
    limit = training.SAMPLE_BUDGET if budget is None else budget
    given = (candidate, data.learnt, data.labels, CATEGORIES)
    ages = np.linspace(365, 0, len(data.labels))
    return training.train(*given, threads=threads, device=device, ages=ages, sample_budget=limit)


def speeds(candidates: list[Candidate], data: Claims, threads: int) -> None:
    print(f"\n{'samples a second':12}{'CPU':>16}{'GPU':>14}{'plain, GPU':>14}{'GPU / CPU':>11}"
          f"{'GPU / plain':>13}")  # fmt: skip
    rows = len(data.labels)
    few = Claims(Matrix(data.learnt.numeric[:2000], data.learnt.categories[:2000]),
                 data.labels[:2000], data.new, data.truth)  # fmt: skip
    for candidate in candidates:
        learn(one_epoch(candidate), few, "cuda", threads)
        size = learn(one_epoch(candidate), data, "cuda", threads)[1].batch_size
        plain(candidate, few.learnt, few.labels, threads, size, "cuda")
        cpu = learn(one_epoch(candidate), data, "cpu", threads)[1].samples_per_second
        gpu = learn(lasting(candidate, 8), data, "cuda", threads)[1].samples_per_second
        beside = plain(candidate, data.learnt, data.labels, threads, size, "cuda")
        print(f"{candidate.name:12}{cpu:20,.0f}{gpu:14,.0f}{beside:14,.0f}"
              f"{gpu / cpu:11.1f}{gpu / beside:13.2f}   ({rows:,} rows)", flush=True)  # fmt: skip


def likeness(candidates: list[Candidate], data: Claims, threads: int) -> None:
    print(f"\n{'whole training':12}{'CPU s':>10}{'GPU s':>10}{'CPU AP':>10}{'GPU AP':>10}"
          f"{'rank corr.':>12}")  # fmt: skip
    for candidate in candidates:
        found = [learn(candidate, data, device, threads) for device in ("cpu", "cuda")]
        scores = [score(network, data.new) for network, _ in found]
        precision = [average_precision_score(data.truth, one) for one in scores]
        ranks = [np.argsort(np.argsort(one)) for one in scores]
        alike = np.corrcoef(ranks[0], ranks[1])[0, 1]
        print(f"{candidate.name:12}{found[0][1].seconds:12.1f}{found[1][1].seconds:10.1f}"
              f"{precision[0]:10.4f}{precision[1]:10.4f}{alike:12.4f}", flush=True)  # fmt: skip


def score(network: FraudNetwork, matrix: Matrix) -> np.ndarray:
    with torch.inference_mode():
        logits: np.ndarray = network.score(
            torch.from_numpy(matrix.numeric), torch.from_numpy(matrix.categories)
        ).numpy()
    return logits


def recording(candidates: list[Candidate], data: Claims, threads: int) -> None:
    print(f"\n{'a step':14}{'ms':>8}{'recorded':>10}{'ratio':>8}{'s before':>10}")
    for candidate in candidates:
        usual, _ = course(candidate, data, threads, recorded=False)
        replayed, before = course(candidate, data, threads, recorded=True)
        print(f"{candidate.name:14}{1000 * usual:8.2f}{1000 * replayed:10.2f}"
              f"{usual / replayed:8.1f}{before:10.2f}", flush=True)  # fmt: skip


def course(candidate: Candidate, data: Claims, threads: int, recorded: bool) -> tuple[float, float]:
    """Seconds of a step, and before the first."""
    rows = len(data.labels)
    batch = learn(one_epoch(candidate), data, "cpu", threads)[1].batch_size
    each = max(1, round(rows / batch))
    few = max(1, STEPS // each)
    seconds = []
    for epochs in (few, few, 3 * few):
        longer = lasting(candidate, epochs)
        began = time.perf_counter()
        with nullcontext() if recorded else patch.object(RecordedStep, "can", return_value=False):
            learn(longer, data, "cuda", threads, NEVER)
        seconds.append(time.perf_counter() - began)
    step = (seconds[2] - seconds[1]) / (2 * few * each)
    return step, seconds[1] - few * each * step


def lasting(candidate: Candidate, epochs: int) -> Candidate:
    params = candidate.params.model_copy(update={"epochs": epochs})
    return candidate.model_copy(update={"params": params})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--inputs", type=int, default=60)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print("there is no CUDA GPU here, and nothing to measure")
        return
    print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}, {options.threads} threads")
    data = claims(options.rows, options.inputs)
    candidates = [
        Candidate(name=f"{params.family}-{i}", params=params, seed=i)
        for i, params in enumerate(DEFAULTS, 1)
    ]
    speeds(candidates, data, options.threads)
    likeness(candidates, data, options.threads)
    recording(candidates, data, options.threads)


if __name__ == "__main__":
    main()
