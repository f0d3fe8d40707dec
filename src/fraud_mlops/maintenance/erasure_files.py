"""Erasure from files that are not partitions: quarantine, predictions, sources."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fraud_mlops.claims.values import code, codes
from fraud_mlops.contract import CLAIM_ID
from fraud_mlops.errors import SourceError
from fraud_mlops.lakehouse.content import ContentWriter
from fraud_mlops.lakehouse.parquet import open_parquet, parquet_files, user_metadata
from fraud_mlops.lakehouse.partitions import Lakehouse
from fraud_mlops.lakehouse.stores import (
    again,
    atomic_writer,
    delete,
    list_files,
    open_input,
    tag_of,
)
from fraud_mlops.maintenance.erased import Erased, one_by_one
from fraud_mlops.maintenance.erasure import Person
from fraud_mlops.maintenance.erasure_texts import as_words
from fraud_mlops.sources import FileSource

_READERS = 16


def erase_quarantine(lakehouse: Lakehouse, person: Person, *, dry: bool) -> Iterator[Erased]:
    """Bad rows are kept whole, under the names that their source gave the columns."""
    folder = lakehouse.uri("quarantine", person.contract.name)
    # Raw of an earlier release may have 17.0 where ingestion reads 17 now.
    ids = frozenset(codes(pa.array(sorted(person.claim_ids), pa.string())).to_pylist())

    def erase(uri: str) -> int:
        with open_input(uri) as stream:
            table, tag = pq.read_table(stream), tag_of(stream)
        keep = [not _is_of(person, ids, row) for row in table["record"].to_pylist()]
        if (rows := keep.count(False)) and not dry:
            _replace(uri, table.filter(pa.array(keep, pa.bool_())), tag)
        return rows

    yield from one_by_one("quarantine", [f"{folder}/{f.path}" for f in list_files(folder)], erase)


def _is_of(person: Person, claim_ids: frozenset[str], text: str) -> bool:
    """By the entity, by the claim, or, in a line that could not be split, by the value's sight.

    claim_ids: as ingestion reads them.
    """
    record = json.loads(text)
    if "line" in record and len(record) == 1:
        return bool(as_words([person.value, str(code(person.value))]).search(str(record["line"])))
    contract = person.contract
    if code(record.get(contract.entities[person.entity])) == code(person.value):
        return True
    return contract.claim_id is not None and code(record.get(contract.claim_id)) in claim_ids


def _replace(uri: str, table: pa.Table, tag: str) -> None:
    if not table.num_rows:
        delete(uri)
        return
    with atomic_writer(uri, replacing=tag or None) as stream:
        pq.write_table(table, stream, compression="zstd")


def erase_predictions(lakehouse: Lakehouse, person: Person, *, dry: bool) -> Iterator[Erased]:
    """What the API has answered on the person's claims. It logs no entities, so that answers on
    claims without an id, or that raw never had, are nobody's."""
    folder = lakehouse.uri("prediction_log", person.contract.name)
    ids = pa.array(sorted(person.claim_ids), pa.string())
    if not len(ids):
        return
    uris = parquet_files(folder)

    def count(uri: str) -> int:
        with open_parquet(uri) as (parquet, _):
            column = parquet.read(columns=[CLAIM_ID])[CLAIM_ID]
        return int(pc.sum(pc.is_in(column, value_set=ids)).as_py() or 0)

    def look(uri: str) -> list[Erased]:
        return list(one_by_one("predictions", [uri], lambda uri: again(uri, partial(count, uri))))

    with ThreadPoolExecutor(_READERS) as pool:  # a file a minute of each process of the API
        looked = [found for part in pool.map(look, uris) for found in part]
    for found in looked:
        if found.rows and not dry:
            again(found.uri, partial(_without_claims, found.uri, ids))
        yield found


def _without_claims(uri: str, ids: pa.Array) -> None:
    with open_parquet(uri) as (parquet, stream):
        table, told, tag = parquet.read(), user_metadata(parquet), tag_of(stream)
    table = table.filter(pc.invert(pc.is_in(table[CLAIM_ID], value_set=ids)))
    if not table.num_rows:
        delete(uri)
        return
    with ContentWriter(uri, table.schema, told, replacing=tag or None) as writer:
        for batch in table.to_batches():
            writer.write(batch)


def find_in_sources(person: Person) -> Iterator[Erased]:
    """What the contract's files still hold: they belong to whoever delivers them."""
    from fraud_mlops.claims.reading import open_source

    contract, wanted = person.contract, code(person.value)
    if not isinstance(contract.source, FileSource):
        return
    left = "belongs to who delivers it: erased there, or the next ingest brings it back"
    counts: dict[str, int] = {}
    try:
        source = open_source(contract)
        column = contract.entities[person.entity]
        for chunk in source.chunks([column]):
            rows = int(pc.sum(pc.equal(codes(chunk[column]), wanted)).as_py() or 0)
            counts[chunk.file.name] = counts.get(chunk.file.name, 0) + rows
    except SourceError as error:
        yield Erased("source", contract.source.uri, 0, f"could not be looked into: {error}")
        return
    for name, rows in counts.items():
        if rows:
            yield Erased("source", name, rows, left)
