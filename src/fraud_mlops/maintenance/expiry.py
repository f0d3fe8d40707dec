"""What may go: partitions that ended long ago, and model versions that nothing refers to."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple, cast

from fraud_mlops.errors import BundleError, ReplacedError, SettingsError
from fraud_mlops.lakehouse.local_files import remove_abandoned
from fraud_mlops.lakehouse.partitions import Lakehouse, Listed
from fraud_mlops.lakehouse.periods import Period
from fraud_mlops.lakehouse.ranges import PartitionRange
from fraud_mlops.lakehouse.stores import (
    absolute,
    delete_version,
    is_local,
    list_files,
    open_input,
    tag_of,
)
from fraud_mlops.registry.bundle import read_manifest, written
from fraud_mlops.registry.going_back import rollback_target
from fraud_mlops.registry.lineage import now_called
from fraud_mlops.registry.pointers import ROLES, read_pointer

_IN_FLIGHT = timedelta(days=7)
"""As long as a run's features are kept for it to be resumed."""


def old_partitions(lakehouse: Lakehouse, zone: str, dataset: str, before: datetime) -> list[Listed]:
    """Those whose last moment came before, in order."""
    return [p for p in lakehouse.listed(zone, dataset) if _end(p) <= before]


def _end(listed: Listed) -> datetime:
    """Far away for a partition that this project did not name."""
    try:
        return PartitionRange.of(listed.value, None, cast("Period", listed.key)).end
    except (SettingsError, ValueError, KeyError):
        return datetime.max.replace(tzinfo=UTC)


def remove_partition(listed: Listed) -> None:
    """One that is gone already is no error.

    Raises ReplacedError, and removes nothing, when it was written anew since it was listed. The
    object goes, and its folder with nothing in it: a writer may be at work there.
    """
    folder, _, name = listed.uri.rpartition("/")
    try:
        with open_input(listed.uri) as stream:
            tag = tag_of(stream)
    except FileNotFoundError:
        return
    there = next((file for file in list_files(folder) if file.path == name), None)
    if there is None:
        return
    if (there.bytes, there.changed) != (listed.bytes, listed.changed):
        raise ReplacedError(f"{listed.uri}: was written anew since it was listed; it stays")
    delete_version(listed.uri, tag)
    if is_local(folder):
        path = Path(absolute(listed.uri))
        remove_abandoned(path)
        with suppress(OSError):  # there is more in it
            path.parent.rmdir()


class Version(NamedTuple):
    """kept: why; None where it may go."""

    version: str
    written: datetime
    kept: str | None


def versions(
    models_uri: str, lakehouse: Lakehouse, dataset: str, before: datetime, newest: int
) -> list[Version]:
    """All of a dataset's, in the order that they were written, and why each stays.

    A version stays that leads or challenges, that a rollback would go back to, that scores of the
    lakehouse were made with, that was written at `before` or later, or is among the `newest`; and
    one of the last week, which a run may be about to point at.
    """
    roles = {p.version: p.role for r in ROLES if (p := read_pointer(models_uri, dataset, r))}
    back = rollback_target(models_uri, dataset)
    scored = _scored_with(models_uri, lakehouse, dataset)
    there = written(models_uri, dataset)
    young = min(before, datetime.now(UTC) - _IN_FLIGHT)
    found = []
    for place, (version, since) in enumerate(there.items()):
        try:
            read_manifest(models_uri, dataset, version)
        except BundleError:
            found.append(Version(version, since, "damaged: look at it first"))
            continue
        kept: str | None = roles.get(version)
        if kept is None and version == back:
            kept = "a rollback goes to it"
        if kept is None and version in scored:
            kept = f"scores of {scored[version]} partitions were made with it"
        if kept is None and since.timestamp() == 0:
            kept = "the store does not say how old it is"
        if kept is None and since >= young:
            kept = "young"
        if kept is None and place >= len(there) - newest:
            kept = "among the newest"
        found.append(Version(version, since, kept))
    return found


def _scored_with(models_uri: str, lakehouse: Lakehouse, dataset: str) -> dict[str, int]:
    """Partitions of each version, as it is called now."""
    counts: dict[str, int] = {}
    now = now_called(models_uri, dataset)
    for partition in lakehouse.partitions("ml_outputs", dataset):
        version = lakehouse.metadata(partition).get("model_version")
        if version:
            version = now.get(version, version)
            counts[version] = counts.get(version, 0) + 1
    return counts
