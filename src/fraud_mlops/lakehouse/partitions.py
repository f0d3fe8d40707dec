"""Zones of partitions: one Parquet object each, streamed, replaced atomically, pinned by content.

Layout: `<root>/<zone>/<dataset>/<key>=<value>/part-0.parquet`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import groupby, pairwise
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict

from fraud_mlops.errors import LakehouseError
from fraud_mlops.lakehouse.content import DATA_VERSION, ContentWriter, content_hash
from fraud_mlops.lakehouse.stores import exists, join, list_children, open_input, size

Period = Literal["day", "week", "month"]
PART = "part-0.parquet"
BATCH_ROWS = 1 << 17


class Partition(BaseModel):
    """One partition as it was when written or listed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    zone: str
    dataset: str
    key: str
    value: str
    uri: str
    rows: int
    bytes: int
    data_version: str
    """Hash of the content: the same rows in the same order give the same version."""


def partition_value(times: pa.ChunkedArray | pa.Array, by: Period) -> pa.Array:
    """The partition of each event time (UTC): `2024-01-31`, a week's Monday, or `2024-01`."""
    if by == "week":
        times = pc.floor_temporal(times, unit="week", week_starts_monday=True)
    return pc.strftime(times, format="%Y-%m" if by == "month" else "%Y-%m-%d").cast(pa.string())


def by_partition(
    batches: Iterable[pa.RecordBatch], time_column: str, period: Period
) -> Iterator[tuple[str, pa.RecordBatch]]:
    """Batches in order of time, cut where a new partition begins."""
    for batch in batches:
        if not batch.num_rows:
            continue
        values = pc.dictionary_encode(partition_value(batch.column(time_column), period))
        codes = values.indices.to_numpy(zero_copy_only=False)
        edges = [0, *(np.flatnonzero(np.diff(codes)) + 1).tolist(), len(codes)]
        for low, high in pairwise(edges):
            value = values.dictionary[int(codes[low])].as_py()
            yield value, batch.slice(low, high - low)


class Lakehouse:
    """The zones under one root, on any store that fsspec opens."""

    def __init__(self, root: str) -> None:
        self.root = root.rstrip("/") or "/"

    def uri(self, *parts: str) -> str:
        return join(self.root, *parts)

    def write(
        self,
        zone: str,
        dataset: str,
        key: str,
        value: str,
        batches: Iterable[pa.RecordBatch],
        schema: pa.Schema,
        metadata: Mapping[str, str] | None = None,
    ) -> Partition:
        """Streams `batches` into one partition, which replaces what stood there.

        metadata: run pathspec, contract version and the like; no part of the data version.
        """
        uri = self.uri(zone, dataset, f"{key}={value}", PART)
        with ContentWriter(uri, schema, metadata or {}) as writer:
            for batch in batches:
                writer.write(batch)
        return Partition(
            zone=zone, dataset=dataset, key=key, value=value, uri=uri,
            rows=writer.rows, bytes=writer.bytes, data_version=writer.data_version,
        )  # fmt: skip

    def write_sorted(
        self,
        zone: str,
        dataset: str,
        key: str,
        values_and_batches: Iterable[tuple[str, pa.RecordBatch]],
        schema: pa.Schema,
        metadata: Mapping[str, str] | None = None,
    ) -> list[Partition]:
        """Partitions from rows that come in order of their partition value.

        One is open at a time, and each is visible only when whole. Raises LakehouseError for
        a value that comes back after another.
        """
        written: dict[str, Partition] = {}
        for value, group in groupby(values_and_batches, key=lambda pair: pair[0]):
            if value in written:
                raise LakehouseError(f"{zone}/{dataset}: rows of {value} are not together")
            batches = (batch for _, batch in group)
            written[value] = self.write(zone, dataset, key, value, batches, schema, metadata)
        return list(written.values())

    def partitions(self, zone: str, dataset: str) -> list[Partition]:
        """What the store holds now, in order of value; nothing for a zone that is empty."""
        folder = self.uri(zone, dataset)
        found = []
        for name in list_children(folder):
            key, sign, value = name.partition("=")
            if sign and exists(join(folder, name, PART)):
                found.append(self.partition(zone, dataset, key, value))
        return found

    def partition(self, zone: str, dataset: str, key: str, value: str) -> Partition:
        """One partition, from its footer. Raises LakehouseError when there is none."""
        uri = self.uri(zone, dataset, f"{key}={value}", PART)
        with _open(uri) as parquet:
            return Partition(
                zone=zone, dataset=dataset, key=key, value=value, uri=uri,
                rows=parquet.metadata.num_rows, bytes=size(uri),
                data_version=_version(uri, parquet),
            )  # fmt: skip

    def metadata(self, partition: Partition) -> dict[str, str]:
        """What the writer said of the partition (run, contract version, ...)."""
        with _open(partition.uri) as parquet:
            stored = parquet.metadata.metadata or {}
        return {k.decode(): v.decode() for k, v in stored.items() if k != b"ARROW:schema"}

    def read(
        self, partitions: Sequence[Partition], columns: Sequence[str] | None = None
    ) -> pa.Table:
        """All rows at once; for tables that fit in memory."""
        tables = []
        for partition in partitions:
            with _pinned(partition) as parquet:
                tables.append(parquet.read(columns=_list(columns)).replace_schema_metadata())
        if not tables:
            raise LakehouseError(f"{self.root}: no partition to read; run ingest first")
        return pa.concat_tables(tables)

    def batches(
        self,
        partitions: Sequence[Partition],
        columns: Sequence[str] | None = None,
        batch_rows: int = BATCH_ROWS,
    ) -> Iterator[pa.RecordBatch]:
        """Rows in the partitions' order, in flat memory."""
        for partition in partitions:
            with _pinned(partition) as parquet:
                yield from parquet.iter_batches(batch_rows, columns=_list(columns))

    def verify(self, partition: Partition) -> None:
        """Reads the object through; LakehouseError when its content is not what it says."""
        with _pinned(partition):
            pass
        with open_input(partition.uri) as stream:
            if content_hash(stream) != partition.data_version:
                raise LakehouseError(
                    f"{partition.uri}: content does not match its data version "
                    f"{partition.data_version}; the file is damaged. Write the partition again."
                )


@contextmanager
def _open(uri: str) -> Iterator[pq.ParquetFile]:
    """A Parquet object on any store, whose absence and damage are told in words."""
    with ExitStack() as stack:
        try:
            stream = stack.enter_context(open_input(uri))
            parquet = pq.ParquetFile(stream, pre_buffer=True)
        except FileNotFoundError:
            raise LakehouseError(f"{uri}: there is no such partition") from None
        except (pa.ArrowException, OSError) as error:
            raise LakehouseError(
                f"{uri}: damaged or truncated Parquet: {error}. Write the partition again."
            ) from None
        yield parquet


@contextmanager
def _pinned(partition: Partition) -> Iterator[pq.ParquetFile]:
    """An object that still is the one that was pinned."""
    with _open(partition.uri) as parquet:
        found = _version(partition.uri, parquet)
        if found != partition.data_version:
            raise LakehouseError(
                f"{partition.uri}: holds data version {found}, this run pinned "
                f"{partition.data_version}: another run has replaced the partition. "
                "Start a new run."
            )
        yield parquet


def _version(uri: str, parquet: pq.ParquetFile) -> str:
    stored = (parquet.metadata.metadata or {}).get(DATA_VERSION.encode())
    if stored is None:
        raise LakehouseError(f"{uri}: carries no data version; it was not written by this project")
    return str(stored.decode())


def _list(columns: Sequence[str] | None) -> list[str] | None:
    return None if columns is None else list(columns)
