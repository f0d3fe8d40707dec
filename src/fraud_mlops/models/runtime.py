"""Where and how torch runs: device, threads, determinism; all put back afterwards."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch  # noqa: TID253 -- this file owns torch; others import it where they use it

from fraud_mlops.errors import TrainingError


def resolve_device(name: str) -> torch.device:
    """`auto` is a CUDA GPU when there is one, else the CPU; other names are taken at their word.

    Apple's mps is never chosen by itself: it lacks deterministic kernels. Raises TrainingError
    when the named device is not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise TrainingError(
            f"device {name!r} cannot be used here ({reason}); set FRAUD_DEVICE=auto or cpu"
        ) from None
    return device


@contextmanager
def cpu_threads(threads: int) -> Iterator[None]:
    """At most this many threads, while inside.

    Two scorings of two threads each on two cores took 3.5 to 6 times as long as of one thread
    each: OpenMP's threads wait for one another by spinning, unless told otherwise.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def reproducible(device: torch.device, threads: int) -> Iterator[None]:
    """Fixed threads, deterministic kernels, and a random state of its own, while inside.

    On the CPU the same seed and threads give the same bits. On CUDA kernels without a
    deterministic form warn instead of stopping the run.
    """
    if device.type == "cuda":
        # cuBLAS reads it when it starts; without it matrix products may differ in the last bits.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    deterministic_before = torch.are_deterministic_algorithms_enabled()
    warn_only_before = torch.is_deterministic_algorithms_warn_only_enabled()
    devices = [device] if device.type == "cuda" else []
    try:
        torch.use_deterministic_algorithms(True, warn_only=device.type != "cpu")
        with cpu_threads(threads), torch.random.fork_rng(devices=devices):
            yield
    finally:
        torch.use_deterministic_algorithms(deterministic_before, warn_only=warn_only_before)
