"""What an erasure has looked through: nothing found, or a slip of the pen?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from fraud_mlops.errors import LakehouseError
from fraud_mlops.lakehouse.partitions import Lakehouse, Listed
from fraud_mlops.lakehouse.stores import list_files
from fraud_mlops.maintenance.erasure import Person
from fraud_mlops.maintenance.erasure_warehouse import rows_in_warehouse
from fraud_mlops.registry.bundle import list_versions
from fraud_mlops.words import counted

_BY_ENTITY = ("raw", "entity_state")
_BY_CLAIM = ("ml_outputs", "prediction_log", "features", "truth")


class Looked(NamedTuple):
    """objects: partitions, files or versions. rows: None where they are not counted. by: what the
    person's were looked for by."""

    place: str
    objects: int
    rows: int | None
    by: str


def looked_through(lakehouse: Lakehouse, person: Person, model_uri: str) -> Iterator[Looked]:
    """Place by place; damaged partitions count as objects without rows.

    What has no entities is looked through by claim ids, and not at all when none is known.
    """
    dataset, entity = person.contract.name, person.entity
    known = len(person.claim_ids)
    by_claim = counted(known, "claim id") if known else "nothing: no claim id is known"
    for zone in (*_BY_ENTITY, *_BY_CLAIM):
        by = entity if zone in _BY_ENTITY else by_claim
        if zone in (*_BY_ENTITY, "ml_outputs"):
            damaged: dict[Listed, LakehouseError] = {}
            found = lakehouse.partitions(zone, dataset, damaged=damaged)
            rows = sum(partition.rows for partition in found)
            yield Looked(zone, len(found) + len(damaged), rows, by)
        else:
            yield Looked(zone, len(list_files(lakehouse.uri(zone, dataset))), None, by)
    slices = "slices of the value" if person.slices else "nothing: no category is known"
    yield Looked("metrics", len(lakehouse.listed("metrics", dataset)), None, slices)
    stored = rows_in_warehouse(lakehouse.root, dataset)
    yield Looked("warehouse", int(stored is not None), stored, slices)
    both = f"{entity} and claim ids"
    quarantined = list_files(lakehouse.uri("quarantine", dataset))
    yield Looked("quarantine", len(quarantined), None, both)
    aside = list_files(lakehouse.uri("_landing", dataset, "aside"))
    yield Looked("set aside", len(aside), None, both)
    yield Looked("reports", len(list_files(lakehouse.uri("_reports"))), None, both)
    yield Looked("models", len(list_versions(model_uri, dataset)), None, "rows of raw, slices")
