"""Erasure from model versions: their sample of the training claims has neither ids nor entities.

A row of the sample is taken for a person's where every column that raw has too says the same. A
version is named for its content and never changes: without the rows it is another one, which takes
the old one's place, pointers included. Which one that was is a file of it, so that two versions
that differed by those rows alone do not become one, of which rollback would know one past only.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fraud_mlops.errors import BundleError
from fraud_mlops.maintenance.erased import Erased, unread
from fraud_mlops.maintenance.erasure import Person
from fraud_mlops.pipeline.reference import REFERENCE, read_reference
from fraud_mlops.registry.bundle import (
    Manifest,
    bundle_version,
    list_versions,
    load_bundle,
    write_bundle,
)
from fraud_mlops.registry.lineage import DERIVED, derivation
from fraud_mlops.registry.pointers import (
    ROLES,
    promote,
    read_pointer,
    remove_version,
    set_challenger,
)

_REASON = "rows erased from its sample of training claims"


def erase_models(models_uri: str, person: Person, *, by: str, dry: bool) -> Iterator[Erased]:
    """A version that cannot be loaded is told of, and left."""
    dataset = person.contract.name
    for version in list_versions(models_uri, dataset):
        place = f"{models_uri}/{dataset}/{version}"
        try:
            bundle = load_bundle(models_uri, dataset, version)
            sample = read_reference(bundle.files)
        except BundleError as error:
            yield unread("model", place, error)
            continue
        keep, oot = _others(sample, person), _without_slices(bundle.manifest.oot, person)
        if rows := keep.count(False) + (oot != bundle.manifest.oot):
            files = dict(bundle.files)
            if sample is not None:
                files[REFERENCE] = _parquet(sample.filter(pa.array(keep, pa.bool_())))
            now = _replace(models_uri, bundle.manifest, files, oot, by=by, dry=dry)
            yield Erased("model", place, rows, now=now)
        if times := _known_words(bundle.files, person.value):
            left = "the model has learnt the value as a category: train again, and expire this one"
            yield Erased("model", place, times, left)


def _without_slices(oot: Mapping[str, Any], person: Person) -> dict[str, Any]:
    """Figures out of time of a slice that is named for the person go."""
    report = oot.get("report")
    if not report or not report.get("slices"):
        return dict(oot)
    names = person.slices
    left = [part for part in report["slices"] if f"{part['feature']}={part['value']}" not in names]
    return {**oot, "report": {**report, "slices": left}}


def _others(sample: pa.Table | None, person: Person) -> list[bool]:
    """Which rows of the sample are of somebody else."""
    if sample is None:
        return []
    shared = [
        n for n in person.shared if n in sample.column_names and n in person.claims.column_names
    ]
    if not shared:
        return [True] * sample.num_rows
    theirs = set(_rows(person.claims.select(shared), sample.schema))
    keep = [row not in theirs for row in _rows(sample.select(shared), sample.schema)]
    if person.entity in sample.column_names:
        values = sample[person.entity].to_pylist()
        keep = [k and v != person.value for k, v in zip(keep, values, strict=True)]
    return keep


def _rows(table: pa.Table, schema: pa.Schema) -> list[tuple[Any, ...]]:
    """As the sample stores them; what is missing equals what is missing."""
    columns = [table[n].cast(schema.field(n).type).to_pylist() for n in table.column_names]
    return [tuple(None if v != v else v for v in row) for row in zip(*columns, strict=True)]


def _parquet(sample: pa.Table) -> bytes:
    stream = io.BytesIO()
    pq.write_table(sample.combine_chunks(), stream, compression="zstd")
    return stream.getvalue()


def _replace(
    models_uri: str,
    manifest: Manifest,
    files: dict[str, bytes],
    oot: dict[str, Any],
    *,
    by: str,
    dry: bool,
) -> str:
    """The version that takes its place, in words with what points to it."""
    old, dataset = manifest.version, manifest.dataset
    files = {**files, DERIVED: derivation(models_uri, manifest)}
    new = bundle_version(files, manifest.trained_until)
    if not dry:
        told = manifest.model_copy(update={"version": new, "derived_from": old, "oot": oot})
        write_bundle(models_uri, dataset, new, files, told)
    # Only now: the upload takes a while, and somebody may point elsewhere meanwhile.
    pointers = {role: read_pointer(models_uri, dataset, role) for role in ROLES}
    roles = [role for role, pointer in pointers.items() if pointer and pointer.version == old]
    if not dry:
        if "champion" in roles:
            promote(models_uri, dataset, new, expected=old, by=by, reason=_REASON)
        if "challenger" in roles:
            set_challenger(models_uri, dataset, new, by=by, reason=_REASON)
        remove_version(models_uri, dataset, old)
    return f"{' and '.join(roles)} {new}".strip()


def _known_words(files: Mapping[str, bytes], value: str) -> int:
    """How often the value stands as a word of its own in what the model knows."""
    word = f'"{value}"'.encode()
    return sum(data.count(word) for name, data in files.items() if name.endswith(".json"))
