"""Erasure from model versions: their sample of the training claims has neither ids nor entities.

A row of the sample is taken for a person's where every column that raw has too says the same. A
version is named for its content and never changes: without the rows it is another one, which takes
the old one's place, pointers included. Which one that was is a file of it, so that two versions
that differed by those rows alone do not become one, of which rollback would know one past only.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fraud_mlops.errors import BundleError
from fraud_mlops.maintenance.erasure import Erased, Person
from fraud_mlops.pipeline.reference import REFERENCE, read_reference
from fraud_mlops.registry.bundle import (
    Bundle,
    bundle_version,
    list_versions,
    load_bundle,
    write_bundle,
)
from fraud_mlops.registry.pointers import promote, read_pointer, remove_version, set_challenger

_DERIVED = "derived_from.json"
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
            yield Erased("model", place, 0, f"is damaged, and was not looked into: {error}")
            continue
        keep = _others(sample, person)
        if rows := keep.count(False):
            if not dry and sample is not None:
                _replace(models_uri, bundle, sample.filter(pa.array(keep)), by=by)
            yield Erased("model", place, rows)
        if times := _known_words(bundle.files, person.value):
            left = "the model has learnt the value as a category: train again, and expire this one"
            yield Erased("model", place, times, left)


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


def _replace(models_uri: str, bundle: Bundle, sample: pa.Table, *, by: str) -> None:
    old, dataset = bundle.manifest.version, bundle.manifest.dataset
    stream = io.BytesIO()
    pq.write_table(sample.combine_chunks(), stream, compression="zstd")
    origin = json.dumps({"derived_from": old}).encode()
    files = {**bundle.files, REFERENCE: stream.getvalue(), _DERIVED: origin}
    new = bundle_version(files, bundle.manifest.trained_until)
    told = bundle.manifest.model_copy(update={"version": new, "derived_from": old})
    write_bundle(models_uri, dataset, new, files, told)
    for role in ("champion", "challenger"):
        pointer = read_pointer(models_uri, dataset, role)
        if pointer and pointer.version == old:
            if role == "champion":
                promote(models_uri, dataset, new, expected=old, by=by, reason=_REASON)
            else:
                set_challenger(models_uri, dataset, new, by=by, reason=_REASON)
    remove_version(models_uri, dataset, old)


def _known_words(files: Mapping[str, bytes], value: str) -> int:
    """How often the value stands as a word of its own in what the model knows."""
    word = f'"{value}"'.encode()
    return sum(data.count(word) for name, data in files.items() if name.endswith(".json"))
