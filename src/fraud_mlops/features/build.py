"""From raw partitions to files of features: one for each window of a split, or one of a range."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt

from fraud_mlops.contract import AMOUNT, Contract, Window
from fraud_mlops.features.feature_set import (
    LEAD_IN,
    RANGE,
    ZONE,
    FeatureFile,
    FeatureSet,
    read_window,
    window_batches,
)
from fraud_mlops.features.histories import Histories, histories
from fraud_mlops.features.room import beginning
from fraud_mlops.features.split import (
    Split,
    WindowCount,
    check_windows,
    microseconds,
    moment_of,
    resolve_split,
)
from fraud_mlops.features.windows import entity_feature_names
from fraud_mlops.lakehouse.partitions import Lakehouse, Partition
from fraud_mlops.lakehouse.periods import Period
from fraud_mlops.lakehouse.ranges import PartitionRange, partition_of, partition_start
from fraud_mlops.lakehouse.stores import delete, filesystem, list_children
from fraud_mlops.words import counted

KEPT = timedelta(days=7)
"""Feature sets are there for a run and its resumption, not for ever."""

__all__ = [
    "FeatureFile",
    "FeatureSet",
    "build_features",
    "build_range",
    "read_window",
    "window_batches",
]


def build_features(
    contract: Contract,
    lakehouse: Lakehouse,
    raw: Sequence[Partition],
    *,
    launch_id: str,
    as_of: datetime,
    threads: int | None = None,
    progress: Callable[[str], None] = print,
) -> FeatureSet:
    """Features of all claims in `raw`, as of each claim's event time, split out of time.

    as_of: labels that are known later are null, and later claims are in no window. threads: of
    DuckDB; the settings' when left out.
    A retry under one launch id replaces the files; feature sets of the dataset that are older
    than a week are removed. Memory: as of `histories`.

    Raises LakehouseError when a raw partition is no longer the one that was pinned, SplitError
    when a window lacks what it needs, ContractError when names of features collide.
    """
    target = lakehouse.uri(ZONE, contract.name, launch_id)
    with histories(
        contract, lakehouse, raw, as_of=as_of, threads=threads, progress=progress
    ) as found:
        known = known_by(found.timeline.times, as_of)
        if later := len(found.timeline) - known:
            progress(later_left_out(contract, later, as_of))
        split = resolve_split(contract, found.timeline.times[:known], as_of=as_of, say=progress)
        check_windows(contract, split, _counts(split, found, known))
        files = {}
        for name, places in _places(split, found, known).items():
            files[name] = found.write(f"{target}/{name}.parquet", launch_id, places)
            progress(f"{contract.name}: {counted(files[name].rows, 'claim')} in window {name}")
        lead_in = _lead_in(split, found, target, launch_id)
        first = moment_of(found.timeline.times[beginning(found.timeline.times)])
    remove_old(lakehouse.uri(ZONE, contract.name), keep=launch_id, progress=progress)
    return feature_set_of(contract, split, files, lead_in, first)


def build_range(
    contract: Contract,
    lakehouse: Lakehouse,
    raw: Sequence[Partition],
    wanted: PartitionRange,
    split: Split,
    *,
    launch_id: str,
    as_of: datetime,
    threads: int | None = None,
    progress: Callable[[str], None] = print,
) -> FeatureSet:
    """Features of the claims of some partitions alone, bit for bit as `build_features` has them.

    raw: every partition there is; those of the range and all before it are read, since a label
    that became known today may be of a claim long ago; of these only the claims that the range's
    features depend on are worked on, and take memory. split: the model's, to go with them.
    Otherwise as `build_features`; a range without claims gives a file without rows.
    """
    needed = [p for p in raw if partition_start(p.value, wanted.period) < wanted.end]
    target = lakehouse.uri(ZONE, contract.name, launch_id, f"{RANGE}.parquet")
    with histories(
        contract, lakehouse, needed or raw, as_of=as_of, threads=threads, progress=progress,
        start=wanted.start,
    ) as found:  # fmt: skip
        places = found.between(Window(start=wanted.start, end=wanted.end))
        file = found.write(target, launch_id, places)
    progress(f"{contract.name}: {counted(file.rows, 'claim')} from {wanted.first} to {wanted.last}")
    remove_old(lakehouse.uri(ZONE, contract.name), keep=launch_id, progress=progress)
    return feature_set_of(contract, split, {RANGE: file})


def feature_names(contract: Contract) -> tuple[str, ...]:
    """Of all features, numeric ones first."""
    return (*_numeric(contract), *(contract.categorical or ()))


def _numeric(contract: Contract) -> tuple[str, ...]:
    own = (AMOUNT,) if contract.amount else ()
    return (*own, *(contract.numeric or ()), *entity_feature_names(contract))


def feature_set_of(
    contract: Contract,
    split: Split,
    files: dict[str, FeatureFile],
    lead_in: FeatureFile | None = None,
    records_from: datetime | None = None,
) -> FeatureSet:
    """What was written, with the names of its columns."""
    return FeatureSet(
        contract=contract,
        split=split,
        numeric=_numeric(contract),
        categorical=contract.categorical or (),
        windows=files,
        lead_in=lead_in,
        records_from=records_from,
    )


def known_by(times: npt.NDArray[np.int64], as_of: datetime) -> int:
    """How many of the claims, whose event times are in order, had happened by then."""
    return int(np.searchsorted(times, microseconds(as_of), side="right"))


def later_left_out(contract: Contract, claims: int, as_of: datetime) -> str:
    return f"{contract.name}: {counted(claims, 'claim')} after {as_of:%F %H:%M} UTC: left out"


def _places(split: Split, found: Histories, known: int) -> dict[str, tuple[int, int]]:
    """First place of each window and the one after its last; oot goes on to the last known one."""
    places = {name: _between(found, window, known) for name, window in split.named().items()}
    return places | {"oot": (places["oot"][0], known)}


def _between(found: Histories, window: Window, known: int) -> tuple[int, int]:
    start, stop = found.between(window)
    return min(start, known), min(stop, known)


def _lead_in(split: Split, found: Histories, target: str, launch_id: str) -> FeatureFile | None:
    window = lead_in_of(split, found.contract.partition)
    if window is None:
        return None
    return found.write(f"{target}/{LEAD_IN}.parquet", launch_id, found.between(window))


def lead_in_of(split: Split, period: Period) -> Window | None:
    """What comes before the OOT window in the partition that it begins in, if anything does."""
    begins = partition_start(partition_of(split.oot.start, period), period)
    return None if begins == split.oot.start else Window(start=begins, end=split.oot.start)


def _counts(split: Split, found: Histories, known: int) -> dict[str, WindowCount]:
    counts = {}
    for name, window in split.named().items():
        start, stop = _between(found, window, known)
        fraud = found.timeline.fraud[start:stop]
        counts[name] = WindowCount(stop - start, int((fraud >= 0).sum()), int((fraud == 1).sum()))
    return counts


def remove_old(folder: str, *, keep: str, progress: Callable[[str], None]) -> None:
    """Removes feature sets older than a week, but for one.

    A store that does not say when a file was written keeps it.
    """
    oldest = datetime.now(UTC) - KEPT
    for launch in list_children(folder):
        if launch == keep:
            continue
        with contextlib.suppress(NotImplementedError, FileNotFoundError):
            if max(_written(f"{folder}/{launch}")) < oldest:
                delete(f"{folder}/{launch}")
                progress(f"removed the features of {launch}, older than {KEPT.days} days")


def _written(folder: str) -> list[datetime]:
    moments = []
    for name in list_children(folder):
        fs, path = filesystem(f"{folder}/{name}")
        moment = fs.modified(path)
        moments.append(moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment)
    return moments or [datetime.now(UTC)]
