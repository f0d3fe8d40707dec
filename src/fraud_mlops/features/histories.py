"""All claims of some raw partitions in order of time, each with what its entities had done."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fraud_mlops.claims.schema import raw_schema
from fraud_mlops.contract import LABEL, Contract, Window
from fraud_mlops.errors import FraudMlopsError, LakehouseError
from fraud_mlops.features.feature_set import FeatureFile
from fraud_mlops.features.ordering import OrderedClaims
from fraud_mlops.features.reach import Reach
from fraud_mlops.features.split import microseconds
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
from fraud_mlops.settings import settings
from fraud_mlops.words import counted

_SLICE_ROWS = 1 << 17
_BUCKET_ROWS = 1 << 21
"""Claims whose histories are worked on at a time: some hundred megabytes."""


@dataclass(frozen=True)
class Histories:
    """claims: in order of time; derived: each entity feature of them, float32 [n]."""

    contract: Contract
    claims: OrderedClaims
    timeline: Timeline
    derived: Mapping[str, npt.NDArray[np.float32]]
    schema: pa.Schema

    def between(self, window: Window) -> tuple[int, int]:
        """Place of the window's first claim, and the one after its last."""
        edges = [microseconds(window.start), microseconds(window.end)]
        start, stop = np.searchsorted(self.timeline.times, edges)
        return int(start), int(stop)

    def write(self, uri: str, launch_id: str, places: tuple[int, int]) -> FeatureFile:
        """The claims places[0] <= place < places[1] with all their columns."""
        labelled = frauds = 0
        metadata = {
            "dataset": self.contract.name,
            "contract_version": str(self.contract.version),
            "launch_id": launch_id,
        }
        with ContentWriter(uri, self.schema, metadata) as writer:
            for batch in self._batches(*places):
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

    def _batches(self, start: int, stop: int) -> Iterator[pa.RecordBatch]:
        for low in range(start, stop, _SLICE_ROWS):
            high = min(low + _SLICE_ROWS, stop)
            raw = self.claims.slice(low, high)
            columns = [
                pa.array(self.derived[name][low:high], from_pandas=True)
                if name in self.derived
                else raw.column(name)
                for name in self.schema.names
            ]
            yield pa.record_batch(columns, schema=self.schema)


@contextmanager
def histories(
    contract: Contract,
    lakehouse: Lakehouse,
    raw: Sequence[Partition],
    *,
    as_of: datetime,
    threads: int | None,
    progress: Callable[[str], None],
    start: datetime | None = None,
) -> Iterator[Histories]:
    """Reads the raw partitions, and works out every entity feature of every claim in them; from
    `start` on, where one is given: of earlier claims only those are there that these depend on, and
    their own features mean nothing.

    Memory: the settings' limit for DuckDB, about 100 bytes a claim, and some hundred megabytes;
    entity features wait in a temporary file, whose pages the system counts as the process's while
    memory is free. An entity's claims are worked on all at once.
    Raises as `build_features` does, and FraudMlopsError when the temporary folder is too small.
    """
    schema = raw_schema(contract)
    names = entity_feature_names(contract)
    if not raw:
        raise LakehouseError(f"{contract.name}: no raw partition to build features of; run ingest")
    batches = lakehouse.batches(raw, schema.names)
    reach = None if start is None else Reach(contract, start, as_of)
    with tempfile.TemporaryDirectory(prefix="features-") as temporary:
        folder = Path(temporary)
        with OrderedClaims(
            contract, schema, batches if reach is None else reach.within(batches),
            as_of=as_of, folder=folder, threads=threads or settings().threads,
        ) as claims:  # fmt: skip
            earlier = (0, 0) if reach is None else (reach.labels, reach.frauds)
            timeline = _timeline(contract, claims, earlier)
            progress(f"{contract.name}: {counted(len(timeline), 'claim')} in order of time")
            derived = _derived(contract, claims, timeline, names, folder, progress)
            layout = feature_schema(schema, contract, names)
            yield Histories(contract, claims, timeline, derived, layout)


def _timeline(contract: Contract, claims: OrderedClaims, earlier: tuple[int, int]) -> Timeline:
    return Timeline.of(
        claims.times(),
        claims.labels(),
        claims.label_times(),
        claims.amounts(),
        days=lookbacks(contract),
        neutral_rate=NEUTRAL_RATE,
        strength=STRENGTH,
        earlier=earlier,
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
    if not names or not len(timeline):
        return {}
    shape = len(names), len(timeline)
    file = np.memmap(file_of(folder, 4 * shape[0] * shape[1]), np.float32, mode="r+", shape=shape)
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


def file_of(folder: Path, size: int) -> Path:
    """A file of so many bytes, all of them there: a page that the disk does not take later would
    kill the process. Raises FraudMlopsError."""
    path = folder / "derived.f32"
    try:
        with path.open("xb") as file:
            if hasattr(os, "posix_fallocate"):  # not on macOS
                os.posix_fallocate(file.fileno(), 0, size)
            else:
                file.truncate(size)
    except OSError as error:
        raise FraudMlopsError(
            f"{folder.parent} has no room for {size / 2**30:.1f} GiB of features on the way "
            f"({error.strerror}): free some, or set TMPDIR to a folder on a larger disk"
        ) from None
    return path


def _buckets(codes: npt.NDArray[np.int32]) -> Iterator[npt.NDArray[np.int64]]:
    """Rows of entities, all of each together, in parts that fit in memory."""
    buckets = -(-len(codes) // _BUCKET_ROWS)
    for bucket in range(buckets):
        yield np.flatnonzero((codes >= 0) & (codes % buckets == bucket))


def feature_schema(raw: pa.Schema, contract: Contract, names: Sequence[str]) -> pa.Schema:
    """The raw columns, with entity features after the contract's numeric ones."""
    before = len(raw) - len(contract.categorical or ())
    added = [pa.field(name, pa.float32()) for name in names]
    return pa.schema([*list(raw)[:before], *added, *list(raw)[before:]])
