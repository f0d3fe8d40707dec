"""A machine that has no more files or no more disk, as this process sees it."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def no_file_opens() -> Iterator[None]:
    """One more is one too many. (No fewer: to wait on those that are open must be allowed, and
    servers that other tests have in this process wait.)"""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = min(_next_number() for _ in range(3))  # a server may have had one for a moment
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _next_number() -> int:
    with Path(os.devnull).open() as free:
        return free.fileno()


@contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    """As on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
