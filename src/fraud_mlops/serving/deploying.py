"""A model version from a remote registry to one that servers on this machine read.

Fetched and verified first, then tried, then pointed at: at any moment the local registry serves
the old version whole or the new one whole.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from fraud_mlops.errors import RegistryError
from fraud_mlops.lakehouse.stores import absolute
from fraud_mlops.registry.bundle import load_bundle, write_bundle
from fraud_mlops.registry.pointers import promote, read_pointer, rollback
from fraud_mlops.serving.loading import load_model


class Deployed(NamedTuple):
    """previous: version that was served before; None for the first."""

    version: str
    previous: str | None


def deploy(
    source: str,
    target: str,
    dataset: str,
    *,
    version: str | None = None,
    by: str,
    progress: Callable[[str], object] = print,
) -> Deployed:
    """Brings `version`, or the source's champion, to the head of the target registry.

    source, target: roots of registries, on any store. Raises BundleError for a version that is
    damaged or does not score as it did at training, RegistryError when there is none, or when
    somebody else moves the target's champion meanwhile. The target's champion then is as it was.
    """
    wanted = version or _champion(source, dataset)
    target = absolute(target)
    progress(f"fetching {dataset} {wanted}")
    bundle = load_bundle(source, dataset, wanted)
    progress(f"verified: {len(bundle.files)} files have the hashes of the manifest")
    write_bundle(target, dataset, wanted, bundle.files, bundle.manifest)
    load_model(target, dataset, wanted)
    progress("canary: claims of the training score as they did")
    before = read_pointer(target, dataset, "champion")
    previous = before.version if before else None
    if previous == wanted:
        progress(f"{wanted} is served already")
        return Deployed(wanted, previous)
    promote(target, dataset, wanted, expected=previous, by=by, reason="deployed from the registry")
    progress(f"switched from {previous or 'nothing'} to {wanted}")
    return Deployed(wanted, previous)


def undo(target: str, dataset: str, *, by: str, progress: Callable[[str], object] = print) -> str:
    """Points at the version before the current one. RegistryError when there is none."""
    version = rollback(absolute(target), dataset, by=by, reason="rolled back").version
    progress(f"rolled back to {version}")
    return version


def _champion(source: str, dataset: str) -> str:
    pointer = read_pointer(source, dataset, "champion")
    if pointer is None:
        raise RegistryError(
            f"{dataset} has no champion in {source}; promote one, or name a version"
        )
    return pointer.version
