"""One person's claims erased from everything a lakehouse keeps of a dataset.

Erased is where an entity has a value: whole rows of raw, and by their claim ids what was made of
them. The raw rows go when those are done, partition by partition: a run that was killed is begun
again, and finds by what is left of them what is left to do. A second run finds nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import ValidationError

from fraud_mlops.contract import AMOUNT, CLAIM_ID, Contract
from fraud_mlops.errors import LakehouseError, SettingsError
from fraud_mlops.lakehouse.parquet import open_parquet
from fraud_mlops.lakehouse.partitions import Lakehouse, Partition
from fraud_mlops.lakehouse.stores import delete, list_files
from fraud_mlops.serving.entity_state import ZONE as STATE

_RAW, _SCORES, _FEATURES, _METRICS = "raw", "ml_outputs", "features", "metrics"


class Erased(NamedTuple):
    """rows: found. left: why they are still there; empty where they are gone, or would be."""

    place: str
    uri: str
    rows: int
    left: str = ""


@dataclass(frozen=True)
class Person:
    """contract: the newest that raw was written under. claims: rows of raw, as many as are left.
    more: ids of claims that raw does not have."""

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


def find_person(
    lakehouse: Lakehouse, dataset: str, entity: str, value: str, claims: Sequence[str] = ()
) -> Person:
    """Reads raw for the claims.

    claims: ids of more, which raw does not have. Raises LakehouseError for an empty zone,
    SettingsError for an entity that the contract does not have, or a claim of somebody else.
    """
    partitions = lakehouse.partitions(_RAW, dataset)
    if not partitions:
        raise LakehouseError(f"{lakehouse.uri(_RAW, dataset)}: holds no claims")
    contract = _contract(lakehouse, partitions)
    if entity not in contract.entities:
        known = ", ".join(contract.entities) or "none"
        raise SettingsError(f"{dataset}: has no entity {entity!r}; its entities are {known}")
    _require_theirs(lakehouse, partitions, entity, value, claims)
    person = Person(
        contract, entity, value, pa.table({CLAIM_ID: pa.array([], pa.string())}), frozenset(claims)
    )
    wanted = list(dict.fromkeys([CLAIM_ID, *person.shared]))
    tables = []
    for partition in partitions:
        there = _columns(partition)
        if entity in there:
            columns = [name for name in wanted if name in there]
            found = lakehouse.batches([partition], columns, where=[(entity, "=", value)])
            tables += [pa.Table.from_batches([batch]) for batch in found]
    if tables:
        found_claims = pa.concat_tables(tables, promote_options="permissive")
        person = replace(person, claims=found_claims)
    return person


def _require_theirs(
    lakehouse: Lakehouse,
    partitions: list[Partition],
    entity: str,
    value: str,
    claims: Sequence[str],
) -> None:
    for partition in partitions if claims else ():
        columns = [n for n in (CLAIM_ID, entity) if n in _columns(partition)]
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


def _columns(partition: Partition) -> set[str]:
    with open_parquet(partition.uri) as (parquet, _):
        return set(parquet.schema_arrow.names)


def erase_raw(lakehouse: Lakehouse, person: Person, *, dry: bool) -> Iterator[Erased]:
    """To be done when all is gone that is found by the claims."""
    yield from _erase_rows(lakehouse, person, _RAW, person.entity, [person.value], dry=dry)


def erase_entity_state(lakehouse: Lakehouse, person: Person, *, dry: bool) -> Iterator[Erased]:
    """After raw, which it is made of: a scoring flow that goes on meanwhile brings nobody back."""
    yield from _erase_rows(lakehouse, person, STATE, person.entity, [person.value], dry=dry)


def erase_slices(lakehouse: Lakehouse, person: Person, *, dry: bool) -> Iterator[Erased]:
    """Metrics are of many claims; but an entity may be a category too, and name a slice.

    The warehouse follows the metrics zone: its next sync deletes what that has no more.
    """
    named = [f"{feature}={person.value}" for feature in person.contract.categorical or ()]
    rows = 0
    for erased in _erase_rows(lakehouse, person, _METRICS, "slice", named, dry=dry):
        rows += erased.rows
        yield erased
    if rows:
        left = "the next sync takes them out: scripts/sync_metrics_to_snowflake.py"
        yield Erased("warehouse", "the metrics' table, if they are synced", rows, left)


def erase_scores(lakehouse: Lakehouse, person: Person, *, dry: bool) -> Iterator[Erased]:
    ids = sorted(person.claim_ids)
    if ids:
        yield from _erase_rows(lakehouse, person, _SCORES, CLAIM_ID, ids, dry=dry)


def _erase_rows(
    lakehouse: Lakehouse, person: Person, zone: str, column: str, values: list[str], *, dry: bool
) -> Iterator[Erased]:
    gone = pa.array(values, pa.string())

    def without(batch: pa.RecordBatch) -> pa.RecordBatch:
        return batch.filter(pc.invert(pc.is_in(batch.column(column), value_set=gone)))

    for partition in lakehouse.partitions(zone, person.contract.name):
        if column not in _columns(partition):
            continue
        found = lakehouse.batches([partition], [column], where=[(column, "in", values)])
        if rows := sum(batch.num_rows for batch in found):
            if not dry:
                lakehouse.rewrite(partition, without)
            yield Erased(zone, partition.uri, rows)


def erase_features(lakehouse: Lakehouse, person: Person, *, dry: bool) -> Iterator[Erased]:
    """Feature sets are of a run and its resumption: one with such a claim goes as a whole."""
    folder = lakehouse.uri(_FEATURES, person.contract.name)
    ids, found = pa.array(sorted(person.claim_ids), pa.string()), dict[str, int]()
    if not len(ids):
        return
    for file in list_files(folder):
        launch, _, name = file.path.partition("/")
        if not name.endswith(".parquet"):
            continue
        with open_parquet(f"{folder}/{file.path}") as (parquet, _):
            column = parquet.read(columns=[CLAIM_ID])[CLAIM_ID]
        if rows := pc.sum(pc.is_in(column, value_set=ids)).as_py():
            found[launch] = found.get(launch, 0) + rows
    for launch, rows in found.items():
        if not dry:
            delete(f"{folder}/{launch}")
        yield Erased(_FEATURES, f"{folder}/{launch}", rows)
