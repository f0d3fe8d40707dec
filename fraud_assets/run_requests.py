"""Runs asked for by sensors and schedules."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import dagster as dg

from fraud_assets.dataset import Dataset
from fraud_mlops.lakehouse.ranges import PartitionRange

RANGE_START = "dagster/asset_partition_range_start"
RANGE_END = "dagster/asset_partition_range_end"


def run_request(
    dataset: Dataset,
    job: str,
    partitions: PartitionRange | None,
    *,
    key: str,
    tags: Mapping[str, str] | None = None,
) -> dg.RunRequest:
    """One run for all the partitions. key: what is asked for; asked again, nothing is launched."""
    name = dataset.titled(job)
    run_key = f"{name} {hashlib.sha256(key.encode()).hexdigest()[:24]}"
    given = dict(tags or {})
    if partitions is None:
        return dg.RunRequest(run_key=run_key, job_name=name, tags=given)
    if partitions.first == partitions.last:
        return dg.RunRequest(
            run_key=run_key, job_name=name, partition_key=partitions.first, tags=given
        )
    given |= {RANGE_START: partitions.first, RANGE_END: partitions.last}
    return dg.RunRequest(run_key=run_key, job_name=name, tags=given)


def runs_of_partitions(dataset: Dataset, values: set[str]) -> list[PartitionRange]:
    """The partitions as few ranges, without any that was not asked for."""
    period = dataset.contract.partition
    ranges: list[PartitionRange] = []
    for value in sorted(values):
        if ranges:
            longer = PartitionRange.of(ranges[-1].first, value, period)
            if longer.values()[-2] == ranges[-1].last:
                ranges[-1] = longer
                continue
        ranges.append(PartitionRange.of(value, None, period))
    return ranges
