"""A contract's partitions in Dagster's terms.

Names are those of the lakehouse: `2024-01`, a week's Monday, or `2024-01-31`. Where they begin
and end `fraud_mlops.span` says. Of claims that keep coming the period that is under way is there
too, since they are scored as they land.
"""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any

from dagster import (
    AllPartitionMapping,
    DailyPartitionsDefinition,
    IdentityPartitionMapping,
    MonthlyPartitionsDefinition,
    PartitionMapping,
    SpecificPartitionsPartitionMapping,
    TimeWindowPartitionMapping,
    TimeWindowPartitionsDefinition,
    WeeklyPartitionsDefinition,
)

from fraud_mlops.contract import Contract, DateSplit
from fraud_mlops.lakehouse.periods import Period
from fraud_mlops.lakehouse.ranges import PartitionRange, partition_of
from fraud_mlops.moments import TICK
from fraud_mlops.span import span_of

_DAY = "%Y-%m-%d"
_SHORTEST_DAYS = {"day": 1, "week": 7, "month": 28}


def partitions_of(contract: Contract) -> TimeWindowPartitionsDefinition:
    """Partitions as every partitioned asset of a dataset has them."""
    start, end = span_of(contract)
    period = contract.partition
    given: dict[str, Any] = {"start_date": partition_of(start, period)}
    if end is None:
        given["end_offset"] = 1  # the period under way
    else:
        given["end_date"] = f"{_whole(start, end, period).end:{_format(period)}}"
    if period == "month":
        return MonthlyPartitionsDefinition(fmt="%Y-%m", **given)
    if period == "week":
        return WeeklyPartitionsDefinition(day_offset=1, fmt=_DAY, **given)
    return DailyPartitionsDefinition(fmt=_DAY, **given)


def history(contract: Contract) -> PartitionMapping:
    """Raw partitions that the scores of one partition are made of.

    Its own claims, and those before it as far as the longest window looks back. (Everybody's
    fraud rate looks back over all of them, but moves too little to score anew for.)
    """
    if not contract.entities:
        return IdentityPartitionMapping()
    periods = math.ceil(max(contract.windows) / _SHORTEST_DAYS[contract.partition])
    return TimeWindowPartitionMapping(start_offset=-periods)


def learnt_from(contract: Contract) -> PartitionMapping:
    """Raw partitions that a model is made of: up to the end of the OOT window, where it is known.

    Claims that came later make no model out of date; the contract's dates have to move for that.
    """
    if not isinstance(contract.split, DateSplit):
        return AllPartitionMapping()
    start, _ = span_of(contract)
    return SpecificPartitionsPartitionMapping(
        _whole(start, contract.split.oot.end, contract.partition).values()
    )


def _whole(start: datetime, end: datetime, period: Period) -> PartitionRange:
    """Partitions that `start` <= t < `end` touches."""
    return PartitionRange.of(partition_of(start, period), partition_of(end - TICK, period), period)


def _format(period: Period) -> str:
    return "%Y-%m" if period == "month" else _DAY
