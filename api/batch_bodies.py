"""Batches of claims out of request bodies, SLICE of them at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import ValidationError

from api.arrow_bodies import unpacked_bytes
from api.problems import Problem, invalid_claim
from api.service import Service
from fraud_mlops.errors import ContractError
from fraud_mlops.serving.columns import check_columns
from fraud_mlops.serving.request import LONGEST_WORD
from fraud_mlops.serving.scorer import Explain, Scorer

JSON_LINES = ("application/x-ndjson", "application/jsonl", "application/x-jsonlines")
ARROW = "application/vnd.apache.arrow.stream"
PARQUET = "application/vnd.apache.parquet"
SLICE = 4096
UNPACKED = 8
"""How many times its limit a body may have once it is unpacked."""


@dataclass(frozen=True)
class Batch:
    """One request: who asked for what, and the version that answers all of it."""

    service: Service
    scorer: Scorer
    body: IO[bytes]
    explain: Explain
    name: str
    client: str

    @property
    def version(self) -> str:
        return self.scorer.version


def claims_in(batch: Batch, media: str) -> Iterator[tuple[pa.RecordBatch, dict[int, str]]]:
    """Claims of the body as columns, and what is wrong with those that are none, by their place.

    Raises Problem for a body that is not of its media type, or past a limit.
    """
    return _from_lines(batch) if media in JSON_LINES else _from_arrow(batch, media)


def _from_lines(batch: Batch) -> Iterator[tuple[pa.RecordBatch, dict[int, str]]]:
    """Claims of some lines as columns, and what is wrong with those that are none."""
    reader, most = batch.scorer.reader, batch.service.settings.max_body_bytes
    claims: list[Any] = []
    errors: dict[int, str] = {}
    while line := batch.body.readline(most + 1):
        if len(line) > most:
            raise Problem(413, "too-large", f"A line may have {most:,} bytes.")
        if not line.strip():
            continue
        try:
            claims.append(reader.read(line))
        except ValidationError as error:
            errors[len(claims)] = _in_words(error)
            claims.append(None)
        if len(claims) == SLICE:
            yield _columns(batch, claims), errors
            claims, errors = [], {}
    if claims:
        yield _columns(batch, claims), errors


def _in_words(error: ValidationError) -> str:
    problem = invalid_claim(error)
    told = "; ".join(f"{e['pointer']}: {e['detail']}" for e in problem.errors)
    return told or problem.detail


def _columns(batch: Batch, claims: list[Any]) -> pa.RecordBatch:
    reader = batch.scorer.reader
    brought = [getattr(claim, "features", None) for claim in claims]
    arrays: dict[str, pa.Array] = {}
    for column in reader.columns:
        given = [getattr(claim, column.name, None) for claim in claims]
        if column.kind == "time":
            arrays[column.name] = pa.array(given, pa.timestamp("us", "UTC"))
        else:
            kind = pa.float64() if column.kind == "number" else pa.string()
            arrays[column.name] = pa.array(given, kind)
    sent = {name for features in brought if features for name in features.model_fields_set}
    for name in sorted(sent):
        arrays[name] = pa.array([getattr(f, name, None) for f in brought], pa.float64())
    return pa.record_batch(arrays)


def _from_arrow(batch: Batch, media: str) -> Iterator[tuple[pa.RecordBatch, dict[int, str]]]:
    """Record batches, checked through before anything looks into them: a damaged one may point
    anywhere."""
    try:
        for found in _batches(batch, media):
            found.validate(full=True)
            for start in range(0, found.num_rows, SLICE):
                yield found.slice(start, SLICE), {}
    except (pa.ArrowException, OSError, ValueError, TypeError, MemoryError) as error:
        told = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        what = "Parquet" if media == PARQUET else "an Arrow stream"
        raise Problem(400, "not-readable", f"The body is not {what}: {told}") from None


def _batches(batch: Batch, media: str) -> Iterator[pa.RecordBatch]:
    limits = batch.service.settings
    if media == PARQUET:
        source = pa.PythonFile(batch.body, mode="r")
        parquet = pq.ParquetFile(source)
        if parquet.metadata.num_rows > limits.max_batch_rows:
            raise too_many(batch)
        groups = range(parquet.num_row_groups)
        unpacked = sum(parquet.metadata.row_group(i).total_byte_size for i in groups)
        if unpacked > UNPACKED * limits.max_batch_bytes:
            raise Problem(413, "too-large", "The Parquet body is too large once unpacked.")
        _check(batch, parquet.schema_arrow)
        yield from parquet.iter_batches(SLICE)
        return
    most = UNPACKED * limits.max_batch_bytes
    if unpacked_bytes(batch.body, most) > most:
        raise Problem(413, "too-large", "The Arrow body is too large once unpacked.")
    with pa.ipc.open_stream(batch.body) as stream:
        _check(batch, stream.schema)
        for found in stream:
            _check_dictionaries(found)
            yield found


def _check(batch: Batch, schema: pa.Schema) -> None:
    try:
        check_columns(batch.scorer.reader, schema.names)
    except ContractError as error:
        raise Problem(422, "invalid-batch", str(error)) from None


def _check_dictionaries(claims: pa.RecordBatch) -> None:
    """A long word that many rows point at would be as many long words."""
    for name, column in zip(claims.schema.names, claims.columns, strict=True):
        if pa.types.is_run_end_encoded(column.type):
            raise Problem(422, "invalid-batch", f"column {name}: runs are not read; send values")
        if not pa.types.is_dictionary(column.type):
            continue
        words = column.dictionary
        kind = words.type
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            if pa.types.is_nested(kind) or not pa.types.is_primitive(kind):
                raise Problem(422, "invalid-batch", f"column {name}: holds {column.type}")
            continue
        if (pc.max(pc.binary_length(words)).as_py() or 0) > 4 * LONGEST_WORD:
            told = f"column {name}: a word has more than {LONGEST_WORD} characters"
            raise Problem(422, "invalid-batch", told)


def too_many(batch: Batch) -> Problem:
    most = batch.service.settings.max_batch_rows
    return Problem(413, "too-many-claims", f"A batch may have {most:,} claims.")
