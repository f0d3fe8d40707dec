"""Which version leads a dataset, which one challenges it, and how that came about.

`<models>/<dataset>/champion.json` and `challenger.json` are replaced atomically. Every pointer
there ever was is kept under `history/`, one object each, written once: a move first makes sure
that the pointer it replaces is there, so that a process killed in between loses no move and
leaves none that never took effect. Only a withdrawal is written before it is done.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Literal, NamedTuple

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from fraud_mlops.errors import RegistryError, ReplacedError
from fraud_mlops.lakehouse.stores import (
    delete,
    delete_version,
    exists,
    join,
    list_children,
    read_bytes,
    read_tagged,
    write_bytes,
    write_tagged,
)
from fraud_mlops.moments import TICK
from fraud_mlops.registry.bundle import MANIFEST, load_bundle
from fraud_mlops.registry.locking import locked

Role = Literal["champion", "challenger"]
ROLES: tuple[Role, ...] = ("champion", "challenger")


class Pointer(BaseModel):
    """previous: version that was pointed at before; None for the first.

    withdrawn: in the history, that the version was pointed at until then, and none in its stead.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    role: Role
    version: str
    since: AwareDatetime
    by: str
    reason: str
    previous: str | None = None
    withdrawn: bool = False

    def to_bytes(self) -> bytes:
        usual = None if self.withdrawn else {"withdrawn"}  # digests of others stay what they were
        return self.model_dump_json(indent=1, exclude=usual).encode() + b"\n"


class _Found(NamedTuple):
    """What stood there, and the tag of it that a write in its stead names; None for nothing."""

    pointer: Pointer | None
    tag: str | None


def read_pointer(models_uri: str, dataset: str, role: Role) -> Pointer | None:
    """None when the dataset has no such model yet. RegistryError for a damaged pointer."""
    return _look(models_uri, dataset, role).pointer


def _look(models_uri: str, dataset: str, role: Role) -> _Found:
    uri = join(models_uri, dataset, f"{role}.json")
    found = read_tagged(uri)
    if found is None:
        return _Found(None, None)
    pointer = _parse(uri, found[0])
    if pointer.role != role:
        raise _damaged(uri)
    return _Found(pointer, found[1])


def promote(
    models_uri: str, dataset: str, version: str, *, expected: str | None, by: str, reason: str
) -> Pointer:
    """Makes `version` champion if `expected` still is; nothing to do when it is already.

    The bundle must be there and whole. Of several that promote at once one wins: a folder is
    locked, against all processes that see it, and on ADLS and S3 the write is conditional.
    Raises RegistryError when somebody else has moved the champion, BundleError for the bundle.
    """
    load_bundle(models_uri, dataset, version)
    with locked(models_uri, dataset):
        found = _look(models_uri, dataset, "champion")
        current = found.pointer
        if current is None or current.version != version:
            require_expected(dataset, current, expected)
            try:
                current = _move(models_uri, dataset, "champion", found, version, by, reason)
            except ReplacedError:
                require_expected(dataset, read_pointer(models_uri, dataset, "champion"), expected)
                raise _moved(dataset, "champion") from None
        challenger = read_pointer(models_uri, dataset, "challenger")
        if challenger and challenger.version == version:
            _clear(models_uri, dataset, challenger, current)
        return current


def require_expected(dataset: str, current: Pointer | None, expected: str | None) -> None:
    """Raises RegistryError when another version than this, or none, is champion."""
    found = current.version if current else None
    if found == expected:
        return
    who = f", moved there on {current.since:%F %T} by {current.by}" if current else ""
    raise RegistryError(
        f"{dataset}: the champion is {found or 'not set'}{who}; expected was "
        f"{expected or 'none'}. Start a new run against it, or promote by hand: "
        "fraud-mlops models promote"
    )


def set_challenger(models_uri: str, dataset: str, version: str, *, by: str, reason: str) -> Pointer:
    """Points at a version that did not win, for people to look at.

    The champion itself, come out of the same training once more, challenges nobody: its own
    pointer is given back. Raises BundleError for a bundle that is not whole.
    """
    load_bundle(models_uri, dataset, version)
    with locked(models_uri, dataset):
        champion = read_pointer(models_uri, dataset, "champion")
        if champion and champion.version == version:
            return champion
        found = _look(models_uri, dataset, "challenger")
        if found.pointer and found.pointer.version == version:
            return found.pointer
        try:
            return _move(models_uri, dataset, "challenger", found, version, by, reason)
        except ReplacedError:
            raise _moved(dataset, "challenger") from None


def withdraw(
    models_uri: str, dataset: str, version: str, *, by: str, reason: str, role: Role = "champion"
) -> None:
    """Takes the champion or challenger back, and names no other: there is none, as before the
    first.

    The history keeps that it was there, and no rollback goes to it: that is written first, so that
    a process killed in between loses nothing. RegistryError when another has the role by then.
    """
    with locked(models_uri, dataset):
        pointer, tag = _look(models_uri, dataset, role)
        if pointer is None or pointer.version != version:
            raise _moved(dataset, role)
        _record(models_uri, dataset, pointer)
        since = max(datetime.now(UTC), pointer.since + TICK)
        told = {"since": since, "by": by, "reason": reason, "withdrawn": True}
        withdrawn = pointer.model_copy(update=told)
        _record(models_uri, dataset, withdrawn)
        uri = join(models_uri, dataset, f"{role}.json")
        try:
            delete_version(uri, tag) if tag else delete(uri)
        except ReplacedError:
            delete(join(models_uri, dataset, "history", _name(withdrawn)))
            raise _moved(dataset, role) from None


def remove_version(models_uri: str, dataset: str, version: str) -> None:
    """Removes a bundle, the manifest first: what is left of a removal that was killed is no model.

    Raises RegistryError for one that is pointed at.
    """
    with locked(models_uri, dataset):
        for role in ROLES:
            pointer = read_pointer(models_uri, dataset, role)
            if pointer and pointer.version == version:
                raise RegistryError(f"{dataset}: {version} is the {role}, and stays")
        delete(join(models_uri, dataset, version, MANIFEST))
        delete(join(models_uri, dataset, version))


def history(models_uri: str, dataset: str) -> tuple[Pointer, ...]:
    """Every pointer there was or is, of either role, oldest first."""
    folder = join(models_uri, dataset, "history")
    names = [name for name in list_children(folder) if name.endswith(".json")]
    pointers = {_read(join(folder, name)) for name in names}
    pointers |= {p for role in ROLES if (p := read_pointer(models_uri, dataset, role))}
    return tuple(sorted(pointers, key=lambda pointer: (pointer.since, pointer.role)))


def _move(
    models_uri: str,
    dataset: str,
    role: Role,
    found: _Found,
    version: str,
    by: str,
    reason: str,
) -> Pointer:
    """Raises ReplacedError when another pointer stands there than was found."""
    now, current = datetime.now(UTC), found.pointer
    if current:  # a clock that was set back does not turn the history round
        now = max(now, current.since + TICK)
        _record(models_uri, dataset, current)
    previous = current.version if current else None
    pointer = Pointer(
        role=role, version=version, since=now, by=by, reason=reason, previous=previous
    )
    write_tagged(join(models_uri, dataset, f"{role}.json"), pointer.to_bytes(), found.tag)
    _record(models_uri, dataset, pointer)
    return pointer


def _clear(models_uri: str, dataset: str, challenger: Pointer, champion: Pointer) -> None:
    """The challenger leads, and challenges nobody. Done once more it is the same record."""
    _record(models_uri, dataset, challenger)
    since = max(champion.since, challenger.since + TICK)
    told = {"since": since, "by": champion.by, "reason": "it is the champion", "withdrawn": True}
    _record(models_uri, dataset, challenger.model_copy(update=told))
    delete(join(models_uri, dataset, "challenger.json"))


def _record(models_uri: str, dataset: str, pointer: Pointer) -> None:
    uri = join(models_uri, dataset, "history", _name(pointer))
    if not exists(uri):
        write_bytes(uri, pointer.to_bytes())


def _name(pointer: Pointer) -> str:
    digest = hashlib.sha256(pointer.to_bytes()).hexdigest()
    return f"{pointer.since.astimezone(UTC):%Y%m%dT%H%M%S%f}-{pointer.role}-{digest[:8]}.json"


def _read(uri: str) -> Pointer:
    return _parse(uri, read_bytes(uri))


def _parse(uri: str, data: bytes) -> Pointer:
    try:
        return Pointer.model_validate_json(data)
    except ValidationError:
        raise _damaged(uri) from None


def _moved(dataset: str, role: Role) -> RegistryError:
    return RegistryError(
        f"{dataset}: another run moved the {role} at this very moment; nothing was changed. "
        "Start again"
    )


def _damaged(uri: str) -> RegistryError:
    return RegistryError(
        f"{uri}: is no pointer, or a damaged one. Delete it; a champion is then named again by "
        "fraud-mlops models promote"
    )
