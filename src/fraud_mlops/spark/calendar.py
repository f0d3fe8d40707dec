"""What the driver knows of all claims: when they were, and which labels were known each day."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fraud_mlops.claims.schema import raw_schema
from fraud_mlops.contract import EVENT_TIME, LABEL, LABEL_TIME, Contract, Window
from fraud_mlops.errors import LakehouseError
from fraud_mlops.features.split import WindowCount, microseconds
from fraud_mlops.features.timeline import DAY
from fraud_mlops.lakehouse.parquet import open_parquet
from fraud_mlops.lakehouse.partitions import Lakehouse, Partition
from fraud_mlops.moments import TICK

Integers = npt.NDArray[np.int64]
_NEVER = np.iinfo(np.int64).min


@dataclass(frozen=True)
class LabelDays:
    """days: days since 1970 on which labels became known, rising, int64 [d].

    labels, frauds: that were known before each of them, int64 [d + 1]; the last of all days.
    """

    days: Integers
    labels: Integers
    frauds: Integers

    def before(self, day: int) -> tuple[int, int]:
        """Labels, and frauds among them, that became known before that day began."""
        at = int(np.searchsorted(self.days, day))
        return int(self.labels[at]), int(self.frauds[at])


@dataclass(frozen=True)
class Calendar:
    """times: of all claims, microseconds since 1970, rising, int64 [n]. fraud: int8 [n], in that
    order: 1 fraud, 0 genuine, -1 not known as of the run."""

    times: Integers
    fraud: npt.NDArray[np.int8]
    labels: LabelDays

    def until(self, claims: int) -> Calendar:
        """Of the first so many claims; of all labels."""
        return Calendar(self.times[:claims], self.fraud[:claims], self.labels)

    @classmethod
    def of(
        cls, contract: Contract, lakehouse: Lakehouse, raw: Sequence[Partition], as_of: datetime
    ) -> Calendar:
        """Reads three columns of the pinned partitions, in flat memory but for 9 bytes a claim.

        Raises LakehouseError when one is no longer the one that was pinned, or lacks a column.
        """
        if not raw:
            raise LakehouseError(
                f"{contract.name}: no raw partition to build features of; run ingest"
            )
        _require_columns(raw, raw_schema(contract).names)
        times, frauds = [], []
        labelled: Counter[int] = Counter()
        bad: Counter[int] = Counter()
        delay, now = contract.label.delay // TICK, microseconds(as_of)
        for batch in lakehouse.batches(raw, [EVENT_TIME, LABEL, LABEL_TIME]):
            at = _integers(batch.column(EVENT_TIME), 0)
            fraud = batch.column(LABEL).fill_null(-1).to_numpy(zero_copy_only=False)
            known = np.maximum(_integers(batch.column(LABEL_TIME), _NEVER), at + delay)
            fraud = np.where(known <= now, fraud, -1).astype(np.int8)
            day = known // DAY
            labelled += _counted(day[fraud >= 0])
            bad += _counted(day[fraud == 1])
            times.append(at)
            frauds.append(fraud)
        return cls._ordered(times, frauds, labelled, bad)

    @classmethod
    def _ordered(
        cls,
        times: list[Integers],
        frauds: list[npt.NDArray[np.int8]],
        labelled: Counter[int],
        bad: Counter[int],
    ) -> Calendar:
        at = np.concatenate([np.empty(0, np.int64), *times])
        fraud = np.concatenate([np.empty(0, np.int8), *frauds])
        order = np.argsort(at, kind="stable")
        days = np.array(sorted(labelled), dtype=np.int64)
        totals = (
            np.concatenate([[0], np.cumsum([per_day[day] for day in days.tolist()])])
            for per_day in (labelled, bad)
        )
        labels, known_frauds = (total.astype(np.int64) for total in totals)
        return cls(at[order], fraud[order], LabelDays(days, labels, known_frauds))

    def __len__(self) -> int:
        return len(self.times)

    def count(self, window: Window) -> WindowCount:
        """Claims of a window: all, labelled, frauds."""
        edges = [microseconds(window.start), microseconds(window.end)]
        start, stop = np.searchsorted(self.times, edges)
        fraud = self.fraud[start:stop]
        return WindowCount(int(stop - start), int((fraud >= 0).sum()), int((fraud == 1).sum()))

    @property
    def days(self) -> int:
        """From the first claim to the last."""
        return int((self.times[-1] - self.times[0]) // DAY) + 1 if len(self) else 0


def require_unchanged(lakehouse: Lakehouse, raw: Sequence[Partition]) -> None:
    """LakehouseError when a partition was replaced since it was pinned, while Spark read it."""
    for pinned in raw:
        now = lakehouse.partition(pinned.zone, pinned.dataset, pinned.key, pinned.value)
        if now.data_version != pinned.data_version:
            raise LakehouseError(
                f"{pinned.uri}: holds data version {now.data_version}, this run pinned "
                f"{pinned.data_version}: another run has replaced the partition. Start a new run."
            )


def _require_columns(raw: Sequence[Partition], names: Sequence[str]) -> None:
    for partition in raw:
        with open_parquet(partition.uri) as (parquet, _):
            there = set(parquet.schema_arrow.names)
        if missing := [name for name in names if name not in there]:
            raise LakehouseError(
                f"{partition.uri}: lacks columns {', '.join(missing)} of the contract: it was "
                "written under another version of it. Run ingest again."
            )


def _integers(times: pa.Array, missing: int) -> Integers:
    values = times.cast(pa.timestamp("us", "UTC")).cast(pa.int64()).fill_null(missing)
    return np.asarray(values.to_numpy(zero_copy_only=False), dtype=np.int64)


def _counted(days: Integers) -> Counter[int]:
    found, counts = np.unique(days, return_counts=True)
    return Counter(dict(zip(found.tolist(), counts.tolist(), strict=True)))
