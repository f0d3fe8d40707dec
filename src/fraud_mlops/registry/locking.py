"""One move of a pointer at a time, where the registry is a folder."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from fraud_mlops.errors import RegistryError
from fraud_mlops.lakehouse.stores import filesystem, is_local, join

_LOCK_SECONDS = 30


@contextlib.contextmanager
def locked(models_uri: str, dataset: str) -> Iterator[None]:
    """The lock lies beside the pointers, so that all who can move them share it.

    Raises RegistryError when another process keeps it.
    """
    if not is_local(models_uri):
        yield
        return
    from filelock import FileLock, Timeout

    folder = Path(filesystem(join(models_uri, dataset))[1])
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / ".lock").acquire(timeout=_LOCK_SECONDS):
            yield
    except Timeout:
        raise RegistryError(
            f"{folder}: another process has been moving a pointer for {_LOCK_SECONDS} s; try again"
        ) from None
