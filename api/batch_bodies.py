"""Batches of claims out of request bodies, SLICE of them at a time."""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError
from pydantic_core import from_json, to_json

from api.arrow_bodies import unpacked
from api.arrow_words import (
    LONGEST,
    holds_single_values,
    is_shared_view,
    is_words,
    without_rows,
    word_bytes,
)
from api.parquet_pages import MOST_PAGES, Group, Parquet
from api.problems import Problem, invalid_claim
from api.service import Service
from api.thrift import TooMuchError
from fraud_mlops.contract import CLAIM_ID
from fraud_mlops.errors import ContractError
from fraud_mlops.serving.columns import check_columns
from fraud_mlops.serving.naming import Names
from fraud_mlops.serving.scorer import Explain, Scorer
from fraud_mlops.serving.single_values import LONGEST_WORD

JSON_LINES = ("application/x-ndjson", "application/jsonl", "application/x-jsonlines")
ARROW = "application/vnd.apache.arrow.stream"
ARROW_FILE = "application/vnd.apache.arrow.file"
PARQUET = "application/vnd.apache.parquet"
_BEGINNINGS = {
    (b"ARROW1",): (None, "an Arrow file (Feather) does; write a stream of it"),
    (b"\xff\xff\xff\xff",): (ARROW, f"an Arrow stream does; send it as {ARROW}"),
    (b"PAR1",): (PARQUET, f"Parquet does; send it as {PARQUET}"),
    (b"{", b"["): (None, f"JSON does; send claims, one a line, as {JSON_LINES[0]}"),
}
"""Of what is sent by mistake: first bytes, media type, and what becomes of it."""
SLICE = 8192
SLICE_BYTES = 16 << 20
UNPACKED = 8
"""How many times its limit a body may have once it is unpacked."""
AT_ONCE = 128 << 20
"""Bytes of it, unpacked, that are in memory at once; two batches, each with the part before, go
with a server into 2 GiB."""


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
    names = Names(batch.scorer.reader)
    claims: list[Any] = []
    errors: dict[int, str] = {}
    for line in _lines(batch):
        try:
            claims.append(batch.scorer.reader.read_row(line))
        except ValidationError as error:
            errors[len(claims)] = _in_words(names, error)
            claims.append(_named(batch, line))
        if len(claims) == SLICE:
            yield _columns(batch, claims), errors
            claims, errors = [], {}
    if claims:
        yield _columns(batch, claims), errors


def _lines(batch: Batch) -> Iterator[bytes]:
    """Those with something in them, from the first; of the others, which take their time too, there
    may be as many as claims."""
    limits = batch.service.settings
    empty = 0
    batch.body.seek(0)
    if batch.body.read(len(BOM_UTF8)) != BOM_UTF8:
        batch.body.seek(0)
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


def _named(batch: Batch, line: bytes) -> Any:
    """A claim of its id alone, which its error is answered with; None where none can be read."""
    try:
        told = from_json(line)
        name = told.get(CLAIM_ID) if isinstance(told, dict) else None
        return batch.scorer.reader.read(to_json({CLAIM_ID: name}))
    except ValueError:
        return None


def _in_words(names: Names, error: ValidationError) -> str:
    problem = invalid_claim(names, error)
    told = "; ".join(f"{e['pointer']}: {e['detail']}" for e in problem.errors)
    return told or problem.detail


def _columns(batch: Batch, claims: list[Any]) -> pa.RecordBatch:
    reader = batch.scorer.reader
    brought = [reader.brought(claim) for claim in claims]
    arrays: dict[str, pa.Array] = {}
    for column in reader.columns:
        given = [reader.given(claim, column.name) for claim in claims]
        if column.kind == "time":
            arrays[column.name] = pa.array(given, pa.timestamp("us", "UTC"))
        else:
            kind = pa.float64() if column.kind == "number" else pa.string()
            arrays[column.name] = pa.array(given, kind)
    for name in sorted({name for features in brought for name in features}):
        arrays[name] = pa.array([features.get(name) for features in brought], pa.float64())
    return pa.record_batch(arrays)


def _from_arrow(batch: Batch, media: str) -> Iterator[tuple[pa.RecordBatch, dict[int, str]]]:
    """Record batches, checked through before anything looks into them: a damaged one may point
    anywhere. One without claims is a slice too, for between slices a batch can be cut off."""
    begins = batch.body.read(6)
    batch.body.seek(0)
    try:
        for found in _batches(batch, media):
            found.validate(full=True)
            for start in range(0, max(found.num_rows, 1), SLICE):
                yield from _short_words(found.slice(start, SLICE))
    except TooMuchError as error:
        told = f"The body takes too long to look at: {error}; write larger row groups."
        raise Problem(413, "too-large", told) from None
    except (pa.ArrowException, OSError, LookupError, ValueError, TypeError, MemoryError) as error:
        told = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        told = _other(begins, media) or told
        what = "Parquet" if media == PARQUET else "an Arrow stream"
        raise Problem(400, "not-readable", f"The body is not {what}: {told}") from None


def _other(begins: bytes, media: str) -> str | None:
    """What a body that cannot be read is instead, by its first bytes; a reader's own words on it
    are of lengths that are none."""
    for signs, (own, told) in _BEGINNINGS.items():
        if own != media and begins.startswith(signs):
            return f"it begins as {told}"
    return None


def _batches(batch: Batch, media: str) -> Iterator[pa.RecordBatch]:
    most = UNPACKED * batch.service.settings.max_batch_bytes
    if media == PARQUET:
        yield from _parquet(batch, most)
        return
    told = unpacked(batch.body, most)
    _check_size(told.bytes, told.at_once, most, "a record batch with its dictionaries")
    _check_rows(batch, told.rows)
    with pa.ipc.open_stream(batch.body) as stream:
        _check(batch, stream.schema)
        yield from stream


def _parquet(batch: Batch, most: int) -> Iterator[pa.RecordBatch]:
    """Text stays as Parquet keeps it, words and places in them, until it has been looked at."""
    looked_at = Parquet(batch.body)
    groups = looked_at.row_groups()
    body = pa.PythonFile(batch.body, mode="r")
    with pq.ParquetFile(body) as told:
        metadata, schema = told.metadata, told.schema_arrow
    _check_rows(batch, sum(group.rows for group in groups))
    _check(batch, schema)
    filled = [i for i, group in enumerate(groups) if group.rows]
    _check_pages(looked_at, [groups[i] for i in filled], schema, most)
    texts = [field.name for field in schema if is_words(field.type)]
    with pq.ParquetFile(body, metadata=metadata, read_dictionary=texts) as parquet:
        yield from parquet.iter_batches(SLICE, filled)


def _check_pages(body: Parquet, groups: list[Group], schema: pa.Schema, most: int) -> None:
    """Of a column, its dictionary and a page of values are in memory at once."""
    total = number = 0
    for group in groups:
        at_once = 0
        for field, chunk in zip(schema, group.chunks, strict=True):
            two = [0, 0]
            for page in body.pages(chunk):
                if page.deltas and is_words(field.type):
                    how = "write words with a dictionary, or plain"
                    raise _invalid(field.name, f"DELTA_... encodings are not read; {how}")
                number += 1
                if number > MOST_PAGES:
                    raise Problem(413, "too-large", f"Parquet may have {MOST_PAGES:,} pages.")
                total += page.bytes
                two = sorted([*two, page.bytes])[1:]
            at_once += sum(two)
        _check_size(total, at_once, most, "two pages of each column")


def _check_size(total: int, at_once: int, most: int, what: str) -> None:
    if total > most:
        raise Problem(413, "too-large", f"Unpacked, a body may have {most:,} bytes.")
    if at_once > AT_ONCE:
        told = f"Unpacked, {what} may have {AT_ONCE:,} bytes; write smaller ones."
        raise Problem(413, "too-large", told)


def _check(batch: Batch, schema: pa.Schema) -> None:
    try:
        check_columns(batch.scorer.reader, schema.names)
    except ContractError as error:
        raise Problem(422, "invalid-batch", str(error)) from None
    for field in schema:
        if is_shared_view(field.type):
            told = "a dictionary's words are not read as views; write them as string"
            raise _invalid(field.name, told)
        if not holds_single_values(field.type):
            raise _invalid(field.name, f"holds {field.type}, not numbers or words")


def _short_words(claims: pa.RecordBatch) -> Iterator[tuple[pa.RecordBatch, dict[int, str]]]:
    """Without words that are too long, and the rows that have them, before anything copies them.

    Fewer rows at a time where words are long: each is a word of its own once rows are scored.
    """
    sizes = [word_bytes(column) for column in claims.columns]
    total = sum(int(size.clip(max=LONGEST).sum()) for size in sizes)
    step = max(1, SLICE // max(1, -(-total // SLICE_BYTES)))
    for at in range(0, max(claims.num_rows, 1), step):
        long = [size[at : at + step] > LONGEST for size in sizes]
        yield _without(claims.slice(at, step), long)


def _without(
    claims: pa.RecordBatch, long: list[npt.NDArray[np.bool_]]
) -> tuple[pa.RecordBatch, dict[int, str]]:
    """long: of each column, the rows whose words go."""
    errors: dict[int, str] = {}
    columns = claims.columns
    for i, rows in enumerate(long):
        if rows.any():
            columns[i] = without_rows(columns[i], rows)
            told = f"{claims.schema.names[i]}: a word has more than {LONGEST_WORD} characters"
            errors.update(dict.fromkeys(np.flatnonzero(rows).tolist(), told))
    if errors:
        return pa.RecordBatch.from_arrays(columns, claims.schema.names), errors
    return claims, errors


def _invalid(column: str, told: str) -> Problem:
    return Problem(422, "invalid-batch", f"column {column}: {told}")


def _check_rows(batch: Batch, rows: int) -> None:
    """Before the first is scored: what has been answered and logged cannot be taken back."""
    most = batch.service.settings.max_batch_rows
    if rows > most:
        raise Problem(413, "too-many-claims", f"A batch may have {most:,} claims.")
