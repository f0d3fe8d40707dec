"""The metrics zone, as a warehouse takes it: partitions by their value, of whatever period."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date
from typing import NamedTuple, get_args

from fraud_mlops.errors import FraudMlopsError, LakehouseError, SettingsError
from fraud_mlops.lakehouse.partitions import Lakehouse, Listed, Partition
from fraud_mlops.lakehouse.periods import Period
from fraud_mlops.lakehouse.ranges import PartitionRange
from fraud_mlops.lakehouse.stores import list_children
from fraud_mlops.warehouse.columns import ContentError, period_of

ZONE = "metrics"


class _Span(NamedTuple):
    """The days of a partition, the last of them excluded."""

    start: date
    end: date
    of: Partition | Listed


def metrics_of(
    lakehouse: Lakehouse, dataset: str
) -> tuple[dict[str, Partition], dict[str, FraudMlopsError]]:
    """Partitions that are there, and what is wrong with those that cannot be taken; by value.

    Partitions of two periods that share days, such as a month and a day of it, are among the
    latter: a dashboard that sums them would show claims twice. A folder of no period, somebody's
    copy for instance, is one by its whole name, and stands in nobody's way.
    """
    damaged: dict[Listed, LakehouseError] = {}
    found = lakehouse.partitions(ZONE, dataset, damaged=damaged)
    wrong: dict[str, FraudMlopsError] = {}
    spans: list[_Span] = []
    every: list[Partition | Listed] = [*found, *damaged]
    for partition in every:
        try:
            _, start, end = period_of(partition)
        except ContentError as error:
            wrong[f"{partition.key}={partition.value}"] = error
        else:
            spans.append(_Span(start, end, partition))
    wrong |= {listed.value: damaged[listed] for _, _, listed in spans if isinstance(listed, Listed)}
    for together in _sharing_days(spans):
        told = _twice(lakehouse.uri(ZONE, dataset), together)
        wrong |= {span.of.value: told for span in together}
    there = (span.of for span in spans if isinstance(span.of, Partition))
    return {one.value: one for one in there if one.value not in wrong}, wrong


def _sharing_days(spans: Iterable[_Span]) -> Iterator[list[_Span]]:
    """Those of one period share none; so whoever shares a day does so with another period."""
    together: list[_Span] = []
    for span in sorted(spans, key=lambda span: span[:2]):
        if together and span.start >= max(one.end for one in together):
            if len(together) > 1:
                yield together
            together = []
        together.append(span)
    if len(together) > 1:
        yield together


def _twice(folder: str, together: Iterable[_Span]) -> LakehouseError:
    names: dict[str, list[str]] = {}
    for _, _, one in together:
        names.setdefault(one.key, []).append(one.value)
    told = " and ".join(
        f"{key}={values[0]}" + (f" to {values[-1]}" if len(values) > 1 else "")
        for key, values in sorted(names.items())
    )
    return LakehouseError(
        f"{folder}: only one of {told} can be in the warehouse, for they share days; remove those "
        "of the period that the contract no longer has, and sync with --prune"
    )


def datasets_of_zone(lakehouse: Lakehouse) -> list[str]:
    """Those that have a partition: no folder that expiry has emptied, and no stray file."""
    return [name for name in list_children(lakehouse.uri(ZONE)) if lakehouse.listed(ZONE, name)]


def values_in_range(lakehouse: Lakehouse, dataset: str, first: str, last: str) -> list[str]:
    """Partitions with metrics that lie within the days from first to last, both included.

    The two are named as partitions of the dataset are; months take days of them along. Raises
    LakehouseError for a range of no period that its metrics are kept by, and where there are none
    in it.
    """
    listed = lakehouse.listed(ZONE, dataset)
    asked, refused = list[PartitionRange](), list[SettingsError]()
    for period in (p for p in get_args(Period) if any(one.key == p for one in listed)):
        try:
            asked.append(PartitionRange.of(first, last, period))
        except SettingsError as error:
            refused.append(error)
    if refused and not asked:
        raise LakehouseError(f"{dataset}: {refused[0]}")
    found = sorted({one.value for one in listed if any(_within(one, span) for span in asked)})
    if not found:
        there = [one.value for one in listed]
        raise LakehouseError(
            f"{lakehouse.uri(ZONE, dataset)}: there are no metrics from {first} to {last}"
            + (f", only from {there[0]} to {there[-1]}" if there else "")
        )
    return found


def _within(listed: Listed, span: PartitionRange) -> bool:
    try:
        _, start, end = period_of(listed)
    except ContentError:
        return False
    return span.start.date() <= start and end <= span.end.date()
