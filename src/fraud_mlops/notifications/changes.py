"""Who changed something last, as Git has it."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

_SECONDS = 5


def last_change(folder: Path, paths: Sequence[str] = ()) -> str | None:
    """`Ann Lee, 2 hours ago: Read parcels by month (a1b2c3d)`; None where Git knows nothing.

    paths: below `folder`; all of it when there are none.
    """
    command = ["git", "-C", str(folder), "log", "-1", "--format=%an, %ar: %s (%h)", "--", *paths]
    try:
        found = subprocess.run(  # noqa: S603 - arguments of our own, no shell
            command, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() or None
