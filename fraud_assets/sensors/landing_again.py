"""Ingests that failed are asked for again when files have been looked at since.

An ingest reads all files of its source, also one that landed after the tick that asked for it, or
was half written then. If that one is bad the run fails, and the files that it was asked for, which
have been seen, would be read by nobody. A tag of the run says which record of files seen there was.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import dagster as dg

from fraud_assets.dataset import Dataset
from fraud_assets.jobs import INGEST
from fraud_assets.run_requests import RANGE_END, RANGE_START, run_request
from fraud_mlops.lakehouse.ranges import PartitionRange
from fraud_mlops.landing.cursor import Cursor

_SEEN = "fraud/files_seen"
_PARTITION, _WILL_RETRY = "dagster/partition", "dagster/will_retry"
_LOOKED_BACK = 100
"""Failed runs that are looked at, the last ones."""


def tags_of(cursor: str | None) -> dict[str, str]:
    """Of runs that a tick asks for. cursor: as it is after it."""
    return {_SEEN: Cursor.parse(cursor).record or ""}


def failed_before(
    instance: dg.DagsterInstance, dataset: Dataset, cursor: str | None
) -> list[dg.RunRequest]:
    """The same partitions once more, of each run that failed and that nobody ran again.

    cursor: of this tick. What fails again with the same files is left as it is.
    """
    seen = tags_of(cursor)
    return [
        run_request(dataset, INGEST, part, key=f"again\n{run.run_id}", tags=seen)
        for part, run in _last_failed(instance, dataset)
        if run.tags.get(_SEEN, seen[_SEEN]) != seen[_SEEN]
    ]


def _last_failed(
    instance: dg.DagsterInstance, dataset: Dataset
) -> Iterator[tuple[PartitionRange, dg.DagsterRun]]:
    """Of each stretch of partitions the last run, where that has failed for good."""
    job, failure = dataset.titled(INGEST), dg.DagsterRunStatus.FAILURE
    failed = instance.get_runs(dg.RunsFilter(job_name=job, statuses=[failure]), limit=_LOOKED_BACK)
    stretches = {frozenset(_partitions(run.tags).items()) for run in failed if _SEEN in run.tags}
    if not stretches:
        return
    names = set(dataset.partitions.get_partition_keys())
    for tags in map(dict, sorted(stretches, key=sorted)):
        (run,) = instance.get_runs(dg.RunsFilter(job_name=job, tags=tags), limit=1)
        retried = run.tags.get(_WILL_RETRY) == "true"
        # The contract may have other partitions by now.
        if run.status == failure and not retried and names.issuperset(tags.values()):
            yield _stretch(dataset, tags), run


def _partitions(tags: Mapping[str, str]) -> dict[str, str]:
    return {tag: tags[tag] for tag in (_PARTITION, RANGE_START, RANGE_END) if tag in tags}


def _stretch(dataset: Dataset, tags: Mapping[str, str]) -> PartitionRange:
    first = tags.get(_PARTITION) or tags[RANGE_START]
    return PartitionRange.of(first, tags.get(RANGE_END), dataset.contract.partition)
