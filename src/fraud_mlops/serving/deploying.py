"""A model version from a remote registry to one that servers on this machine read.

Fetched and verified first, then tried, then written and pointed at: at any moment the local
registry serves the old version whole or the new one whole.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import NamedTuple

from fraud_mlops.errors import BundleError, FraudMlopsError, RegistryError
from fraud_mlops.lakehouse.stores import absolute
from fraud_mlops.registry.bundle import (
    Bundle,
    Manifest,
    list_versions,
    load_bundle,
    read_manifest,
    write_bundle,
    write_manifest,
)
from fraud_mlops.registry.going_back import rollback_target
from fraud_mlops.registry.locking import locked
from fraud_mlops.registry.pointers import promote, read_pointer, withdraw
from fraud_mlops.serving.loading import proved
from fraud_mlops.words import counted

_DEPLOYING_SECONDS = 5
_REASON = "deployed from the registry"


class Deployed(NamedTuple):
    """previous: version that was served before; None for the first. manifest: of the same version
    as it was, where it says other things now."""

    version: str
    previous: str | None
    manifest: Manifest | None = None

    @property
    def moved(self) -> bool:
        """Whether there is something to go back to."""
        return self.version != self.previous or self.manifest is not None


def offered(source: str, dataset: str, *, version: str | None = None) -> str:
    """What there is to bring: `version`, or the source's champion. BundleError for a version that
    the source does not have, RegistryError where it has no champion."""
    if version is None:
        pointer = read_pointer(source, dataset, "champion")
        if pointer is None:
            raise RegistryError(
                f"{dataset} has no champion in {source}; promote one, or name a version"
            )
        version = pointer.version
    return read_manifest(source, dataset, version).version


def fetch(
    source: str,
    dataset: str,
    *,
    version: str | None = None,
    progress: Callable[[str], object] = print,
) -> Bundle:
    """`version`, or the source's champion, verified and tried.

    source: root of a registry, on any store. Raises BundleError for a version that is damaged,
    cannot be loaded or does not score as it did at training, RegistryError when there is none.
    """
    wanted = offered(source, dataset, version=version)
    progress(f"fetching {dataset} {wanted}")
    bundle = load_bundle(source, dataset, wanted)
    progress(f"verified: {len(bundle.files)} files have the hashes of the manifest")
    progress(f"canary: {_tried(bundle)} of the training score as they did")
    return bundle


def _tried(bundle: Bundle) -> str:
    """By how many claims. What is wrong with a model may break anything."""
    told = bundle.manifest
    try:
        return counted(proved(bundle).canaries, "claim")
    except (FraudMlopsError, OSError):
        raise
    except Exception as error:
        raise BundleError(
            f"{told.dataset} {told.version} cannot be loaded: {type(error).__name__}: {error}; "
            "it is not switched to"
        ) from error


def alone(target: str, dataset: str) -> AbstractContextManager[None]:
    """One deployment into a folder at a time: what one has switched to and nobody has taken yet
    is nothing for another to go back to. RegistryError while another goes on."""
    return locked(
        absolute(target), dataset, name=".deploying", what="deploying", seconds=_DEPLOYING_SECONDS
    )


class Placed(NamedTuple):
    """digest: of the manifest that stands in the target now: the same version may have one of other
    alerts. before: the one that it had there, where that says other things: servers take up the new
    one though nothing is switched."""

    digest: str
    before: Manifest | None


def place(target: str, bundle: Bundle) -> Placed:
    """Writes a version that was fetched. BundleError where what was written does not read as it was
    sent."""
    target, told = absolute(target), bundle.manifest
    before = None
    with contextlib.suppress(BundleError):
        before = read_manifest(target, told.dataset, told.version)
    write_bundle(target, told.dataset, told.version, bundle.files, told)
    now = load_bundle(target, told.dataset, told.version)
    if now.manifest.digest != told.digest and not _holds(now):
        write_manifest(target, told)
        now = load_bundle(target, told.dataset, told.version)
    digest = now.manifest.digest
    return Placed(digest, before if before and before.digest != digest else None)


def _holds(bundle: Bundle) -> bool:
    """A manifest that stood there is kept where it is of the same alerts, if it can be served."""
    try:
        _tried(bundle)
    except BundleError:
        return False
    return True


def switch(
    target: str,
    dataset: str,
    version: str,
    *,
    serves: str | None = None,
    before: Manifest | None = None,
    by: str,
    progress: Callable[[str], object] = print,
) -> Deployed:
    """Points at a version that was placed. RegistryError when somebody else moves the target's
    champion meanwhile; it then is as they left it.

    serves: what the server serves, where it says so: a deployment that was killed has left a
    pointer at what nobody took. It counts for nothing where the pointer is somebody else's, who
    may have moved it just now, and where the registry has no such version. before: as `Placed` has
    it.
    """
    target = absolute(target)
    pointer = read_pointer(target, dataset, "champion")
    led = pointer.version if pointer else None
    left = pointer is not None and pointer.reason == _REASON
    taken = serves if left and serves in list_versions(target, dataset) else led
    done = Deployed(version, taken, before if version == taken else None)
    if led == version:
        progress(f"{version} was pointed at already")
        return done
    promote(target, dataset, version, expected=led, by=by, reason=_REASON)
    progress(f"switched from {led or 'nothing'} to {version}")
    return done


def standing(target: str, dataset: str, *, expected: str | None = None) -> Deployed:
    """What is pointed at there, and what it replaced: to be taken back. RegistryError for another
    than `expected`, where that is given, and where there is nothing to go back to."""
    target = absolute(target)
    pointer = read_pointer(target, dataset, "champion")
    if pointer is None:
        raise RegistryError(f"{dataset} has no champion in {target}: there is none to roll back")
    if expected not in (None, pointer.version):
        raise RegistryError(
            f"{dataset}: {pointer.version} is pointed at since {pointer.since:%F %T}, by "
            f"{pointer.by}, and not {expected} any more; nothing was changed"
        )
    previous = rollback_target(target, dataset)
    if previous is None:
        raise RegistryError(f"{dataset}: {pointer.version} replaced none: nothing to go back to")
    return Deployed(pointer.version, previous)


def take_back(
    target: str,
    dataset: str,
    done: Deployed,
    *,
    by: str,
    reason: str,
    progress: Callable[[str], object] = print,
) -> None:
    """Points at what was pointed at before, and be it nothing; the same version gets the manifest
    that it had. RegistryError when somebody else has moved the champion since."""
    target = absolute(target)
    if done.manifest is not None:
        write_manifest(target, done.manifest)
        progress(f"taken back: {done.version} has the manifest that it had before")
        return
    if done.previous is None:
        withdraw(target, dataset, done.version, by=by, reason=reason)
        progress(f"taken back: {dataset} has no champion, as before")
        return
    promote(target, dataset, done.previous, expected=done.version, by=by, reason=reason)
    progress(f"rolled back from {done.version} to {done.previous}")


def points_at(target: str, dataset: str) -> str | None:
    """The version that leads there."""
    pointer = read_pointer(absolute(target), dataset, "champion")
    return pointer.version if pointer else None
