"""Progress that a person can follow: not every epoch, but never silence for long."""

from __future__ import annotations

import time
from collections.abc import Callable

Progress = Callable[[str], None]


def paced(say: Progress, seconds: float = 5.0) -> Progress:
    """`say`: the first line, and then none for `seconds` after each that went through."""
    last = float("-inf")

    def pace(text: str) -> None:
        nonlocal last
        if time.monotonic() - last >= seconds:
            last = time.monotonic()
            say(text)

    return pace
