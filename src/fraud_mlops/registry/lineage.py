"""What became of versions that had rows erased from their sample of training claims.

Such a version is another one since, which says so in its manifest (`derived_from`) and, with all
the names that it had before, in a file of its own. Scores and metrics go on naming the version
that they were made with: whoever reads one that something names asks here what it is called now.
"""

from __future__ import annotations

import contextlib
import json

from fraud_mlops.errors import BundleError
from fraud_mlops.lakehouse.stores import exists, join, read_bytes
from fraud_mlops.registry.bundle import MANIFEST, Manifest, list_versions, read_manifest

DERIVED = "derived_from.json"


def resolved_version(models_uri: str, dataset: str, version: str) -> str:
    """The version, or the one that has taken its place; itself where there is neither."""
    if not version or exists(join(models_uri, dataset, version, MANIFEST)):
        return version
    return now_called(models_uri, dataset).get(version, version)


def now_called(models_uri: str, dataset: str) -> dict[str, str]:
    """By names that there are no more, the versions that stand in their place; damaged ones not."""
    found: dict[str, str] = {}
    for version in list_versions(models_uri, dataset):
        with contextlib.suppress(BundleError):
            manifest = read_manifest(models_uri, dataset, version)
            found |= dict.fromkeys(former_names(models_uri, manifest), version)
    return found


def former_names(models_uri: str, manifest: Manifest) -> tuple[str, ...]:
    """What a version was called before, the last name first. BundleError where it cannot tell."""
    if manifest.derived_from is None:
        return ()
    if DERIVED not in manifest.files:
        return (manifest.derived_from,)
    uri = join(models_uri, manifest.dataset, manifest.version, DERIVED)
    try:
        older = json.loads(read_bytes(uri)).get("before", [])
    except (FileNotFoundError, ValueError, AttributeError):
        raise BundleError(f"{uri}: is missing or damaged; fetch the bundle again") from None
    return (manifest.derived_from, *map(str, older))


def derivation(models_uri: str, manifest: Manifest) -> bytes:
    """The file of a version that is to take the place of this one."""
    told = {"derived_from": manifest.version, "before": former_names(models_uri, manifest)}
    return json.dumps(told).encode()
