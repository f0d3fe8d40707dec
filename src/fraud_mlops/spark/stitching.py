"""Claims and their entities' features, put together again in a task, in order of time.

Rows come sorted by part, event time, claim id and kind: a claim (kind 0), then the packed features
of each entity that it names. So a claim is whole as soon as the next one begins, and a task holds
one batch whatever the number of claims.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fraud_mlops.contract import CLAIM_ID, Contract
from fraud_mlops.errors import LakehouseError
from fraud_mlops.features.windows import feature_names
from fraud_mlops.spark.claims import positions


@dataclass(frozen=True)
class Layout:
    """raw: columns of the claims; schema: of what is written, entity features among them.

    piece: rows of all kinds that are put together at a time.
    """

    contract: Contract
    raw: pa.Schema
    schema: pa.Schema
    piece: int


def stitched(
    batches: Iterable[pa.RecordBatch], layout: Layout
) -> Iterator[tuple[str, pa.RecordBatch]]:
    """The part, and claims of it with all their columns; see the module for what comes in.

    Raises LakehouseError when a claim stands there twice, or lacks what an entity of it has done.
    """
    for table in _whole_claims(batches, layout.piece):
        claims = _claims(table, layout)
        parts = table.filter(pa.array(_kinds(table) == 0)).column("part").combine_chunks()
        yield from cut(parts, claims)


def cut(parts: pa.Array, claims: pa.RecordBatch) -> Iterator[tuple[str, pa.RecordBatch]]:
    """Claims where the part of them changes; parts: of each claim, those of one together."""
    if not len(parts):
        return
    codes = parts.dictionary_encode()
    indices = codes.indices.to_numpy(zero_copy_only=False)
    edges = [0, *(np.flatnonzero(np.diff(indices)) + 1).tolist(), len(indices)]
    for low, high in pairwise(edges):
        yield codes.dictionary[int(indices[low])].as_py(), claims.slice(low, high - low)


def _whole_claims(batches: Iterable[pa.RecordBatch], piece: int) -> Iterator[pa.Table]:
    """The rows in pieces, none of which ends within a claim."""
    waiting: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        waiting.append(batch)
        rows += batch.num_rows
        if rows < piece:
            continue
        table = pa.Table.from_batches(waiting)
        last = int(np.flatnonzero(_kinds(table) == 0)[-1])  # the next batch may have more of it
        if last:
            yield table.slice(0, last).combine_chunks()
        waiting = table.slice(last).to_batches()
        rows -= last
    if rows:
        yield pa.Table.from_batches(waiting).combine_chunks()


def _kinds(table: pa.Table) -> npt.NDArray[np.int32]:
    return np.asarray(table.column("kind").to_numpy(zero_copy_only=False))


def _claims(table: pa.Table, layout: Layout) -> pa.RecordBatch:
    kinds = _kinds(table)
    claim = np.cumsum(kinds == 0) - 1  # which claim a row belongs to
    own = table.filter(pa.array(kinds == 0))
    derived: dict[str, npt.NDArray[np.float32]] = {}
    names = positions(layout.raw)
    for kind, entity in enumerate(layout.contract.entities, 1):
        at = np.flatnonzero(kinds == kind)
        features = feature_names(layout.contract, entity)
        matrix = np.full((own.num_rows, len(features)), np.nan, dtype=np.float32)
        named = own.column(names[entity])
        _check(layout, own, claim[at], named, entity)
        matrix[claim[at]] = _unpacked(table.column("packed").take(pa.array(at)), len(features))
        derived |= {name: matrix[:, j] for j, name in enumerate(features)}
    return _record(own, names, derived, layout.schema)


def _check(
    layout: Layout, own: pa.Table, claim: npt.NDArray[np.int64], named: pa.ChunkedArray, entity: str
) -> None:
    if len(claim) == len(named) - named.null_count and (np.diff(claim) > 0).all():
        return
    ids = own.column(positions(layout.raw)[CLAIM_ID])
    twice = np.flatnonzero(np.diff(claim) == 0)
    if len(twice):
        raise LakehouseError(
            f"{layout.contract.name}: claim {ids[int(claim[twice[0]])]} stands more than once in "
            "the raw zone; ingest its partitions again"
        )
    raise LakehouseError(f"{layout.contract.name}: histories of {entity} are missing; run again")


def _unpacked(packed: pa.ChunkedArray, width: int) -> npt.NDArray[np.float32]:
    values = packed.combine_chunks().cast(pa.binary())
    rows = len(values)
    if not rows:
        return np.empty((0, width), dtype=np.float32)
    first = int(np.frombuffer(values.buffers()[1], np.int32)[values.offset])
    flat = np.frombuffer(values.buffers()[2], dtype="<f4", count=rows * width, offset=first)
    return flat.reshape(rows, width)


def _record(
    own: pa.Table,
    names: Mapping[str, str],
    derived: Mapping[str, npt.NDArray[np.float32]],
    schema: pa.Schema,
) -> pa.RecordBatch:
    columns = [
        pa.array(derived[field.name], from_pandas=True)
        if field.name in derived
        else own.column(names[field.name]).combine_chunks().cast(field.type)
        for field in schema
    ]
    return pa.record_batch(columns, schema=schema)
