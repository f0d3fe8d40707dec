"""From raw partitions to one file of features for each window of the split."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fraud_mlops.claims.schema import raw_schema
from fraud_mlops.contract import AMOUNT, LABEL, Contract, Window
from fraud_mlops.errors import LakehouseError
from fraud_mlops.features.feature_set import (
    ZONE,
    FeatureFile,
    FeatureSet,
    read_window,
    window_batches,
)
from fraud_mlops.features.ordering import OrderedClaims
from fraud_mlops.features.split import (
    Split,
    WindowCount,
    check_windows,
    microseconds,
    resolve_split,
)
from fraud_mlops.features.timeline import Timeline
from fraud_mlops.features.windows import (
    NEUTRAL_RATE,
    STRENGTH,
    entity_feature_names,
    entity_features,
    feature_names,
    lookbacks,
)
from fraud_mlops.lakehouse.content import ContentWriter
from fraud_mlops.lakehouse.partitions import Lakehouse, Partition
from fraud_mlops.lakehouse.stores import delete, filesystem, list_children
from fraud_mlops.settings import settings

KEPT = timedelta(days=7)
"""Feature sets are there for a run and its resumption, not for ever."""
_SLICE_ROWS = 1 << 17
_BUCKET_ROWS = 1 << 21
"""Claims whose histories are worked on at a time: some hundred megabytes."""

__all__ = ["FeatureFile", "FeatureSet", "build_features", "read_window", "window_batches"]


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

    as_of: labels that are known later are null. threads: of DuckDB; the settings' when left out.
    A retry under one launch id replaces the files; feature sets of the dataset that are older
    than a week are removed. Memory: the settings' limit for DuckDB, about 100 bytes a claim, and
    some hundred megabytes; entity features wait in a temporary file, whose pages the system counts
    as the process's while memory is free. An entity's claims are worked on all at once.

    Raises LakehouseError when a raw partition is no longer the one that was pinned, SplitError
    when a window lacks what it needs, ContractError when names of features collide.
    """
    schema = raw_schema(contract)
    names = entity_feature_names(contract)
    if not raw:
        raise LakehouseError(f"{contract.name}: no raw partition to build features of; run ingest")
    with tempfile.TemporaryDirectory(prefix="features-") as temporary:
        folder = Path(temporary)
        with OrderedClaims(
            contract, schema, lakehouse.batches(raw, schema.names),
            as_of=as_of, folder=folder, threads=threads or settings().threads,
        ) as claims:  # fmt: skip
            timeline = _timeline(contract, claims)
            progress(f"{contract.name}: {len(timeline):,} claims in order of time")
            split = resolve_split(contract, timeline.times)
            check_windows(contract, split, _counts(split, timeline))
            derived = _derived(contract, claims, timeline, names, folder, progress)
            target = lakehouse.uri(ZONE, contract.name, launch_id)
            layout = _schema(schema, contract, names)
            files = {}
            for name, (start, stop) in _places(split, timeline.times).items():
                batches = _batches(claims, derived, layout, start, stop)
                files[name] = _write(
                    f"{target}/{name}.parquet", contract, launch_id, layout, batches
                )
                progress(f"{contract.name}: {files[name].rows:,} claims in window {name}")
            del derived
    _remove_old(lakehouse.uri(ZONE, contract.name), keep=launch_id, progress=progress)
    own = (AMOUNT,) if contract.amount else ()
    return FeatureSet(
        contract=contract,
        split=split,
        numeric=(*own, *(contract.numeric or ()), *names),
        categorical=contract.categorical or (),
        windows=files,
    )


def _timeline(contract: Contract, claims: OrderedClaims) -> Timeline:
    return Timeline.of(
        claims.times(),
        claims.labels(),
        claims.label_times(),
        claims.amounts(),
        days=lookbacks(contract),
        neutral_rate=NEUTRAL_RATE,
        strength=STRENGTH,
    )


def _derived(
    contract: Contract,
    claims: OrderedClaims,
    timeline: Timeline,
    names: Sequence[str],
    folder: Path,
    progress: Callable[[str], None],
) -> dict[str, npt.NDArray[np.float32]]:
    """Each entity feature, float32 [n], in a file that the system pages in and out."""
    if not names:
        return {}
    shape = len(names), len(timeline)
    file = np.memmap(folder / "derived.f32", dtype=np.float32, mode="w+", shape=shape)
    out = dict(zip(names, file, strict=True))
    codes = {entity: claims.codes(entity) for entity in contract.entities}
    for entity, own in codes.items():
        for rows in _buckets(own):
            for name, values in entity_features(contract, timeline, entity, rows, codes):
                out[name][rows] = values
        nameless = np.flatnonzero(own < 0)
        if len(nameless):
            for name in feature_names(contract, entity):
                out[name][nameless] = np.nan
        progress(f"{contract.name}: history of every {entity}")
    return out


def _buckets(codes: npt.NDArray[np.int32]) -> Iterator[npt.NDArray[np.int64]]:
    """Rows of entities, all of each together, in parts that fit in memory."""
    buckets = -(-len(codes) // _BUCKET_ROWS)
    for bucket in range(buckets):
        yield np.flatnonzero((codes >= 0) & (codes % buckets == bucket))


def _places(split: Split, times: npt.NDArray[np.int64]) -> dict[str, tuple[int, int]]:
    """First place of each window and the one after its last; oot goes on to the last claim."""
    places = {name: _between(window, times) for name, window in split.named().items()}
    return places | {"oot": (places["oot"][0], len(times))}


def _between(window: Window, times: npt.NDArray[np.int64]) -> tuple[int, int]:
    edges = [microseconds(window.start), microseconds(window.end)]
    start, stop = np.searchsorted(times, edges)
    return int(start), int(stop)


def _counts(split: Split, timeline: Timeline) -> dict[str, WindowCount]:
    counts = {}
    for name, window in split.named().items():
        start, stop = _between(window, timeline.times)
        fraud = timeline.fraud[start:stop]
        counts[name] = WindowCount(stop - start, int((fraud >= 0).sum()), int((fraud == 1).sum()))
    return counts


def _schema(raw: pa.Schema, contract: Contract, names: Sequence[str]) -> pa.Schema:
    """The raw columns, with entity features after the contract's numeric ones."""
    before = len(raw) - len(contract.categorical or ())
    added = [pa.field(name, pa.float32()) for name in names]
    return pa.schema([*list(raw)[:before], *added, *list(raw)[before:]])


def _batches(
    claims: OrderedClaims,
    derived: Mapping[str, npt.NDArray[np.float32]],
    schema: pa.Schema,
    start: int,
    stop: int,
) -> Iterator[pa.RecordBatch]:
    for low in range(start, stop, _SLICE_ROWS):
        high = min(low + _SLICE_ROWS, stop)
        raw = claims.slice(low, high)
        columns = [
            pa.array(derived[name][low:high], from_pandas=True)
            if name in derived
            else raw.column(name)
            for name in schema.names
        ]
        yield pa.record_batch(columns, schema=schema)


def _write(
    uri: str,
    contract: Contract,
    launch_id: str,
    schema: pa.Schema,
    batches: Iterator[pa.RecordBatch],
) -> FeatureFile:
    labelled = frauds = 0
    metadata = {
        "dataset": contract.name,
        "contract_version": str(contract.version),
        "launch_id": launch_id,
    }
    with ContentWriter(uri, schema, metadata) as writer:
        for batch in batches:
            label = batch.column(LABEL)
            labelled += len(label) - label.null_count
            frauds += int(pc.sum(label).as_py() or 0)
            writer.write(batch)
    return FeatureFile(
        uri=uri,
        rows=writer.rows,
        bytes=writer.bytes,
        labelled=labelled,
        frauds=frauds,
        data_version=writer.data_version,
    )


def _remove_old(folder: str, *, keep: str, progress: Callable[[str], None]) -> None:
    """A store that does not say when a file was written keeps it."""
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
