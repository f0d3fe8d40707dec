"""Of which version the assets are that an execution reads, as Dagster knows them now."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import suppress

from dagster import AssetExecutionContext, AssetKey, DagsterInstance

from dagster_metaflow.data_versions import DATA_VERSION_TAG
from dagster_metaflow.selection import Selection

_MOST_PARTITIONS = 100
"""As Dagster does it: an asset of which more partitions are read is looked at as a whole."""


def input_versions(context: AssetExecutionContext, selection: Selection) -> dict[str, str]:
    """By the key of each asset that the selected ones depend on and that is not selected itself.

    Data versions; of an asset with partitions, a hash of those of the partitions that are read.
    Empty text for what has never been made or observed.
    """
    found = {}
    for name, key in context.assets_def.keys_by_input_name.items():
        if key not in selection.assets:
            partitions = _partitions(context, selection, name, key)
            found[key.to_user_string()] = _version(context.instance, key, partitions)
    return found


def _partitions(
    context: AssetExecutionContext, selection: Selection, name: str, key: AssetKey
) -> Sequence[str] | None:
    """None for an asset without, and for one that is looked at as a whole."""
    latest = context.instance.get_latest_data_version_record(key)
    if latest is None or latest.partition_key is None:
        return None
    found: Sequence[str] | None = None
    if key in context.assets_def.specs_by_key:  # made by the same flow, only not now
        found = selection.partitions
    else:
        with suppress(Exception):  # where it cannot be said which are read, no launch fails for it
            found = context.asset_partition_keys_for_input(name)
    return found if found and len(found) <= _MOST_PARTITIONS else None


def _version(instance: DagsterInstance, key: AssetKey, partitions: Sequence[str] | None) -> str:
    if partitions is None:
        return _latest(instance, key, None)
    versions = (f"{one} {_latest(instance, key, one)}" for one in sorted(partitions))
    return hashlib.sha256("\n".join(versions).encode()).hexdigest()[:16]


def _latest(instance: DagsterInstance, key: AssetKey, partition: str | None) -> str:
    record = instance.get_latest_data_version_record(key, partition_key=partition)
    if record is None:
        return ""
    made, entry = record.asset_materialization, record.event_log_entry
    told = made or entry.asset_observation
    version = ((told.tags if told else None) or {}).get(DATA_VERSION_TAG)
    # What was made again without a word on its content may be another.
    return version or (f"event {record.storage_id}" if made else "")
