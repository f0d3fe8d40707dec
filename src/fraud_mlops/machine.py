"""How much of this machine the process may use: its container's share, where it has one."""

from __future__ import annotations

import contextlib
from pathlib import Path

_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
_MOST_FOR_DUCKDB = 4_000_000_000


def cores() -> int:
    """Those of the process's affinity, and no more than its container's share of them."""
    import joblib

    return int(joblib.cpu_count())


def memory() -> int:
    """Bytes that there are, or that the container may have where that is less."""
    import psutil

    found = [int(psutil.virtual_memory().total)]
    for file in _LIMITS:
        with contextlib.suppress(OSError, ValueError):  # no such file, or "max"
            found.append(int(file.read_text()))
    return min(found)


def for_duckdb() -> str:
    """What DuckDB may have beside everything else, as DuckDB writes it."""
    return f"{min(_MOST_FOR_DUCKDB, memory() // 2) // 1_000_000}MB"
