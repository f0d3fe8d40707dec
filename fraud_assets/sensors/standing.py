"""How a check stands: by its latest evaluation of all that it is about.

A check of partitions stands by the newest claims that it was made of. Measuring an old partition
again evaluates the same check, and must not stand for what was found in a newer one; so the
evaluation says itself which partition it judges. Partitions of checks (`partitions_def`) are still
a preview in Dagster 1.13. When they are none any more: give these checks the partitions of
their asset, ask for the evaluation of the newest one, and leave out JUDGED, here and in
`fraud_mlops.reporting`.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NamedTuple

import dagster as dg

from fraud_assets.checks.verdicts import OF_RUN
from fraud_assets.dataset import Dataset

JUDGED = "newest_partition"
"""Metadata of an evaluation: the newest partition that it judges. None: it could judge none."""

_LOOKED_BACK = 1000
_PAGE = 25
_EVALUATED = dg.DagsterEventType.ASSET_CHECK_EVALUATION


class Standing(NamedTuple):
    """An evaluation. event: its id in the event log. partition: the newest that it judges."""

    check: str
    passed: bool
    at: datetime
    event: int
    description: str | None
    partition: str | None = None


def newest_made(instance: dg.DagsterInstance, dataset: Dataset, asset: str) -> str | None:
    """Of the partitions that the contract has now."""
    made = instance.get_materialized_partitions(dataset.key(asset))
    return max((key for key in made if dataset.partitions.has_partition_key(key)), default=None)


def standing(
    instance: dg.DagsterInstance, key: dg.AssetCheckKey, newest: str | None = None
) -> Standing | None:
    """The latest evaluation, of those that judge a partition the latest of the newest one; one that
    judges none counts only where no other does. None before the first one.

    newest: partition that none can be newer than, where the look ends.
    """
    found: tuple[str, Standing] | None = None
    for one, metadata in _evaluations(instance, key):
        judged = metadata.get(JUDGED)
        partition = str(judged.value or "") if judged else ""
        if found is None or partition > found[0]:
            found = partition, one._replace(partition=partition or None)
        if judged is None or (newest and found[0] >= newest):
            break
    return found[1] if found else None


def _evaluations(
    instance: dg.DagsterInstance, key: dg.AssetCheckKey
) -> Iterator[tuple[Standing, dict[str, dg.MetadataValue]]]:
    """With their metadata, the latest first, without those of a run's partitions alone. They are
    read as they are asked for: a look often ends with the first."""
    cursor = None
    for _ in range(_LOOKED_BACK // _PAGE):
        records = instance.event_log_storage.get_asset_check_execution_history(
            key, limit=_PAGE, cursor=cursor
        )
        for record in records:
            entry = record.event
            event = entry.dagster_event if entry else None
            if entry is None or event is None or event.event_type is not _EVALUATED:
                continue  # planned, and not evaluated yet or never
            evaluation = event.asset_check_evaluation_data
            of_run = evaluation.metadata.get(OF_RUN)
            if of_run is None or not of_run.value:
                at = datetime.fromtimestamp(entry.timestamp, UTC)
                words = evaluation.description
                one = Standing(key.name, evaluation.passed, at, record.id, words)
                yield one, dict(evaluation.metadata)
        if len(records) < _PAGE:
            return
        cursor = records[-1].id
