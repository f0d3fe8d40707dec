"""Data versions on events written by hand: of a partition among several, or of a pointer."""

from __future__ import annotations

from dagster import AssetKey, DagsterInstance

DATA_VERSION_TAG = "dagster/data_version"
DATA_VERSION_IS_GIVEN_TAG = "dagster/data_version_is_user_provided"
_NOTED = ("dagster/code_version", "dagster/input_data_version/", "dagster/input_event_pointer/")


def version_tags(data_version: str) -> dict[str, str]:
    """By which Dagster takes an event's data version for one that was given."""
    return {DATA_VERSION_TAG: data_version, DATA_VERSION_IS_GIVEN_TAG: "true"}


def noted_versions(instance: DagsterInstance, key: AssetKey) -> dict[str, str]:
    """Tags of code version and input versions, as Dagster wrote them with the latest result.

    Dagster gives all partitions of a result one data version. An event a partition that comes right
    after the result, with these tags and a version of its own, is the latest of its partition.
    """
    event = instance.get_latest_materialization_event(key)
    made = event.asset_materialization if event else None
    tags = (made.tags if made else None) or {}
    return {name: tag for name, tag in tags.items() if name.startswith(_NOTED)}
