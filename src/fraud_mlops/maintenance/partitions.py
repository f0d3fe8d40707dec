"""Partitions verified against hash and schema, and those cut again whose row groups are poor."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from fraud_mlops.contract import Contract
from fraud_mlops.errors import FraudMlopsError, LakehouseError, ReplacedError, StoreError
from fraud_mlops.lakehouse.content import CODEC, ROW_GROUP
from fraud_mlops.lakehouse.parquet import open_parquet, user_metadata
from fraud_mlops.lakehouse.partitions import Lakehouse, Listed, Partition
from fraud_mlops.lakehouse.stores import again

ZONES = ("raw", "ml_outputs", "metrics")


class Verdict(NamedTuple):
    """wrong: what is the matter with the partition; None for a good one."""

    listed: Listed
    rows: int
    wrong: str | None


class Cut(NamedTuple):
    """How a partition is cut into row groups. codecs: of the compression, as Parquet names them."""

    rows: tuple[int, ...]
    codecs: frozenset[str]

    @property
    def poor(self) -> bool:
        """Not as this version of the writer cuts: too many, too large, or compressed otherwise."""
        total = sum(self.rows)
        full, rest = divmod(total, ROW_GROUP)
        wanted = (*[ROW_GROUP] * full, *([rest] if rest else []))
        return bool(total) and (self.rows != wanted or self.codecs != {CODEC.upper()})


def verify(lakehouse: Lakehouse, zone: str, dataset: str) -> Iterator[Verdict]:
    """Reads every partition through: content against its hash, columns against the zone's."""
    for listed in lakehouse.listed(zone, dataset):
        rows = 0
        try:
            partition = lakehouse.partition(zone, dataset, listed.key, listed.value)
            rows = partition.rows
            lakehouse.verify(partition)
            wrong = _wrong_columns(zone, listed.uri)
        except FraudMlopsError as error:
            wrong = str(error).removeprefix(f"{listed.uri}: ")
        yield Verdict(listed, rows, wrong)


def _wrong_columns(zone: str, uri: str) -> str | None:
    def look() -> str | None:
        with open_parquet(uri) as (parquet, _):
            wanted = _schema(zone, user_metadata(parquet))
            return None if wanted is None else _difference(wanted, parquet.schema_arrow)

    return again(uri, look)


def _schema(zone: str, metadata: dict[str, str]) -> pa.Schema | None:
    """What the zone's writers promise; None for a zone that promises nothing."""
    if zone == "raw":
        from fraud_mlops.claims.schema import raw_schema

        try:
            return raw_schema(Contract.model_validate_json(metadata.get("contract", "")))
        except ValidationError:
            return pa.schema([])
    if zone == "ml_outputs":
        from fraud_mlops.pipeline.outputs import OUTPUTS

        return OUTPUTS
    if zone == "metrics":
        from fraud_mlops.pipeline.metrics import METRICS

        return METRICS
    return None


def _difference(wanted: pa.Schema, found: pa.Schema) -> str | None:
    if not len(wanted):
        return "does not say which contract it was written under; ingest it again"
    there, due = ({f.name: f.type for f in schema} for schema in (found, wanted))
    told = [f"has no column {name!r}" for name in due.keys() - there.keys()]
    told += [f"has a column {name!r} of nobody's" for name in there.keys() - due.keys()]
    told += [
        f"column {name!r} is {there[name]}, and should be {due[name]}"
        for name in due.keys() & there.keys()
        if there[name] != due[name]
    ]
    return "; ".join(sorted(told)) or None


def cut_of(uri: str) -> Cut:
    """From the footer alone."""

    def look() -> Cut:
        with open_parquet(uri) as (parquet, _):
            return _cut(parquet.metadata)

    return again(uri, look)


def _cut(metadata: pq.FileMetaData) -> Cut:
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    codecs = {g.column(i).compression for g in groups for i in range(g.num_columns)}
    return Cut(tuple(g.num_rows for g in groups), frozenset(codecs))


def compact(lakehouse: Lakehouse, partition: Partition) -> Partition:
    """The same rows under the same run, cut as this version of the writer cuts.

    The data version covers the bytes, and so becomes another. Raises LakehouseError, and changes
    nothing, when another run replaces the partition meanwhile.
    """
    return lakehouse.rewrite(partition, lambda batch: batch)


class Compacted(NamedTuple):
    """A partition with poor row groups. groups: before; bytes: after, or as it is where it was not
    cut. wrong: why it is left; None where it is not."""

    listed: Listed
    groups: int
    bytes: int
    wrong: str | None = None


def compact_zone(
    lakehouse: Lakehouse, zone: str, dataset: str, *, dry: bool
) -> Iterator[Compacted]:
    """Poor partitions, cut again. One that is damaged, or replaced meanwhile, stops nothing.

    Raises StoreError when the store itself is out of reach, or refuses.
    """
    for listed in lakehouse.listed(zone, dataset):
        try:
            cut, size = cut_of(listed.uri), listed.bytes
            if not cut.poor:
                continue
            if not dry:
                partition = lakehouse.partition(zone, dataset, listed.key, listed.value)
                size = compact(lakehouse, partition).bytes
        except (LakehouseError, pa.ArrowException, OSError) as error:
            if isinstance(error, StoreError) and not isinstance(error, ReplacedError):
                raise
            told = str(error).removeprefix(f"{listed.uri}: ")
            yield Compacted(listed, 0, listed.bytes, told)
        else:
            yield Compacted(listed, len(cut.rows), size)
