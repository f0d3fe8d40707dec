"""Answers to batches, a slice of claims at a time, in the format that was asked for.

A claim that cannot be read is answered by an error in its own line or row; the others are scored.
Rows are counted from the first.
"""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic_core import to_json

from api.batch_bodies import Batch, claims_in
from api.problems import Problem
from api.scoring import log
from api.service import one_thread
from fraud_mlops.contract import CLAIM_ID, EVENT_TIME
from fraud_mlops.errors import ContractError
from fraud_mlops.serving.columns import read_columns, without_errors
from fraud_mlops.serving.records import CHAMPION, WHAT_IF, now, record_batch
from fraud_mlops.serving.scorer import Inputs, Scorer, Scores

_AT_ONCE = 2
_IN_THE_WORKS = 3
"""On two cores 1.5 times the rows a second of one slice at a time."""

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
class Slice:
    """The rows first <= row < first + rows, scored. places: of the claims that could be.

    Inputs, scores and what follows are of those alone; errors are of the others, by place.
    """

    first: int
    rows: int
    claim_ids: pa.Array
    errors: dict[int, str]
    places: np.ndarray
    inputs: Inputs
    scores: Scores
    bands: list[str]
    reasons: dict[int, list[Any]]
    warnings: dict[int, list[dict[str, str]]]


def arrow_answers(batch: Batch, media: str) -> Generator[bytes]:
    """An Arrow stream, a record batch for each slice."""
    target = io.BytesIO()
    with pa.ipc.new_stream(target, ANSWERS) as writer:
        for part in _slices(batch, media):
            writer.write_batch(_rows(batch, part))
            yield _taken(target)
    yield _taken(target)


def line_answers(batch: Batch, media: str) -> Generator[bytes]:
    """JSON lines, those of a slice at a time."""
    for part in _slices(batch, media):
        columns = _rows(batch, part).to_pylist()
        yield b"".join(to_json({k: v for k, v in row.items() if v is not None}) + b"\n"
                       for row in columns)  # fmt: skip


def _slices(batch: Batch, media: str) -> Generator[Slice]:
    """Slices in order, some of them in the works: while one is in the network, which leaves
    Python's lock alone, others are read, looked up and told.

    Where the body cannot be read on, the answer ends before the slices in the works, which are not
    logged either.
    """
    pool = ThreadPoolExecutor(_AT_ONCE, "batch", initializer=one_thread)
    begun: deque[Future[Slice]] = deque()
    first = 0
    try:
        for claims, errors in claims_in(batch, media):
            begun.append(pool.submit(_scored, batch, first, claims, errors))
            first += claims.num_rows
            if len(begun) > _IN_THE_WORKS:
                yield _logged(batch, begun.popleft())
        while begun:
            yield _logged(batch, begun.popleft())
    finally:
        pool.shutdown(wait=False, cancel_futures=True)  # who was cut off waits for nothing


def _scored(batch: Batch, first: int, claims: pa.RecordBatch, errors: dict[int, str]) -> Slice:
    """first: the row of the body that the claims begin with. errors: of those that are none."""
    scorer = batch.scorer
    try:
        read = read_columns(scorer.reader, claims, now())
    except (ContractError, pa.ArrowException) as error:
        raise Problem(422, "invalid-batch", str(error)) from None
    read.errors.update(errors)
    good, places = without_errors(read)
    inputs = scorer.prepared(good.moments, good.own, good.entities, good.words)
    scores = scorer.score(inputs)
    return Slice(
        first=first,
        rows=claims.num_rows,
        claim_ids=read.claim_ids,
        errors=read.errors,
        places=places,
        inputs=inputs,
        scores=scores,
        bands=_bands(scorer, scores),
        reasons=scorer.explain(inputs, scores, batch.explain),
        warnings=scorer.warnings(inputs),
    )


def _rows(batch: Batch, part: Slice) -> pa.RecordBatch:
    """As ANSWERS; rows without a score have an error."""
    n = part.rows
    back = np.full(n, -1, dtype=np.int64)
    back[part.places] = np.arange(len(part.places))
    nothing = back < 0
    pick = pa.array(back, mask=nothing)
    probabilities, alerts = part.scores.probabilities, part.scores.alerts
    reasons, warnings = _texts(part)
    scored = [
        pa.array(part.inputs.moments).cast(pa.timestamp("us", "UTC")),
        pa.array(part.scores.logits.astype(np.float64)),
        pa.array(probabilities),
        pa.array(part.bands, pa.string()),
        pa.array(alerts),
        pa.array(reasons, pa.list_(pa.string())),
        pa.array(warnings, pa.list_(pa.string())),
    ]
    columns = [
        pa.array(np.arange(part.first, part.first + n)),
        part.claim_ids,
        *(values.take(pick) for values in scored),
        pa.repeat(batch.scorer.version, n),
        pa.array([part.errors.get(i) for i in range(n)], pa.string())
        if part.errors
        else pa.nulls(n, pa.string()),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=ANSWERS)


def _texts(part: Slice) -> tuple[list[list[str]], list[list[str]]]:
    """Reasons and warnings of each scored row; most have none."""
    rows = len(part.places)
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


def _logged(batch: Batch, scored: Future[Slice]) -> Slice:
    """The slice, once it is scored and in the prediction log."""
    part = scored.result()
    rows = len(part.places)
    names: list[list[str]] = [[]] * rows
    for i, reasons in part.reasons.items():
        names[i] = [reason["feature"] for reason in reasons]
    made_up = pa.nulls(rows, pa.string())
    claim_ids = made_up if batch.what_if else part.claim_ids.take(part.places)
    places = pa.array(part.first + part.places).cast(pa.string())
    requests = pc.binary_join_element_wise(batch.name, places, "-")
    role = WHAT_IF if batch.what_if else CHAMPION
    told = record_batch(
        batch.scorer, claim_ids, part.inputs, part.scores, names, requests, batch.client, role
    )
    log(batch.service.write_batch, told)
    if not batch.what_if:
        batch.service.metrics.scored_many(batch.scorer.version, part.bands)
    return part


def _taken(target: io.BytesIO) -> bytes:
    """What was written since the last time."""
    data = target.getvalue()
    target.seek(0)
    target.truncate()
    return data
