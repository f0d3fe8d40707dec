"""Erasure from files that are not partitions: quarantine, predictions, reports, sources, ..."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fraud_mlops.contract import CLAIM_ID, FileSource
from fraud_mlops.errors import SourceError
from fraud_mlops.lakehouse.content import ContentWriter
from fraud_mlops.lakehouse.parquet import open_parquet, user_metadata
from fraud_mlops.lakehouse.partitions import Lakehouse
from fraud_mlops.lakehouse.stores import (
    again,
    atomic_writer,
    delete,
    list_files,
    open_input,
    read_bytes,
    tag_of,
    write_bytes,
)
from fraud_mlops.maintenance.erasure import Erased, Person

_PREDICTIONS = "prediction_log"
_READERS = 16
_MASK = "***"
_DATA = re.compile(r"([A-Za-z0-9+/]{64,}={0,2})")
"""What is base 64, most likely: a picture, or a card's content."""

_PLACES = frozenset({"uri", "path"})
"""Entries of a record by which a file is found, and that say nothing of who is in it."""


def erase_quarantine(lakehouse: Lakehouse, person: Person, *, dry: bool) -> Iterator[Erased]:
    """Bad rows are kept whole, under the names that their source gave the columns."""
    folder = lakehouse.uri("quarantine", person.contract.name)
    for file in list_files(folder):
        uri = f"{folder}/{file.path}"
        with open_input(uri) as stream:
            table, tag = pq.read_table(stream), tag_of(stream)
        keep = [not _is_of(person, row) for row in table["record"].to_pylist()]
        if rows := keep.count(False):
            if not dry:
                _replace(uri, table.filter(pa.array(keep, pa.bool_())), tag)
            yield Erased("quarantine", uri, rows)


def _is_of(person: Person, text: str) -> bool:
    """By the entity, by the claim, or, in a line that could not be split, by the value's sight."""
    record = json.loads(text)
    if "line" in record and len(record) == 1:
        return bool(_words([person.value]).search(str(record["line"])))
    contract = person.contract
    if str(record.get(contract.entities[person.entity])).strip() == person.value:
        return True
    return contract.claim_id is not None and str(record.get(contract.claim_id)) in person.claim_ids


def _replace(uri: str, table: pa.Table, tag: str) -> None:
    if not table.num_rows:
        delete(uri)
        return
    with atomic_writer(uri, replacing=tag or None) as stream:
        pq.write_table(table, stream, compression="zstd")


def erase_predictions(lakehouse: Lakehouse, person: Person, *, dry: bool) -> Iterator[Erased]:
    """What the API has answered on the person's claims. It logs no entities, so that answers on
    claims without an id, or that raw never had, are nobody's."""
    folder = lakehouse.uri(_PREDICTIONS, person.contract.name)
    ids = pa.array(sorted(person.claim_ids), pa.string())
    if not len(ids):
        return
    uris = [f"{folder}/{f.path}" for f in list_files(folder) if f.path.endswith(".parquet")]

    def count(uri: str) -> int:
        def look() -> int:
            with open_parquet(uri) as (parquet, _):
                column = parquet.read(columns=[CLAIM_ID])[CLAIM_ID]
            return int(pc.sum(pc.is_in(column, value_set=ids)).as_py() or 0)

        return again(uri, look)

    with ThreadPoolExecutor(_READERS) as pool:  # a file a minute of each process of the API
        counts = list(pool.map(count, uris))
    for uri, rows in zip(uris, counts, strict=True):
        if rows:
            if not dry:
                again(uri, partial(_without_claims, uri, ids))
            yield Erased("predictions", uri, rows)


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


def erase_texts(lakehouse: Lakehouse, person: Person, *, dry: bool) -> Iterator[Erased]:
    """The value and the claim ids masked in reports, exported cards and records of bad files.

    A card whose content is encoded goes as a whole; Metaflow still has it.
    """
    words = _words([person.value, *person.claim_ids])
    aside = f"_landing/{person.contract.name}/aside"
    for place, name in (("reports", "_reports"), ("set aside", aside)):
        for file in list_files(lakehouse.uri(name)):
            uri = lakehouse.uri(name, file.path)
            masked, times = _masked(file.path, read_bytes(uri), words)
            if times:
                if not dry and masked is None:
                    delete(uri)
                elif not dry and masked is not None:
                    write_bytes(uri, masked)
                yield Erased(place, uri, times)


def _words(values: Sequence[str]) -> re.Pattern[str]:
    """Whole words: `C1` is not in `C12`."""
    longest_first = sorted(values, key=len, reverse=True)
    return re.compile(rf"(?<![\w-])(?:{'|'.join(map(re.escape, longest_first))})(?![\w-])")


def _masked(name: str, data: bytes, words: re.Pattern[str]) -> tuple[bytes | None, int]:
    """The file without the words, and how often they were there; no file where they cannot go."""
    if name.endswith(".json"):
        found, times = _masked_json(json.loads(data), words)
        return json.dumps(found, indent=1).encode() + b"\n", times
    if name.endswith(".html"):
        page = data.decode("utf-8", "replace")
        if times := sum(len(words.findall(text)) for text in _encoded(page)):
            return None, times
        parts = _DATA.split(page)
        masked = [words.subn(_MASK, part) for part in parts]
        kept = [part if i % 2 else masked[i][0] for i, part in enumerate(parts)]
        return "".join(kept).encode(), sum(times for _, times in masked[::2])
    return data, 0


def _encoded(page: str) -> Iterator[str]:
    """Texts that a page carries in base 64, as Metaflow's cards do."""
    for blob in _DATA.findall(page):
        with suppress(ValueError):
            yield base64.b64decode(blob, validate=True).decode()


def _masked_json(value: Any, words: re.Pattern[str]) -> tuple[Any, int]:
    if isinstance(value, str):
        return words.subn(_MASK, value)
    if isinstance(value, list):
        masked = [_masked_json(item, words) for item in value]
        return [item for item, _ in masked], sum(times for _, times in masked)
    if isinstance(value, dict):
        found = {k: (v, 0) if k in _PLACES else _masked_json(v, words) for k, v in value.items()}
        return {k: item for k, (item, _) in found.items()}, sum(t for _, t in found.values())
    return value, 0


def find_in_sources(person: Person) -> Iterator[Erased]:
    """What the contract's files still hold: they belong to whoever delivers them."""
    from fraud_mlops.claims.reading import open_source
    from fraud_mlops.claims.values import text

    contract = person.contract
    if not isinstance(contract.source, FileSource):
        return
    left = "belongs to who delivers it: erased there, or the next ingest brings it back"
    counts: dict[str, int] = {}
    try:
        source = open_source(contract)
        column = contract.entities[person.entity]
        for chunk in source.chunks([column]):
            values = text(chunk[column]).to_pylist()
            rows = sum(value is not None and value.strip() == person.value for value in values)
            counts[chunk.file.name] = counts.get(chunk.file.name, 0) + rows
    except SourceError as error:
        yield Erased("source", contract.source.uri, 0, f"could not be looked into: {error}")
        return
    for name, rows in counts.items():
        if rows:
            yield Erased("source", name, rows, left)
