"""Ingests that failed are asked for again when files have been looked at since.

An ingest reads all files of its source, also one that landed after the tick that asked for it, or
was half written then. If that one is bad the run fails, and the files that it was asked for, which
have been seen, would be read by nobody. A tag of the run says which record of files seen there was,
another how often it was asked for again.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from itertools import takewhile

import dagster as dg

from fraud_assets.dataset import RAW_ZONE, Dataset
from fraud_assets.jobs import INGEST
from fraud_assets.run_requests import RANGE_END, RANGE_START, run_request
from fraud_mlops.lakehouse.ranges import PartitionRange
from fraud_mlops.landing.cursor import Cursor

_SEEN, _AGAIN = "fraud/files_seen", "fraud/asked_again"
_PARTITION, _WILL_RETRY = "dagster/partition", "dagster/will_retry"
_LOOKED_BACK = 200
"""Runs that are looked at, the last ones, in one query: a tick is every half a minute."""
_AT_MOST = 3
"""Times that a run is asked for again: by then it fails for good, whatever lands."""
_MADE_SINCE = 10_000
"""Materializations since a run failed that are looked at."""


def tags_of(cursor: str | None) -> dict[str, str]:
    """Of runs that a tick asks for. cursor: as it is after it."""
    return {_SEEN: Cursor.parse(cursor).record or ""}


def failed_before(
    instance: dg.DagsterInstance, dataset: Dataset, cursor: str | None, touched: Container[str]
) -> list[dg.RunRequest]:
    """The same partitions once more, of each run that failed and that nobody ran again.

    cursor: of this tick. touched: partitions that it asks for anyway. What fails again with the
    same files is left as it is, and so is what a person or a schedule has run, whatever came of it.
    """
    seen, requests = tags_of(cursor), []
    for part, record in _last_failed(instance, dataset):
        run = record.dagster_run
        times = int(run.tags.get(_AGAIN, "0"))
        if run.tags[_SEEN] == seen[_SEEN] or times >= _AT_MOST:
            continue
        if all(value in touched for value in part.values()):
            continue
        if not _made_since(instance, dataset, part, record):
            tags = seen | {_AGAIN: str(times + 1)}
            key = f"again\n{run.run_id}"
            requests.append(run_request(dataset, INGEST, part, key=key, tags=tags))
    return requests


def _last_failed(
    instance: dg.DagsterInstance, dataset: Dataset
) -> Iterator[tuple[PartitionRange, dg.RunRecord]]:
    """Of each stretch of partitions the last run that a tick asked for, where it and all since have
    failed for good."""
    job = dg.RunsFilter(job_name=dataset.titled(INGEST))
    runs: dict[frozenset[tuple[str, str]], list[dg.RunRecord]] = {}
    for record in instance.get_run_records(job, limit=_LOOKED_BACK):  # the newest first
        runs.setdefault(frozenset(_partitions(record.dagster_run.tags).items()), []).append(record)
    asked = {stretch: last for stretch, found in runs.items() if (last := _asked(found))}
    if not asked:
        return
    names = set(dataset.partitions.get_partition_keys())
    for tags in map(dict, sorted(asked, key=sorted)):
        # The contract may have other partitions by now.
        if names.issuperset(tags.values()):
            yield _stretch(dataset, tags), asked[frozenset(tags.items())]


def _asked(records: Sequence[dg.RunRecord]) -> dg.RunRecord | None:
    """records: of one stretch, the newest first; what failed before one that did not is healed."""
    failed = takewhile(lambda record: _has_failed(record.dagster_run), records)
    return next((record for record in failed if _SEEN in record.dagster_run.tags), None)


def _has_failed(run: dg.DagsterRun) -> bool:
    return run.status == dg.DagsterRunStatus.FAILURE and run.tags.get(_WILL_RETRY) != "true"


def _made_since(
    instance: dg.DagsterInstance, dataset: Dataset, part: PartitionRange, failed: dg.RunRecord
) -> bool:
    """All of it by other runs: another job's, or other stretches of the same partitions."""
    values = part.values()
    wanted = dg.AssetRecordsFilter(
        asset_key=dataset.key(RAW_ZONE),
        asset_partitions=list(values),
        after_timestamp=failed.end_time or failed.update_timestamp.timestamp(),
    )
    made = instance.fetch_materializations(wanted, limit=_MADE_SINCE).records
    return {record.partition_key for record in made}.issuperset(values)


def _partitions(tags: Mapping[str, str]) -> dict[str, str]:
    return {tag: tags[tag] for tag in (_PARTITION, RANGE_START, RANGE_END) if tag in tags}


def _stretch(dataset: Dataset, tags: Mapping[str, str]) -> PartitionRange:
    first = tags.get(_PARTITION) or tags[RANGE_START]
    return PartitionRange.of(first, tags.get(RANGE_END), dataset.contract.partition)
