"""Batches by format: slices of claims out of a body, slices of answers into one.

A claim that cannot be read is answered by an error in its own line or row; the others are scored.
Rows are scored SLICE at a time, counted from the first.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import ValidationError
from pydantic_core import to_json

from api.arrow_bodies import unpacked_bytes
from api.problems import Problem, invalid_claim
from api.scoring import log
from api.service import Service, one_thread
from fraud_mlops.contract import CLAIM_ID, EVENT_TIME
from fraud_mlops.errors import ContractError
from fraud_mlops.serving.columns import check_columns, read_columns, without_errors
from fraud_mlops.serving.request import LONGEST_WORD
from fraud_mlops.serving.scorer import Explain, Inputs, Scorer, Scores
from fraud_mlops.serving.shadow import Looked, now, records

JSON_LINES = ("application/x-ndjson", "application/jsonl", "application/x-jsonlines")
ARROW = "application/vnd.apache.arrow.stream"
PARQUET = "application/vnd.apache.parquet"
SLICE = 4096
UNPACKED = 8
"""How many times its limit a body may have once it is unpacked."""

ANSWERS = pa.schema(
    [
        pa.field("row", pa.int64(), nullable=False),
        pa.field(CLAIM_ID, pa.string()),
        pa.field(EVENT_TIME, pa.timestamp("us", "UTC")),
        pa.field("score", pa.float64()),
        pa.field("probability", pa.float64()),
        pa.field("band", pa.string()),
        pa.field("alert", pa.bool_()),
        pa.field("reasons", pa.list_(pa.string())),
        pa.field("warnings", pa.list_(pa.string())),
        pa.field("model_version", pa.string(), nullable=False),
        pa.field("error", pa.string()),
    ]
)
"""row: from 0, in the order of the body. warnings: `code field`. error: why there is no score."""


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


@dataclass(frozen=True)
class Slice:
    """Answers to the rows first <= row < first + rows. places: of those that were scored."""

    first: int
    rows: int
    claim_ids: list[str | None]
    inputs: Inputs
    scores: Scores
    places: np.ndarray
    reasons: dict[int, list[Any]]
    warnings: dict[int, list[dict[str, str]]]
    errors: dict[int, str]


def arrow_answers(batch: Batch, media: str) -> Iterator[bytes]:
    """An Arrow stream, a record batch for each slice."""
    target = io.BytesIO()
    with pa.ipc.new_stream(target, ANSWERS) as writer:
        for part in _slices(batch, media):
            writer.write_batch(_rows(batch, part))
            yield _taken(target)
    yield _taken(target)


def line_answers(batch: Batch, media: str) -> Iterator[bytes]:
    """JSON lines, those of a slice at a time."""
    for part in _slices(batch, media):
        columns = _rows(batch, part).to_pylist()
        yield b"".join(to_json({k: v for k, v in row.items() if v is not None}) + b"\n"
                       for row in columns)  # fmt: skip


def _slices(batch: Batch, media: str) -> Iterator[Slice]:
    one_thread()
    first = 0
    source = _from_lines(batch) if media in JSON_LINES else _from_arrow(batch, media)
    for table, errors in source:
        if first + table.num_rows > batch.service.settings.max_batch_rows:
            raise _too_many(batch)
        part = _scored(batch, table, errors, first)
        _log(batch, part)
        yield part
        first += table.num_rows


def _scored(batch: Batch, claims: pa.RecordBatch, errors: dict[int, str], first: int) -> Slice:
    scorer = batch.scorer
    try:
        read = read_columns(scorer.reader, claims, now())
    except (ContractError, pa.ArrowException) as error:
        raise Problem(422, "invalid-batch", str(error)) from None
    read.errors.update(errors)
    good, places = without_errors(read)
    inputs = scorer.prepared(good.moments, good.own, good.entities, good.words)
    scores = scorer.score(inputs)
    explained = scorer.explain(inputs, scores, batch.explain)
    return Slice(
        first, claims.num_rows, read.claim_ids, inputs, scores, places,
        explained, scorer.warnings(inputs), read.errors,
    )  # fmt: skip


def _rows(batch: Batch, part: Slice) -> pa.RecordBatch:
    """As ANSWERS; rows without a score have an error."""
    scorer, n, at = batch.scorer, part.rows, part.places
    back = np.full(n, -1, dtype=np.int64)
    back[at] = np.arange(len(at))
    nothing = back < 0
    pick = pa.array(back, mask=nothing)
    probabilities, alerts = part.scores.probabilities, part.scores.alerts
    bands = _bands(scorer, part.scores)
    reasons, warnings = _texts(part, len(at))
    scored = [
        pa.array(part.inputs.moments).cast(pa.timestamp("us", "UTC")),
        pa.array(part.scores.logits.astype(np.float64)),
        pa.array(probabilities),
        pa.array(bands, pa.string()),
        pa.array(alerts),
        pa.array(reasons, pa.list_(pa.string())),
        pa.array(warnings, pa.list_(pa.string())),
    ]
    columns = [
        pa.array(np.arange(part.first, part.first + n)),
        pa.array(part.claim_ids, pa.string()),
        *(values.take(pick) for values in scored),
        pa.repeat(scorer.version, n),
        pa.array([part.errors.get(i) for i in range(n)], pa.string()),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=ANSWERS)


def _texts(part: Slice, rows: int) -> tuple[list[list[str]], list[list[str]]]:
    """Reasons and warnings of each scored row; most have none."""
    reasons: list[list[str]] = [[]] * rows
    for i, found in part.reasons.items():
        reasons[i] = [reason["text"] for reason in found]
    warnings: list[list[str]] = [[]] * rows
    for i, noted in part.warnings.items():
        warnings[i] = [f"{w['code']} {w['field']}" for w in noted]
    return reasons, warnings


def _bands(scorer: Scorer, scores: Scores) -> list[str]:
    pairs = zip(scores.alerts.tolist(), scores.probabilities.tolist(), strict=True)
    return [scorer.band(alert, probability) for alert, probability in pairs]


def _log(batch: Batch, part: Slice) -> None:
    scorer, scores, at = batch.scorer, part.scores, now()
    moments, places = part.inputs.moments.tolist(), part.places.tolist()
    looked = [
        Looked(b"", f"{batch.name}-{part.first + place}", batch.client, at, moment)
        for place, moment in zip(places, moments, strict=True)
    ]
    names: list[list[str]] = [[]] * len(places)
    for i, reasons in part.reasons.items():
        names[i] = [reason["feature"] for reason in reasons]
    claim_ids = [part.claim_ids[place] for place in places]
    log(batch.service, records(scorer, claim_ids, part.inputs, scores, names, looked))
    batch.service.metrics.scored_many(scorer.version, _bands(scorer, scores))


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
            times = [_utc(moment) for moment in given]
            arrays[column.name] = pa.array(times, pa.timestamp("us", "UTC"))
        else:
            kind = pa.float64() if column.kind == "number" else pa.string()
            arrays[column.name] = pa.array(given, kind)
    sent = {name for features in brought if features for name in features.model_fields_set}
    for name in sorted(sent):
        arrays[name] = pa.array([getattr(f, name, None) for f in brought], pa.float64())
    return pa.record_batch(arrays)


def _utc(moment: datetime | None) -> datetime | None:
    if moment is None:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


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
            raise _too_many(batch)
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


def _too_many(batch: Batch) -> Problem:
    most = batch.service.settings.max_batch_rows
    return Problem(413, "too-many-claims", f"A batch may have {most:,} claims.")


def _taken(target: io.BytesIO) -> bytes:
    """What was written since the last time."""
    data = target.getvalue()
    target.seek(0)
    target.truncate()
    return data
