"""One person's claims erased from everything a lakehouse keeps of a dataset.

Erased is where an entity has a value: whole rows of raw, and by their claim ids what was made of
them. The raw rows go when those are done, partition by partition: a run that was killed is begun
again, and finds by what is left of them what is left to do. A second run finds nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import ValidationError

from fraud_mlops.claims.raw_zone import TRUTH_ZONE
from fraud_mlops.contract import AMOUNT, CLAIM_ID, EVENT_TIME, Contract
from fraud_mlops.errors import LakehouseError, SettingsError, StoreError
from fraud_mlops.lakehouse.parquet import open_parquet, parquet_files
from fraud_mlops.lakehouse.partitions import Lakehouse, Listed, Partition
from fraud_mlops.lakehouse.stores import atomic_writer, delete, list_files, tag_of
from fraud_mlops.maintenance.erased import Erased, one_by_one
from fraud_mlops.serving.entity_state import ZONE as STATE

_RAW, _SCORES, _FEATURES, _METRICS = "raw", "ml_outputs", "features", "metrics"
_WAITS = "stays until what could not be looked into is mended: its claim ids are needed there"


@dataclass(frozen=True)
class Person:
    """contract: the newest that raw was written under. claims: rows of raw, as many as are left,
    of the partitions that can be read. more: ids of claims that raw does not have."""

    contract: Contract
    entity: str
    value: str
    claims: pa.Table
    more: frozenset[str] = frozenset()

    @property
    def claim_ids(self) -> frozenset[str]:
        return self.more.union(self.claims[CLAIM_ID].to_pylist())

    @property
    def shared(self) -> list[str]:
        """Columns of raw that a model's sample has too."""
        contract = self.contract
        own = [AMOUNT] if contract.amount else []
        return [*own, *(contract.numeric or ()), *(contract.categorical or ())]

    @property
    def slices(self) -> list[str]:
        """As metrics name the claims of a category, where the entity is one too."""
        return [f"{feature}={self.value}" for feature in self.contract.categorical or ()]


def find_person(
    lakehouse: Lakehouse, dataset: str, entity: str, value: str, claims: Sequence[str] = ()
) -> Person:
    """Reads raw for the claims; a partition that cannot be read is passed over.

    claims: ids of more, which raw does not have. Raises LakehouseError for a zone without a
    partition that can be read, SettingsError for an entity that the contract does not have, or a
    claim of somebody else.
    """
    partitions = _readable(lakehouse, dataset)
    contract = _contract(lakehouse, partitions)
    if entity not in contract.entities:
        known = ", ".join(contract.entities) or "none"
        raise SettingsError(f"{dataset}: has no entity {entity!r}; its entities are {known}")
    _require_theirs(lakehouse, partitions, entity, value, claims)
    person = Person(
        contract, entity, value, pa.table({CLAIM_ID: pa.array([], pa.string())}), frozenset(claims)
    )
    tables = [t for partition in partitions for t in _claims(lakehouse, person, partition)]
    if tables:
        person = replace(person, claims=pa.concat_tables(tables, promote_options="permissive"))
    return person


def _claims(lakehouse: Lakehouse, person: Person, partition: Partition) -> list[pa.Table]:
    there = _columns(partition.uri)
    if person.entity not in there:
        return []
    columns = [n for n in dict.fromkeys([CLAIM_ID, EVENT_TIME, *person.shared]) if n in there]
    where = [(person.entity, "=", person.value)]
    try:
        found = list(lakehouse.batches([partition], columns, where=where))
    except StoreError:
        raise
    except (pa.ArrowException, OSError):  # damaged behind a good footer: erasing from it will say
        return []
    return [pa.Table.from_batches([batch]) for batch in found]


def _readable(lakehouse: Lakehouse, dataset: str) -> list[Partition]:
    listed, found, why = lakehouse.listed(_RAW, dataset), [], ""
    for one in listed:
        try:
            found.append(lakehouse.partition(_RAW, dataset, one.key, one.value))
        except StoreError:
            raise
        except LakehouseError as error:
            why = f"; {error}"
    if not found:
        place = lakehouse.uri(_RAW, dataset)
        raise LakehouseError(f"{place}: holds no claims{' that can be read' * bool(why)}{why}")
    return found


def _require_theirs(
    lakehouse: Lakehouse,
    partitions: list[Partition],
    entity: str,
    value: str,
    claims: Sequence[str],
) -> None:
    for partition in partitions if claims else ():
        columns = [n for n in (CLAIM_ID, entity) if n in _columns(partition.uri)]
        for batch in lakehouse.batches([partition], columns, where=[(CLAIM_ID, "in", claims)]):
            for row in batch.to_pylist():
                if row.get(entity) != value:
                    raise SettingsError(
                        f"{partition.uri}: claim {row[CLAIM_ID]!r} is not of this {entity}; "
                        "nothing was erased"
                    )


def _contract(lakehouse: Lakehouse, partitions: list[Partition]) -> Contract:
    told = lakehouse.metadata(partitions[-1]).get("contract", "")
    try:
        return Contract.model_validate_json(told)
    except ValidationError:
        raise LakehouseError(
            f"{partitions[-1].uri}: does not say which contract it was written under; ingest it "
            "again first"
        ) from None


def _columns(uri: str) -> set[str]:
    with open_parquet(uri) as (parquet, _):
        return set(parquet.schema_arrow.names)


def erase_raw(
    lakehouse: Lakehouse, person: Person, before: Sequence[Erased], *, dry: bool
) -> Iterator[Erased]:
    """To be done when all is gone that is found by the claims.

    before: what has been found of that. Where an object could not be looked into, the claims that
    may be in it stay, so that the next run finds them there: those of the same partition, or all.
    """
    waits_for = [e.uri for e in before if e.unread]
    scores = lakehouse.uri(_SCORES, person.contract.name)
    named = {uri.split("/")[-2] for uri in waits_for if uri.startswith(f"{scores}/")}
    waits = any(not uri.startswith(f"{scores}/") for uri in waits_for)

    def stays(listed: Listed) -> bool:
        return waits or f"{listed.key}={listed.value}" in named

    zone = lakehouse.listed(_RAW, person.contract.name)
    own = person.entity, [person.value]
    held = [listed for listed in zone if stays(listed)]
    yield from (
        found if found.unread else found._replace(left=_WAITS)
        for found in _erase_rows(lakehouse, person, _RAW, *own, held, dry=True)
    )
    free = [listed for listed in zone if not stays(listed)]
    yield from _erase_rows(lakehouse, person, _RAW, *own, free, dry=dry)


def erase_entity_state(lakehouse: Lakehouse, person: Person, *, dry: bool) -> Iterator[Erased]:
    """After raw, which it is made of: a scoring flow that goes on meanwhile brings nobody back."""
    listed = lakehouse.listed(STATE, person.contract.name)
    yield from _erase_rows(lakehouse, person, STATE, person.entity, [person.value], listed, dry=dry)


def erase_slices(lakehouse: Lakehouse, person: Person, *, dry: bool) -> Iterator[Erased]:
    """Metrics are of many claims; but an entity may be a category too, and name a slice."""
    listed = lakehouse.listed(_METRICS, person.contract.name)
    return _erase_rows(lakehouse, person, _METRICS, "slice", person.slices, listed, dry=dry)


def erase_scores(lakehouse: Lakehouse, person: Person, *, dry: bool) -> Iterator[Erased]:
    if ids := sorted(person.claim_ids):
        listed = lakehouse.listed(_SCORES, person.contract.name)
        yield from _erase_rows(lakehouse, person, _SCORES, CLAIM_ID, ids, listed, dry=dry)


def _erase_rows(
    lakehouse: Lakehouse,
    person: Person,
    zone: str,
    column: str,
    values: list[str],
    listed: Sequence[Listed],
    *,
    dry: bool,
) -> Iterator[Erased]:
    gone = pa.array(values, pa.string())
    by_uri = {one.uri: one for one in listed}

    def without(batch: pa.RecordBatch) -> pa.RecordBatch:
        return batch.filter(pc.invert(pc.is_in(batch.column(column), value_set=gone)))

    def erase(uri: str) -> int:
        one = by_uri[uri]
        partition = lakehouse.partition(zone, person.contract.name, one.key, one.value)
        if column not in _columns(uri):
            return 0
        found = lakehouse.batches([partition], [column], where=[(column, "in", values)])
        rows: int = sum(batch.num_rows for batch in found)
        if rows and not dry:
            lakehouse.rewrite(partition, without)
        return rows

    return one_by_one(zone, by_uri, erase)


def erase_features(lakehouse: Lakehouse, person: Person, *, dry: bool) -> Iterator[Erased]:
    """Feature sets are of a run and its resumption: one with such a claim goes as a whole."""
    folder = lakehouse.uri(_FEATURES, person.contract.name)
    ids = pa.array(sorted(person.claim_ids), pa.string())
    if not len(ids):
        return
    paths = [f.path for f in list_files(folder) if f.path.endswith(".parquet")]
    for launch in dict.fromkeys(path.partition("/")[0] for path in paths):
        own = [f"{folder}/{path}" for path in paths if path.startswith(f"{launch}/")]
        looked = list(one_by_one(_FEATURES, own, partial(_count, ids)))
        if rows := sum(found.rows for found in looked):
            if not dry:
                delete(f"{folder}/{launch}")
            yield Erased(_FEATURES, f"{folder}/{launch}", rows)
        else:
            yield from looked


def _count(ids: pa.Array, uri: str) -> int:
    """Rows of a file with one of the claims."""
    found = 0
    with open_parquet(uri) as (parquet, _):
        for batch in parquet.iter_batches(columns=[CLAIM_ID]):
            found += pc.sum(pc.is_in(batch[CLAIM_ID], value_set=ids)).as_py() or 0
    return found


def erase_truth(lakehouse: Lakehouse, person: Person, *, dry: bool) -> Iterator[Erased]:
    """True fraud probabilities of generated claims. A file that is left without a row stays: raw
    partitions name it."""
    folder = lakehouse.uri(TRUTH_ZONE, person.contract.name)
    ids = pa.array(sorted(person.claim_ids), pa.string())
    if not len(ids):
        return iter(())

    def erase(uri: str) -> int:
        if (rows := _count(ids, uri)) and not dry:
            _without(ids, uri)
        return rows

    return one_by_one(TRUTH_ZONE, parquet_files(folder), erase)


def _without(ids: pa.Array, uri: str) -> None:
    with open_parquet(uri) as (parquet, stream):
        tag = tag_of(stream) or None
        with (
            atomic_writer(uri, replacing=tag) as target,
            pq.ParquetWriter(target, parquet.schema_arrow, compression="zstd") as writer,
        ):
            for batch in parquet.iter_batches():
                writer.write_batch(
                    batch.filter(pc.invert(pc.is_in(batch[CLAIM_ID], value_set=ids)))
                )
