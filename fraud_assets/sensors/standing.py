"""How a check of the metrics stands: by the newest claims that it was measured on.

Checks have no partitions in Dagster. Measuring an old partition again evaluates the same checks,
and must not stand for what was found in a newer one; so the evaluation says itself which
partition it judges.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

import dagster as dg

from fraud_assets.dataset import METRICS, Dataset

WATCHED = ("drift", "performance")
JUDGED = "newest_partition"
"""Metadata of an evaluation: the newest partition that it judges. None: it could judge none."""

_LOOKED_BACK = 1000
_EVALUATED = dg.DagsterEventType.ASSET_CHECK_EVALUATION


class Standing(NamedTuple):
    """An evaluation. event: its id in the event log."""

    check: str
    passed: bool
    at: datetime
    event: int
    description: str | None


def standing(instance: dg.DagsterInstance, dataset: Dataset, check: str) -> Standing | None:
    """The latest evaluation of those that judge the newest partition; None before the first one.

    One that judges no partition counts only where no other does. One that is under way does not
    count yet.
    """
    records = instance.event_log_storage.get_asset_check_execution_history(
        dg.AssetCheckKey(dataset.key(METRICS), check), limit=_LOOKED_BACK
    )
    found: tuple[str, Standing] | None = None
    for record in records:  # the latest comes first
        entry = record.event
        event = entry.dagster_event if entry else None
        if entry is None or event is None or event.event_type is not _EVALUATED:
            continue  # planned, and not evaluated yet or never
        evaluation = event.asset_check_evaluation_data
        judged = evaluation.metadata.get(JUDGED)
        partition = str(judged.value or "") if judged else ""
        if found is None or partition > found[0]:
            at = datetime.fromtimestamp(entry.timestamp, UTC)
            found = (
                partition,
                Standing(check, evaluation.passed, at, record.id, evaluation.description),
            )
    return found[1] if found else None
