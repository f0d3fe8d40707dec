"""`build_features` and `build_range` by Spark: the same claims, the same features, bit for bit.

A window is written in parts, one a partition of time, each by one task; else what comes out is
what `features.build` gives.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING

import pyarrow as pa

from fraud_mlops.claims.schema import raw_schema
from fraud_mlops.contract import CLAIM_ID, EVENT_TIME, Contract
from fraud_mlops.features.build import (
    feature_set_of,
    known_by,
    later_left_out,
    lead_in_of,
    remove_old,
)
from fraud_mlops.features.feature_set import LEAD_IN, OOT, RANGE, ZONE, FeatureFile, FeatureSet
from fraud_mlops.features.histories import feature_schema
from fraud_mlops.features.room import beginning
from fraud_mlops.features.split import Split, check_windows, microseconds, moment_of, resolve_split
from fraud_mlops.features.windows import entity_feature_names
from fraud_mlops.lakehouse.content import ContentWriter
from fraud_mlops.lakehouse.partitions import Lakehouse, Partition
from fraud_mlops.lakehouse.ranges import PartitionRange, partition_start
from fraud_mlops.moments import TICK
from fraud_mlops.spark.calendar import Calendar, require_unchanged
from fraud_mlops.spark.claims import claims, partition_value, positions
from fraud_mlops.spark.delivery import PIECES, Facts, deliver, encoded
from fraud_mlops.spark.histories import Sizes, packed_histories, tasks_for
from fraud_mlops.spark.session import spark_session
from fraud_mlops.spark.stitching import Layout, stitched
from fraud_mlops.words import counted

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

Spans = Mapping[str, tuple[datetime, datetime]]
"""First moment of each window, and the one after its last."""

SCRATCH = "_spark"


def build_features(
    contract: Contract,
    lakehouse: Lakehouse,
    raw: Sequence[Partition],
    *,
    launch_id: str,
    as_of: datetime,
    sizes: Sizes | None = None,
    progress: Callable[[str], None] = print,
) -> FeatureSet:
    """As of `features.build`; sizes: limits of one task.

    Raises as that does, and SettingsError where Spark cannot run.
    """
    work = _Work(contract, lakehouse, raw, launch_id, as_of, sizes or Sizes(), progress)
    known = work.calendar.until(known_by(work.calendar.times, as_of))
    if later := len(work.calendar) - len(known):
        progress(later_left_out(contract, later, as_of))
    split = resolve_split(contract, known.times, as_of=as_of, say=progress)
    windows = split.named()
    check_windows(contract, split, {name: known.count(windows[name]) for name in windows})
    end = as_of + TICK
    spans = {name: (window.start, min(window.end, end)) for name, window in windows.items()}
    spans[OOT] = (split.oot.start, end)  # also what came after it
    if lead_in := lead_in_of(split, contract.partition):
        spans[LEAD_IN] = (lead_in.start, lead_in.end)
    files = work.written(spans)
    for name, file in files.items():
        progress(f"{contract.name}: {counted(file.rows, 'claim')} in window {name}")
    first = moment_of(work.calendar.times[beginning(work.calendar.times)])
    return feature_set_of(contract, split, files, files.pop(LEAD_IN, None), first)


def build_range(
    contract: Contract,
    lakehouse: Lakehouse,
    raw: Sequence[Partition],
    wanted: PartitionRange,
    split: Split,
    *,
    launch_id: str,
    as_of: datetime,
    sizes: Sizes | None = None,
    progress: Callable[[str], None] = print,
) -> FeatureSet:
    """As of `features.build`; sizes: limits of one task."""
    needed = [p for p in raw if partition_start(p.value, wanted.period) < wanted.end] or raw
    work = _Work(contract, lakehouse, needed, launch_id, as_of, sizes or Sizes(), progress)
    files = work.written({RANGE: (wanted.start, wanted.end)})
    rows = counted(files[RANGE].rows, "claim")
    progress(f"{contract.name}: {rows} from {wanted.first} to {wanted.last}")
    return feature_set_of(contract, split, files)


class _Work:
    """One build: what it is of, and where it writes."""

    def __init__(
        self,
        contract: Contract,
        lakehouse: Lakehouse,
        raw: Sequence[Partition],
        launch_id: str,
        as_of: datetime,
        sizes: Sizes,
        progress: Callable[[str], None],
    ) -> None:
        self.contract, self.lakehouse, self.raw = contract, lakehouse, raw
        self.launch_id, self.as_of, self.sizes = launch_id, as_of, sizes
        self.progress = progress
        schema = raw_schema(contract)
        derived = entity_feature_names(contract)
        layout = feature_schema(schema, contract, derived)
        self.layout = Layout(contract, schema, layout, sizes.piece)
        self.calendar = Calendar.of(contract, lakehouse, raw, as_of)
        self.folder = lakehouse.uri(ZONE, contract.name, launch_id)
        self.metadata = {
            "dataset": contract.name,
            "contract_version": str(contract.version),
            "launch_id": launch_id,
        }

    def written(self, spans: Spans) -> dict[str, FeatureFile]:
        """A file, or several parts, for each of the windows."""
        found: dict[str, Facts] = {}
        if len(self.calendar):
            self.progress(f"{self.contract.name}: {counted(len(self.calendar), 'claim')}, on Spark")
            scratch = self.lakehouse.uri(SCRATCH, f"{self.contract.name}-{self.launch_id}-features")
            with spark_session() as spark:
                found = deliver(self._pieces(spark, spans), scratch, self._address)
            require_unchanged(self.lakehouse, self.raw)
        zone = self.lakehouse.uri(ZONE, self.contract.name)
        remove_old(zone, keep=self.launch_id, progress=self.progress)
        return {name: self._file(name, found) for name in spans}

    def _pieces(self, spark: SparkSession, spans: Spans) -> DataFrame:
        from pyspark.sql import functions as F  # noqa: N812

        contract, names = self.contract, positions(self.layout.raw)
        uris = [partition.uri for partition in self.raw if partition.rows]
        frame = claims(spark, contract, self.layout.raw, uris, self.as_of)
        own = {"id": F.col(names[CLAIM_ID]), "at": F.col(names[EVENT_TIME]), "kind": F.lit(0)}
        rows = frame.withColumns(own)
        if contract.entities:
            packed = packed_histories(contract, frame, names, self.calendar, self.sizes)
            rows = rows.unionByName(packed, allowMissingColumns=True)
        rows = rows.withColumn("part", F.explode(_parts(contract, spans)))
        tasks = tasks_for(len(self.raw) + len(spans), len(self.calendar))
        spread = rows.repartition(tasks, "part").sortWithinPartitions("part", "at", "id", "kind")
        return spread.mapInArrow(_encoder(self.layout, self.metadata), PIECES)

    def _address(self, part: str) -> str:
        return f"{self.folder}/{part}.parquet"

    def _file(self, window: str, found: Mapping[str, Facts]) -> FeatureFile:
        parts = [part for part in sorted(found) if part.partition("-")[0] == window]
        if not parts:
            return self._empty(window)
        files = tuple(
            FeatureFile(uri=self._address(part), **found[part].model_dump()) for part in parts
        )
        versions = ",".join(file.data_version for file in files)
        return FeatureFile(
            uri=self.folder,
            rows=sum(file.rows for file in files),
            bytes=sum(file.bytes for file in files),
            labelled=sum(file.labelled for file in files),
            frauds=sum(file.frauds for file in files),
            data_version=hashlib.sha256(versions.encode()).hexdigest()[:32],
            parts=files,
        )

    def _empty(self, window: str) -> FeatureFile:
        uri = self._address(window)
        with ContentWriter(uri, self.layout.schema, self.metadata) as writer:
            pass
        return FeatureFile(
            uri=uri, rows=0, bytes=writer.bytes, labelled=0, frauds=0,
            data_version=writer.data_version,
        )  # fmt: skip


def _parts(contract: Contract, spans: Spans) -> Column:
    """The parts that a claim belongs to: `oot-2024-10`. A window may begin before another ends."""
    from pyspark.sql import functions as F  # noqa: N812

    at, value = F.col("at"), partition_value(F.col("at"), contract.partition)
    found = []
    for name, (start, end) in spans.items():
        inside = at.between(microseconds(start), microseconds(end) - 1)
        found.append(F.when(inside, F.concat(F.lit(f"{name}-"), value)))
    return F.array_compact(F.array(*found))


def _encoder(
    layout: Layout, metadata: Mapping[str, str]
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def encode(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for part, group in groupby(stitched(batches, layout), key=itemgetter(0)):
            claims = (batch for _, batch in group)
            yield from encoded(part, claims, layout.schema, metadata)

    return encode
