"""Which version leads a dataset, which one challenges it, and how that came about.

`<models>/<dataset>/champion.json` and `challenger.json` are replaced atomically; every move is
also kept under `history/`, one object a move, never changed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from fraud_mlops.errors import RegistryError
from fraud_mlops.lakehouse.stores import (
    delete,
    filesystem,
    is_local,
    join,
    list_children,
    read_bytes,
    write_bytes,
)
from fraud_mlops.registry.bundle import load_bundle

Role = Literal["champion", "challenger"]
_LOCK_SECONDS = 30


class Pointer(BaseModel):
    """previous: version that was pointed at before; None for the first."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    role: Role
    version: str
    since: datetime
    by: str
    reason: str
    previous: str | None = None


def read_pointer(models_uri: str, dataset: str, role: Role) -> Pointer | None:
    """None when the dataset has no such model yet. RegistryError for a damaged pointer."""
    uri = join(models_uri, dataset, f"{role}.json")
    try:
        return Pointer.model_validate_json(read_bytes(uri))
    except FileNotFoundError:
        return None
    except ValidationError:
        raise RegistryError(
            f"{uri}: is no pointer; name the version again with: fraud-mlops models promote"
        ) from None


def promote(
    models_uri: str, dataset: str, version: str, *, expected: str | None, by: str, reason: str
) -> Pointer:
    """Makes `version` champion if `expected` still is; nothing to do when it is already.

    The bundle must be there and whole. Local registries are locked for the comparison; on other
    stores two moves within one round trip may cross, and the later one stands.
    Raises RegistryError when somebody else has moved the champion.
    """
    load_bundle(models_uri, dataset, version)
    with _lock(models_uri, dataset):
        current = read_pointer(models_uri, dataset, "champion")
        if current and current.version == version:
            return current
        found = current.version if current else None
        if found != expected:
            said = f" ({current.by}: {current.reason})" if current else ""
            raise RegistryError(
                f"{dataset}: the champion is {found}{said}, not {expected} as expected; somebody "
                "has moved it in between. Start a new run against it, or promote by hand."
            )
        pointer = _move(models_uri, dataset, "champion", version, found, by, reason)
        challenger = read_pointer(models_uri, dataset, "challenger")
        if challenger and challenger.version == version:
            delete(join(models_uri, dataset, "challenger.json"))
        return pointer


def set_challenger(models_uri: str, dataset: str, version: str, *, by: str, reason: str) -> Pointer:
    """Points at a version that did not win, for people to look at."""
    load_bundle(models_uri, dataset, version)
    with _lock(models_uri, dataset):
        current = read_pointer(models_uri, dataset, "challenger")
        if current and current.version == version:
            return current
        before = current.version if current else None
        return _move(models_uri, dataset, "challenger", version, before, by, reason)


def rollback(
    models_uri: str, dataset: str, *, to: str | None = None, by: str, reason: str
) -> Pointer:
    """Makes an earlier version champion again: `to`, or the one before the current champion.

    Going back is a move like any other: rolling back twice returns to where it began.
    """
    current = read_pointer(models_uri, dataset, "champion")
    if current is None:
        raise RegistryError(f"{dataset}: has no champion to roll back from")
    version = to or current.previous
    if version is None:
        raise RegistryError(f"{dataset}: {current.version} is the first champion; none came before")
    return promote(models_uri, dataset, version, expected=current.version, by=by, reason=reason)


def history(models_uri: str, dataset: str) -> tuple[Pointer, ...]:
    """Every move of either pointer, oldest first."""
    folder = join(models_uri, dataset, "history")
    moves = (
        Pointer.model_validate_json(read_bytes(join(folder, n))) for n in list_children(folder)
    )
    return tuple(sorted(moves, key=lambda move: move.since))


def _move(
    models_uri: str,
    dataset: str,
    role: Role,
    version: str,
    previous: str | None,
    by: str,
    reason: str,
) -> Pointer:
    pointer = Pointer(
        role=role,
        version=version,
        since=datetime.now(UTC),
        by=by,
        reason=reason,
        previous=previous,
    )
    data = json.dumps(pointer.model_dump(mode="json"), indent=1, sort_keys=True).encode() + b"\n"
    name = f"{pointer.since:%Y%m%dT%H%M%S%f}-{hashlib.sha256(data).hexdigest()[:8]}.json"
    write_bytes(join(models_uri, dataset, "history", name), data)
    write_bytes(join(models_uri, dataset, f"{role}.json"), data)
    return pointer


@contextlib.contextmanager
def _lock(models_uri: str, dataset: str) -> Iterator[None]:
    if not is_local(models_uri):
        yield
        return
    from filelock import FileLock, Timeout

    path = filesystem(join(models_uri, dataset))[1]
    # Beside no model: a lock in the registry would be copied and listed with it.
    name = hashlib.sha256(path.encode()).hexdigest()[:24]
    lock = FileLock(Path(tempfile.gettempdir()) / f"fraud-mlops-registry-{name}.lock")
    try:
        with lock.acquire(timeout=_LOCK_SECONDS):
            yield
    except Timeout:
        raise RegistryError(f"{dataset}: another process is moving a pointer; try again") from None
