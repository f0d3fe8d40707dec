"""Zones of partitions: one Parquet object each, streamed, replaced atomically, pinned by content.

Layout: `<root>/<zone>/<dataset>/<key>=<value>/part-0.parquet`.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import groupby, islice
from typing import BinaryIO, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict

from fraud_mlops.errors import LakehouseError, OvertakenError, ReplacedError, StoreError
from fraud_mlops.lakehouse.addresses import require_root
from fraud_mlops.lakehouse.content import ContentWriter, content_hash
from fraud_mlops.lakehouse.parquet import (
    WRITE_AGAIN,
    Condition,
    batches_of,
    open_parquet,
    stored_version,
    user_metadata,
)
from fraud_mlops.lakehouse.stores import (
    REREADS,
    again,
    is_local,
    join,
    list_files,
    open_input,
    pause,
    tag_of,
)

PART = "part-0.parquet"
BATCH_ROWS = 1 << 17
_READERS = 16
_SEQUENTIAL = 8 << 20


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


class Listed(NamedTuple):
    """One partition as a listing has it. changed: seconds since 1970, by the store's clock."""

    key: str
    value: str
    uri: str
    bytes: int
    changed: float


class Lakehouse:
    """The zones under one root: a folder, ADLS, S3. Raises LakehouseError for another address."""

    def __init__(self, root: str) -> None:
        self.root = require_root(root).rstrip("/") or "/"

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
        *,
        replacing: str | None = None,
    ) -> Partition:
        """Streams `batches` into one partition, which replaces what stood there.

        metadata: run pathspec, contract version and the like; no part of the data version.
        replacing: tag of the object that it takes the place of, or ABSENT. Raises ReplacedError,
        and changes nothing, when another stands there by then.
        """
        uri = self.uri(zone, dataset, f"{key}={value}", PART)
        with ContentWriter(uri, schema, metadata or {}, replacing=replacing) as writer:
            for batch in batches:
                writer.write(batch)
        return Partition(
            zone=zone, dataset=dataset, key=key, value=value, uri=uri,
            rows=writer.rows, bytes=writer.bytes, data_version=writer.data_version,
        )  # fmt: skip

    def rewrite(
        self,
        partition: Partition,
        change: Callable[[pa.RecordBatch], pa.RecordBatch],
        metadata: Mapping[str, str] | None = None,
    ) -> Partition:
        """The partition with its rows changed, under the run and contract that it was written by.

        metadata: more to say of it. Raises LakehouseError, and changes nothing, when another run
        replaces the partition meanwhile.
        """
        with _pinned(partition) as (parquet, stream):
            told = user_metadata(parquet) | dict(metadata or {})
            batches = batches_of(parquet, stream, BATCH_ROWS, None, ())
            return self.write(
                partition.zone, partition.dataset, partition.key, partition.value,
                map(change, batches), parquet.schema_arrow, told, replacing=tag_of(stream) or None,
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

    def listed(self, zone: str, dataset: str) -> list[Listed]:
        """What the store holds now by one listing, in order of value; no object is opened."""
        folder = self.uri(zone, dataset)
        found = []
        for file in list_files(folder):
            name, _, rest = file.path.partition("/")
            key, sign, value = name.partition("=")
            if sign and rest == PART:
                uri = join(folder, name, PART)
                found.append(Listed(key, value, uri, file.bytes, file.changed))
        return sorted(found, key=lambda listed: listed.value)

    def partitions(
        self, zone: str, dataset: str, *, damaged: dict[Listed, LakehouseError] | None = None
    ) -> list[Partition]:
        """What the store holds now, in order of value; nothing for a zone that is empty.

        damaged: takes what is wrong with those without a footer to read, else raised.
        """
        found = self.listed(zone, dataset)

        def look(listed: Listed) -> Partition | None:
            try:
                return self._look(zone, dataset, listed.key, listed.value)
            except FileNotFoundError:  # expired since it was listed
                return None
            except LakehouseError as error:
                if damaged is None or isinstance(error, StoreError):
                    raise
                damaged[listed] = error
                return None

        if is_local(self.root) or len(found) < 2:
            looked = list(map(look, found))
        else:  # each waits for the network
            with ThreadPoolExecutor(min(_READERS, len(found))) as pool:
                looked = list(pool.map(look, found))
        return [partition for partition in looked if partition is not None]

    def partition(self, zone: str, dataset: str, key: str, value: str) -> Partition:
        """One partition, from its footer. Raises LakehouseError when there is none."""
        try:
            return self._look(zone, dataset, key, value)
        except FileNotFoundError:
            uri = self.uri(zone, dataset, f"{key}={value}", PART)
            raise LakehouseError(f"{uri}: there is no such partition") from None

    def _look(self, zone: str, dataset: str, key: str, value: str) -> Partition:
        uri = self.uri(zone, dataset, f"{key}={value}", PART)

        def look() -> Partition:
            with open_parquet(uri) as (parquet, stream):
                return Partition(
                    zone=zone, dataset=dataset, key=key, value=value, uri=uri,
                    rows=parquet.metadata.num_rows, bytes=stream.seek(0, io.SEEK_END),
                    data_version=stored_version(uri, parquet),
                )  # fmt: skip

        return again(uri, look)

    def metadata(self, partition: Partition) -> dict[str, str]:
        """What the writer said of the partition (run, contract version, ...)."""

        def look() -> dict[str, str]:
            with _found(partition.uri) as (parquet, _):
                return user_metadata(parquet)

        return again(partition.uri, look)

    def read(
        self, partitions: Sequence[Partition], columns: Sequence[str] | None = None
    ) -> pa.Table:
        """All rows at once; for tables that fit in memory."""
        if not partitions:
            raise LakehouseError(f"{self.root}: no partition to read; run ingest first")

        def read(partition: Partition) -> pa.Table:
            with _pinned(partition) as (parquet, _):
                return parquet.read(columns=columns and list(columns)).replace_schema_metadata()

        return pa.concat_tables(again(p.uri, partial(read, p)) for p in partitions)

    def batches(
        self,
        partitions: Sequence[Partition],
        columns: Sequence[str] | None = None,
        batch_rows: int = BATCH_ROWS,
        where: Sequence[Condition] = (),
    ) -> Iterator[pa.RecordBatch]:
        """Rows in the partitions' order, in flat memory.

        where: conditions that all hold; row groups that their statistics rule out are not read.
        """
        for partition in partitions:
            done = 0
            for attempt in range(REREADS):
                try:
                    with _pinned(partition) as (parquet, stream):
                        found = batches_of(parquet, stream, batch_rows, columns, where)
                        for batch in islice(found, done, None):
                            done += 1
                            yield batch
                    break
                except ReplacedError:  # by the same content, or _pinned will say
                    if attempt == REREADS - 1:
                        raise
                    pause(attempt)

    def read_verified(self, partition: Partition) -> pa.Table:
        """All of it, for copies that outlive it. Raises LakehouseError likewise."""
        self.verify(partition)
        return self.read([partition])

    def verify(self, partition: Partition) -> None:
        """Reads the object through; LakehouseError when its content is not what it says."""

        def check() -> None:
            with _pinned(partition):
                pass
            with open_input(partition.uri, buffer=_SEQUENTIAL) as stream:
                if content_hash(stream) != partition.data_version:
                    raise LakehouseError(
                        f"{partition.uri}: content does not match its data version "
                        f"{partition.data_version}; the file is damaged. {WRITE_AGAIN}"
                    )

        again(partition.uri, check)


@contextmanager
def _found(uri: str) -> Iterator[tuple[pq.ParquetFile, BinaryIO]]:
    """A Parquet object on any store, whose absence is told in words."""
    try:
        with open_parquet(uri) as opened:
            yield opened
    except FileNotFoundError:
        raise LakehouseError(f"{uri}: there is no such partition") from None


@contextmanager
def _pinned(partition: Partition) -> Iterator[tuple[pq.ParquetFile, BinaryIO]]:
    """An object that still is the one that was pinned."""
    with _found(partition.uri) as (parquet, stream):
        found = stored_version(partition.uri, parquet)
        if found != partition.data_version:
            raise OvertakenError(
                f"{partition.uri}: holds data version {found}, pinned was {partition.data_version}"
                ": another run has replaced the partition. Start a new run."
            )
        yield parquet, stream
