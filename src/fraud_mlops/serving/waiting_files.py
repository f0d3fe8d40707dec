"""The prediction log's write-ahead files on this machine: whose they are, and who has left which.

A living process holds its open file by a lock. Any other file may be taken over, and is counted by
one process, so that the sum over all is what waits: by that whose number its name has, and where
that process is gone by the one with the lowest number of those that live.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
from collections.abc import Collection, Iterator
from functools import cache
from pathlib import Path
from typing import IO

from fraud_mlops.lakehouse.partitions import Lakehouse
from fraud_mlops.serving.write_ahead import read_entries

SUFFIX = ".wal"
log = logging.getLogger("fraud.serving")


def waiting_folder(folder: Path, lakehouse: Lakehouse, dataset: str) -> Path:
    """Where write-ahead files of one lakehouse are: staging's records are not production's."""
    return folder / dataset / hashlib.sha256(lakehouse.root.encode()).hexdigest()[:12]


def tell_of_others(top: Path, own: Path) -> None:
    """Files that we must not take over, and nobody else may come for."""
    for folder in sorted({path.parent for path in top.rglob(f"*{SUFFIX}")} - {own}):
        waiting = 0
        for _, held in left_behind(folder):
            held.close()
            waiting += 1
        if waiting:
            log.warning(
                "prediction log: %d files in %s are of another lakehouse, or of an older version, "
                "which did not say of which; they stay. If they are of this one, move them into %s",
                waiting, folder, own,
            )  # fmt: skip


def left_behind(folder: Path, *, but: Path | None = None) -> Iterator[tuple[Path, IO[bytes]]]:
    """Write-ahead files that no living process holds, each held by us meanwhile."""
    for path, held in _looked_at(folder, but):
        if held is not None:
            yield path, held


def ours_to_count(folder: Path, own: Path, known: Collection[Path] = ()) -> list[Path]:
    """Those left behind that this process counts. own: the file that it writes. known: files that
    nobody writes any more; one that is held is being flushed, and waits until it has been."""
    free, us = [], _process(own)
    living = {us}
    for path, held in _looked_at(folder, own):
        if held is not None:
            held.close()
        if held is None and path not in known:
            living.add(_process(path))
        else:
            free.append(path)
    first = us == min(living)
    return [p for p in free if _process(p) == us or (first and _process(p) not in living)]


def records_in(path: Path) -> int:
    """0 for a file that has been flushed meanwhile."""
    try:
        return sum(records.num_rows for records in read_entries(path))
    except FileNotFoundError:
        return 0


def _process(path: Path) -> int:
    """The number in its name; 0, as of nobody, for a name that is not ours."""
    number = path.name.split("-")[1:2]
    return int(number[0]) if number and number[0].isdecimal() else 0


def _looked_at(folder: Path, but: Path | None) -> Iterator[tuple[Path, IO[bytes] | None]]:
    """Files that can be opened, each held by us meanwhile; None for those that others hold."""
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        if path == but:
            continue
        try:
            held = path.open("rb")
        except FileNotFoundError:
            continue
        except OSError as error:  # of another user, say: it must not keep the others waiting
            _tell_once(path, error.strerror or str(error))
            continue
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            held.close()
            yield path, None
            continue
        if path.exists():
            yield path, held
        else:
            held.close()


@cache
def _tell_once(path: Path, why: str) -> None:
    log.warning("prediction log: %s cannot be opened (%s), and stays as it is", path, why)
