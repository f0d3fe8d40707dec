"""The windows that a contract's split would cut, and what training would refuse of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fraud_mlops.claims.maturity import usable_from
from fraud_mlops.contract import EVENT_TIME, LABEL, Contract, Window
from fraud_mlops.errors import SplitError
from fraud_mlops.evaluation.gate import MIN_FRAUDS
from fraud_mlops.evaluation.metrics import alert_capacity
from fraud_mlops.features.split import (
    Split,
    WindowCount,
    check_windows,
    microseconds,
    resolve_split,
)
from fraud_mlops.lakehouse.periods import partition_value
from fraud_mlops.lakehouse.ranges import partition_of
from fraud_mlops.moments import TICK
from fraud_mlops.monitoring.drift import MIN_ROWS
from fraud_mlops.span import begin_with, span_of
from fraud_mlops.words import counted

_UNKNOWN = np.iinfo(np.int64).max

Integers = npt.NDArray[np.int64]


class Counted(NamedTuple):
    """One window, or claims outside of all of them (`window` None). labelled, frauds: of labels
    that may be used in time: before the next window begins, and by now."""

    name: str
    window: Window | None
    claims: int
    labelled: int
    frauds: int

    @property
    def rate(self) -> float | None:
        return self.frauds / self.labelled if self.labelled else None


@dataclass
class Windows:
    """partitions: that hold claims, in order. notes: what stops nothing and is worth knowing."""

    partitions: list[str]
    counted: list[Counted] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Claims:
    """times: event times [n], usable: when labels may be used, _UNKNOWN without one [n], in
    microseconds since 1970; fraud: bool [n]."""

    times: Integers
    usable: Integers
    fraud: npt.NDArray[np.bool_]

    def count(self, name: str, window: Window, known_before: int) -> Counted:
        start, end = microseconds(window.start), microseconds(window.end)
        inside = (self.times >= start) & (self.times < end)
        known = inside & (self.usable < known_before)
        return Counted(
            name, window, int(inside.sum()), int(known.sum()), int((known & self.fraud).sum())
        )


def windows_of(contract: Contract, as_of: datetime, table: pa.Table) -> Windows:
    """table: event_time, label and label_time of at least one valid claim, in any order."""
    days = pc.unique(pc.floor_temporal(table.column(EVENT_TIME), unit="day"))
    found = Windows(sorted(set(partition_value(days, contract.partition).to_pylist())))
    found.notes += _outside_of_partitions(contract, found.partitions)
    claims = _Claims(
        _integers(table.column(EVENT_TIME)),
        _integers(usable_from(table, contract.label.delay)),
        np.asarray(pc.fill_null(pc.equal(table.column(LABEL), 1), False)),
    )
    try:
        split = resolve_split(contract, claims.times, as_of=as_of, say=found.notes.append)
    except SplitError as error:
        found.refusals.append(str(error))
        return found
    now = microseconds(as_of) + 1
    ends = {
        "train": min(microseconds(split.validation.start), now),
        "validation": min(microseconds(split.oot.start), now),
        "oot": now,
    }
    found.counted = [claims.count(name, w, ends[name]) for name, w in split.named().items()]
    found.refusals += _refused(contract, split, found.counted)
    if not found.refusals:
        found.notes += _few_frauds(found.counted[-1])
        found.notes += _no_alerts(contract, found.counted[1])
        found.notes += _few_claims(found.counted)
    beyond = len(claims.times) - sum(counted.claims for counted in found.counted)
    if beyond:
        found.counted.append(_beside(claims, split, beyond))
    return found


def _integers(times: pa.ChunkedArray) -> Integers:
    whole = times.cast(pa.timestamp("us", "UTC")).cast(pa.int64())
    return np.asarray(pc.fill_null(whole, _UNKNOWN).to_numpy(zero_copy_only=False))


def _beside(claims: _Claims, split: Split, beyond: int) -> Counted:
    """Claims that no window holds: of gaps, before the first, or after the last."""
    labelled = claims.usable < _UNKNOWN
    for window in split.named().values():
        start, end = microseconds(window.start), microseconds(window.end)
        labelled &= (claims.times < start) | (claims.times >= end)
    frauds = int((labelled & claims.fraud).sum())
    return Counted("in no window", None, beyond, int(labelled.sum()), frauds)


def _refused(contract: Contract, split: Split, counted: list[Counted]) -> list[str]:
    counts = {c.name: WindowCount(c.claims, c.labelled, c.frauds) for c in counted}
    try:
        check_windows(contract, split, counts)
    except SplitError as error:
        return [str(error)]
    return []


def _few_frauds(oot: Counted) -> list[str]:
    if oot.frauds >= MIN_FRAUDS:
        return []
    return [
        f"{counted(oot.frauds, 'fraud')} known in the out-of-time window: with fewer than "
        f"{MIN_FRAUDS} no challenger replaces a champion"
    ]


def _few_claims(windows: list[Counted]) -> list[str]:
    short = {"train": "the training window", "oot": "the out-of-time window"}
    return [
        f"{counted(window.claims, 'claim')} in {short[window.name]}: with fewer than {MIN_ROWS} "
        "drift is not judged"
        for window in windows
        if window.name in short and window.claims < MIN_ROWS
    ]


def _no_alerts(contract: Contract, validation: Counted) -> list[str]:
    budget = contract.alerts.budget
    if alert_capacity(validation.labelled, budget):
        return []
    return [
        f"alerts.budget = {budget:.2%} allows less than one alert of {validation.labelled:,} "
        "labelled validation claims: no claim will be alerted"
    ]


def _outside_of_partitions(contract: Contract, partitions: list[str]) -> list[str]:
    """Where Dagster's partitions leave out claims that there are."""
    start, end = span_of(contract)
    first = partition_of(start, contract.partition)
    last = partition_of(end - TICK, contract.partition) if end else None
    early = [value for value in partitions if value < first]
    late = [value for value in partitions if last is not None and value > last]
    told = []
    if early:
        told.append(
            f"in Dagster partitions begin at {first}, and claims at {early[0]}: if these dates are "
            f"right, {begin_with(early[0])}"
        )
    if late:
        told.append(
            f"in Dagster partitions end at {last}, with the out-of-time window, and claims at "
            f"{late[-1]}: for a file that grows, write source.uri as a pattern (`claims*.csv`)"
        )
    return told
