"""One move of a pointer, and one deployment, at a time, where the registry is a folder."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from fraud_mlops.errors import RegistryError
from fraud_mlops.lakehouse.stores import filesystem, is_local, join

_LOCK_SECONDS = 30


@contextlib.contextmanager
def locked(
    models_uri: str,
    dataset: str,
    *,
    name: str = ".lock",
    what: str = "moving a pointer",
    seconds: float = _LOCK_SECONDS,
) -> Iterator[None]:
    """The lock lies beside the pointers, so that all who can move them share it.

    name, what: of another lock than that of the pointers, and what its holder does. Raises
    RegistryError when another process keeps it.
    """
    if not is_local(models_uri):
        yield
        return
    from filelock import FileLock, Timeout

    folder = Path(filesystem(join(models_uri, dataset))[1])
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / name).acquire(timeout=seconds):
            yield
    except Timeout:
        raise RegistryError(
            f"{folder}: another process is {what}, and still was after {seconds:g} s; try again"
        ) from None
