"""What OpenAPI shows for bodies and answers, of every media type.

What is sent comes from the served model's typical claim, and is accepted as it stands. Answers are
of an invented model: a stranger may read this page, and the scores are not for strangers.
"""

from __future__ import annotations

import base64
import io
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic_core import to_json

from api.batch_bodies import ARROW, JSON_LINES, PARQUET
from api.batch_formats import ANSWERS
from api.problems import Problem
from fraud_mlops.contract import CLAIM_ID, EVENT_TIME
from fraud_mlops.serving.request import ClaimReader

Tree = dict[str, Any]

VERSION = "20240801-75b5a5080b2f"
_REQUEST = "claims-desk-1"
_SCORE: Tree = {
    CLAIM_ID: "CLM-1",
    EVENT_TIME: "2024-12-30T10:00:00+00:00",
    "model_version": VERSION,
    "score": 1.37,
    "probability": 0.62,
    "band": "high",
    "alert": True,
}
_REASON: Tree = {
    "feature": "amount",
    "value": 22000,
    "typical": 1980,
    "contribution": 2.41,
    "text": "amount 22,000 (typical 1,980) raises the score",
}
SCORE: Tree = {
    "request_id": _REQUEST,
    **_SCORE,
    "threshold": {
        "score": 0.52,
        "probability": 0.55,
        "rule": "budget",
        "budget": 0.03,
        "review_cost": None,
        "detail": "76 of 2,543 validation claims alerted where the budget allows 76; "
        "61 of 144 frauds found",
    },
    "reasons": [_REASON],
    "warnings": [
        {
            "code": "missing_value",
            "field": "driver_age",
            "detail": "Scored as missing, as in training.",
        }
    ],
    "entity_state_until": "2024-12-31T18:20:00+00:00",
    "latency_ms": 1.3,
}
_ROWS: list[Tree] = [
    {
        "row": 0,
        **_SCORE,
        "reasons": [_REASON["text"]],
        "warnings": ["missing_value driver_age"],
    },
    {
        "row": 1,
        CLAIM_ID: "CLM-2",
        "model_version": VERSION,
        "error": "#/amount: Input should be a valid number",
    },
]
HEALTH: Tree = {"status": "ok"}
READY: Tree = {
    "ready": True,
    "dataset": "synthetic_claims",
    "version": VERSION,
    "manifest": "5f" * 32,
    "since": "2024-12-31T20:00:00Z",
    "entity_state_until": "2024-12-31T18:20:00Z",
}
NOT_READY: Tree = {
    "ready": False,
    "dataset": "synthetic_claims",
    "problem": "no champion yet: train one, or promote a version",
}
MANIFEST: Tree = {
    "version": VERSION,
    "dataset": "synthetic_claims",
    "run": "TrainingFlow/1735675200000000",
    "metrics": {"average_precision": {"value": 0.71, "low": 0.64, "high": 0.78}},
    "threshold": {"rule": "budget", "budget": 0.03},
}
SCHEMA: Tree = {
    "dataset": "synthetic_claims",
    "model_version": VERSION,
    "schema": {"type": "object", "properties": {"amount": {"type": ["number", "null"]}}},
    "signs": {"decimal": ".", "thousands": None},
    "columns": [
        {"name": "amount", "kind": "number", "typical": 1980.0, "values": [], "personal": False}
    ],
    "derived": ["provider_claims_30d"],
    "common": {"amount": [312.0, 1980.0, 14200.0]},
    "examples": [{"name": "typical", "claim": {"amount": 1980.0}}],
}
METRICS = 'fraud_model_info{model_version="' + VERSION + '",role="champion"} 1.0\n'
_PROBLEMS = {
    400: Problem(400, "not-json", "The body is not JSON: expected value at line 1 column 1"),
    401: Problem(401, "unknown-key", "This key is not known, or has expired."),
    403: Problem(403, "missing-scope", "This needs the scope 'score'."),
    406: Problem(406, "not-acceptable", f"Accept one of {', '.join((*JSON_LINES, ARROW))}."),
    408: Problem(408, "too-slow", "The body did not come in time."),
    413: Problem(413, "too-large", "A body may have 1,048,576 bytes here."),
    415: Problem(415, "unknown-media-type", "Send one of application/json."),
    422: Problem(
        422,
        "invalid-claim",
        "1 field(s) of the claim are wrong; see /v1/model/schema.",
        errors=[{"pointer": "#/amount", "detail": "Input should be a valid number"}],
    ),
    429: Problem(429, "too-many-requests", "More than 1000 requests a second."),
    503: Problem(503, "no-model", "There is no model to score with: starting."),
}


def typical_claim(reader: ClaimReader | None) -> Tree:
    """Of the served model, as somebody sends it; nothing without one."""
    if reader is None:
        return {}
    told: Tree = {CLAIM_ID: "CLM-1", EVENT_TIME: "2024-12-30T10:00:00Z"}
    told |= {c.name: f"{c.name}-1" for c in reader.columns if c.kind == "entity"}
    return told | {
        c.name: c.typical
        for c in reader.columns
        if c.kind in ("number", "category") and c.typical is not None
    }


def claims(reader: ClaimReader | None) -> dict[str, Tree]:
    """Two claims as a batch's body, by media type."""
    first = typical_claim(reader)
    rows = [first, first | ({CLAIM_ID: "CLM-2"} if reader else {})]
    shown = {JSON_LINES[0]: {"example": _lines(rows)}}
    if reader is None:  # Arrow without a column would be no batch of claims
        return shown
    moment = datetime.fromisoformat(first[EVENT_TIME])
    table = pa.Table.from_pylist([row | {EVENT_TIME: moment} for row in rows])
    packed = io.BytesIO()
    pq.write_table(table, packed)
    told = {ARROW: _stream(table), PARQUET: packed.getvalue()}
    return shown | {media: _literal(media, data) for media, data in told.items()}


def answers() -> dict[str, Tree]:
    """What a batch is answered with, by media type: a score, and a claim that was none."""
    moments = [{**row, EVENT_TIME: _moment(row)} for row in _ROWS]
    data = _stream(pa.Table.from_pylist(moments, schema=ANSWERS))
    lines = {media: {"example": _lines(_ROWS)} for media in JSON_LINES}
    return lines | {ARROW: _literal(ARROW, data)}


def problem(status: str) -> Tree:
    """The body that goes with a status."""
    return _PROBLEMS[int(status)].body(_REQUEST)


def _moment(row: Tree) -> datetime | None:
    return datetime.fromisoformat(row[EVENT_TIME]) if EVENT_TIME in row else None


def _lines(rows: list[Tree]) -> str:
    return "".join(to_json(row).decode() + "\n" for row in rows)


def _stream(table: pa.Table) -> bytes:
    target = io.BytesIO()
    with pa.ipc.new_stream(target, table.schema) as writer:
        writer.write_table(table)
    return target.getvalue()


def _literal(media: str, data: bytes) -> Tree:
    """Bytes stand in no JSON: their address holds them."""
    address = f"data:{media};base64,{base64.b64encode(data).decode()}"
    return {"examples": {"two-claims": {"summary": "Two claims", "externalValue": address}}}
