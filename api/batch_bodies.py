"""Batches of claims out of request bodies, SLICE of them at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from api.arrow_bodies import unpacked
from api.arrow_words import DELTAS, holds_single_values, is_words, longest_shared
from api.problems import Problem, invalid_claim
from api.service import Service
from fraud_mlops.errors import ContractError
from fraud_mlops.serving.columns import check_columns
from fraud_mlops.serving.scorer import Explain, Scorer
from fraud_mlops.serving.single_values import LONGEST_WORD

JSON_LINES = ("application/x-ndjson", "application/jsonl", "application/x-jsonlines")
ARROW = "application/vnd.apache.arrow.stream"
PARQUET = "application/vnd.apache.parquet"
SLICE = 8192
UNPACKED = 8
"""How many times its limit a body may have once it is unpacked."""


@dataclass(frozen=True)
class Batch:
    """One request: who asked for what, and the version that answers all of it.

    what_if: the claims are made up, to see what would change; no decisions on claims.
    """

    service: Service
    scorer: Scorer
    body: IO[bytes]
    explain: Explain
    name: str
    client: str
    what_if: bool = False

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
    _check_rows(batch, sum(1 for _ in _lines(batch)))
    batch.body.seek(0)
    claims: list[Any] = []
    errors: dict[int, str] = {}
    for line in _lines(batch):
        try:
            claims.append(batch.scorer.reader.read(line))
        except ValidationError as error:
            errors[len(claims)] = _in_words(error)
            claims.append(None)
        if len(claims) == SLICE:
            yield _columns(batch, claims), errors
            claims, errors = [], {}
    if claims:
        yield _columns(batch, claims), errors


def _lines(batch: Batch) -> Iterator[bytes]:
    """Those with something in them; of the others, which take their time too, there may be as many
    as claims."""
    limits = batch.service.settings
    empty = 0
    while line := batch.body.readline(limits.max_body_bytes + 1):
        if len(line) > limits.max_body_bytes:
            raise Problem(413, "too-large", f"A line may have {limits.max_body_bytes:,} bytes.")
        if line.strip():
            yield line
            continue
        empty += 1
        if empty > limits.max_batch_rows:
            told = f"A batch may have {limits.max_batch_rows:,} empty lines."
            raise Problem(413, "too-many-claims", told)


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
    anywhere. One without claims is a slice too, for between slices a batch can be cut off."""
    try:
        for found in _batches(batch, media):
            found.validate(full=True)
            _check_words(found)
            for start in range(0, max(found.num_rows, 1), SLICE):
                yield found.slice(start, SLICE), {}
    except (pa.ArrowException, OSError, ValueError, TypeError, MemoryError) as error:
        told = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        what = "Parquet" if media == PARQUET else "an Arrow stream"
        raise Problem(400, "not-readable", f"The body is not {what}: {told}") from None


def _batches(batch: Batch, media: str) -> Iterator[pa.RecordBatch]:
    most = UNPACKED * batch.service.settings.max_batch_bytes
    if media == PARQUET:
        yield from _parquet(batch, pa.PythonFile(batch.body, mode="r"), most)
        return
    size, rows = unpacked(batch.body, most)
    if size > most:
        raise Problem(413, "too-large", "The Arrow body is too large once unpacked.")
    _check_rows(batch, rows)
    with pa.ipc.open_stream(batch.body) as stream:
        _check(batch, stream.schema)
        yield from stream


def _parquet(batch: Batch, body: pa.NativeFile, most: int) -> Iterator[pa.RecordBatch]:
    """Text stays as Parquet keeps it, words and places in them, until it has been looked at."""
    with pq.ParquetFile(body) as told:
        metadata, schema = told.metadata, told.schema_arrow
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    _check_rows(batch, sum(group.num_rows for group in groups))
    if sum(group.total_byte_size for group in groups) > most:
        raise Problem(413, "too-large", "The Parquet body is too large once unpacked.")
    _check(batch, schema)
    texts = [field.name for field in schema if is_words(field.type)]
    for place, field in enumerate(schema):
        used = {name for group in groups for name in group.column(place).encodings}
        if field.name in texts and (deltas := used & DELTAS):
            how = "write words with a dictionary, or plain"
            raise _invalid(field.name, f"{', '.join(sorted(deltas))} is not read; {how}")
    with pq.ParquetFile(body, metadata=metadata, read_dictionary=texts) as parquet:
        yield from parquet.iter_batches(SLICE)


def _check(batch: Batch, schema: pa.Schema) -> None:
    try:
        check_columns(batch.scorer.reader, schema.names)
    except ContractError as error:
        raise Problem(422, "invalid-batch", str(error)) from None
    for field in schema:
        if not holds_single_values(field.type):
            raise _invalid(field.name, f"holds {field.type}, not numbers or words")


def _check_words(claims: pa.RecordBatch) -> None:
    """A long word that many rows point at would be as many long words."""
    for name, column in zip(claims.schema.names, claims.columns, strict=True):
        if longest_shared(column) > 4 * LONGEST_WORD:
            raise _invalid(name, f"a word has more than {LONGEST_WORD} characters")


def _invalid(column: str, told: str) -> Problem:
    return Problem(422, "invalid-batch", f"column {column}: {told}")


def _check_rows(batch: Batch, rows: int) -> None:
    """Before the first is scored: what has been answered and logged cannot be taken back."""
    most = batch.service.settings.max_batch_rows
    if rows > most:
        raise Problem(413, "too-many-claims", f"A batch may have {most:,} claims.")
