"""The metrics zone, as a warehouse takes it: partitions by their value, of whatever period."""

from __future__ import annotations

from collections import Counter
from typing import get_args

from fraud_mlops.errors import LakehouseError, SettingsError
from fraud_mlops.lakehouse.partitions import Lakehouse, Partition
from fraud_mlops.lakehouse.periods import Period
from fraud_mlops.lakehouse.ranges import PartitionRange
from fraud_mlops.lakehouse.stores import list_children

ZONE = "metrics"
_PERIODS = get_args(Period)


def metrics_of(
    lakehouse: Lakehouse, dataset: str
) -> tuple[dict[str, Partition], dict[str, LakehouseError]]:
    """Partitions that are there, and what is wrong with those that cannot be read; by value.

    Two of one value, such as a week's Monday and that day, are among the latter: the warehouse
    knows partitions by value, and would show claims twice if it had both. A folder of no period,
    somebody's copy for instance, is one by its whole name, and stands in nobody's way.
    """
    wrong: dict[str, LakehouseError] = {}
    every = lakehouse.partitions(ZONE, dataset, damaged=wrong)
    found = [partition for partition in every if partition.key in _PERIODS]
    counts = Counter([*(partition.value for partition in found), *wrong])
    if twice := {value for value, count in counts.items() if count > 1}:
        names: dict[str, list[str]] = {value: [] for value in twice}
        for listed in lakehouse.listed(ZONE, dataset):
            if listed.value in twice and listed.key in _PERIODS:
                names[listed.value].append(f"{listed.key}={listed.value}")
        folder = lakehouse.uri(ZONE, dataset)
        wrong |= {value: _twice(folder, sorted(those)) for value, those in names.items()}
    there = {p.value: p for p in found if p.value not in wrong}
    odd = (partition for partition in every if partition.key not in _PERIODS)
    wrong |= {f"{p.key}={p.value}": _of_no_period(p) for p in odd}
    return there, wrong


def _of_no_period(partition: Partition) -> LakehouseError:
    return LakehouseError(f"{partition.uri}: {partition.key} is no period of a metrics zone")


def _twice(folder: str, names: list[str]) -> LakehouseError:
    return LakehouseError(
        f"{folder}: only one of {' and '.join(names)} can be in the warehouse; remove the other, "
        "whose period the contract no longer has, and sync again"
    )


def datasets_of_zone(lakehouse: Lakehouse) -> list[str]:
    """Those that have a partition: no folder that expiry has emptied, and no stray file."""
    return [name for name in list_children(lakehouse.uri(ZONE)) if lakehouse.listed(ZONE, name)]


def values_in_range(lakehouse: Lakehouse, dataset: str, first: str, last: str) -> list[str]:
    """Partitions from first to last, both included, that have metrics.

    Raises LakehouseError for a range of no period that the dataset's metrics are kept by, and
    where there are none in it.
    """
    listed = lakehouse.listed(ZONE, dataset)
    periods: list[Period] = [p for p in _PERIODS if any(one.key == p for one in listed)]
    asked, refused = dict[str, PartitionRange](), list[SettingsError]()
    for period in periods:
        try:
            asked[period] = PartitionRange.of(first, last, period)
        except SettingsError as error:
            refused.append(error)
    if refused and not asked:
        raise LakehouseError(f"{dataset}: {refused[0]}")
    within = {period: {*span.values()} for period, span in asked.items()}
    found = sorted({one.value for one in listed if one.value in within.get(one.key, ())})
    if not found:
        there = [one.value for one in listed]
        raise LakehouseError(
            f"{lakehouse.uri(ZONE, dataset)}: there are no metrics from {first} to {last}"
            + (f", only from {there[0]} to {there[-1]}" if there else "")
        )
    return found
