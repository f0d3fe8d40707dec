"""The OpenAPI description: fixed paths around the schema of the claims that are served now."""

from __future__ import annotations

import copy
from typing import Any

from api import examples
from api.batch_bodies import ARROW, PARQUET
from api.problems import MEDIA_TYPE
from fraud_mlops.serving.request import ClaimReader

Tree = dict[str, Any]

_PROBLEM: Tree = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "request_id": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["pointer", "detail"],
                "properties": {"pointer": {"type": "string"}, "detail": {"type": "string"}},
            },
        },
    },
}
_REASON: Tree = {
    "type": "object",
    "required": ["feature", "contribution", "text"],
    "properties": {
        "feature": {"type": "string"},
        "value": {"type": ["number", "string", "null"]},
        "typical": {"type": ["number", "string", "null"]},
        "contribution": {"type": "number"},
        "text": {"type": "string"},
    },
}
_WARNING: Tree = {
    "type": "object",
    "required": ["code", "field", "detail"],
    "properties": {name: {"type": "string"} for name in ("code", "field", "detail")},
}
_SCORE: Tree = {
    "type": "object",
    "required": ["request_id", "model_version", "score", "probability", "band", "alert"],
    "properties": {
        "request_id": {"type": "string"},
        "claim_id": {"type": ["string", "null"]},
        "event_time": {"type": "string", "format": "date-time"},
        "model_version": {"type": "string"},
        "score": {"type": "number", "description": "The logit that claims are ranked by."},
        "probability": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
        "band": {"enum": ["low", "elevated", "high"]},
        "alert": {"type": "boolean"},
        "threshold": {"type": ["object", "null"]},
        "reasons": {"type": "array", "items": _REASON},
        "warnings": {"type": "array", "items": _WARNING},
        "entity_state_until": {"type": ["string", "null"]},
        "latency_ms": {"type": "number"},
    },
}
_ANY: Tree = {"type": "object"}
_NO_CLAIM: Tree = {"type": "object", "description": "There is no model yet."}
_SECURITY: list[Tree] = [{"bearer": []}, {"apiKey": []}]


def describe(reader: ClaimReader | None, *, is_open: bool = False) -> Tree:
    """The description, with claims as the served model takes them; any object without one."""
    claim = copy.deepcopy(reader.schema()) if reader else _NO_CLAIM
    inner = claim.pop("$defs", {}) if reader else {}
    schemas = {**inner, "Claim": _moved(claim), "Problem": _PROBLEM, "Score": _SCORE}
    paths = _paths(reader)
    if is_open:
        for operation in (o for path in paths.values() for o in path.values()):
            operation.pop("security", None)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Fraud scoring", "version": "1"},
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
    }


def _paths(reader: ClaimReader | None) -> Tree:
    claim = _json({"$ref": "#/components/schemas/Claim"}, examples.typical_claim(reader))
    score = _json({"$ref": "#/components/schemas/Score"}, examples.SCORE)
    sent, answered = examples.claims(reader), examples.answers()
    # Lines and bytes: what JSON schema could say of them is nothing.
    batch = {media: {"schema": {}, **sent.get(media, {})} for media in (*sent, ARROW, PARQUET)}
    out = {media: {"schema": {}, **told} for media, told in answered.items()}
    text: Tree = {"schema": {"type": "string"}, "example": examples.METRICS}
    not_ready = {"503": ("Not ready", _json(_ANY, examples.NOT_READY))}
    manifest, schema = _json(_ANY, examples.MANIFEST), _json(_ANY, examples.SCHEMA)
    return {
        "/v1/score": {
            "post": _operation(
                "Score one claim", score, body=claim, query=_reasons("all") | _WHAT_IF
            )
        },
        "/v1/score/batch": {
            "post": _operation(
                "Score many claims",
                out,
                body=batch,
                query=_reasons("alerts") | _WHAT_IF,
                failures=("406",),
            )
        },
        "/v1/model": {"get": _operation("Manifest of the served model", manifest)},
        "/v1/model/schema": {"get": _operation("What a claim looks like", schema)},
        "/healthz": {"get": _operation("Liveness", _json(_ANY, examples.HEALTH), signed=False)},
        "/readyz": {
            "get": _operation(
                "Readiness", _json(_ANY, examples.READY), signed=False, more=not_ready
            )
        },
        "/metrics": {"get": _operation("Prometheus metrics", {"text/plain": text})},
    }


def _operation(
    summary: str,
    content: Tree,
    *,
    body: Tree | None = None,
    query: Tree | None = None,
    signed: bool = True,
    more: dict[str, tuple[str, Tree]] | None = None,
    failures: tuple[str, ...] = (),
) -> Tree:
    """failures: of this operation alone."""
    problem = {"schema": {"$ref": "#/components/schemas/Problem"}}
    failures += ("401", "403", "429", "503") if signed else ()
    failures += ("400", "408", "413", "415", "422") if body else ()
    responses: Tree = {"200": {"description": "OK", "content": content}}
    for code in failures:
        content = {MEDIA_TYPE: {**problem, "example": examples.problem(code)}}
        responses[code] = {"description": "Problem", "content": content}
    responses |= {k: {"description": d, "content": c} for k, (d, c) in (more or {}).items()}
    told: Tree = {"summary": summary, "responses": responses}
    if signed:
        told["security"] = _SECURITY
    if body:
        told["requestBody"] = {"required": True, "content": body}
    if query:
        told["parameters"] = [{"name": k, "in": "query", **one} for k, one in query.items()]
    return told


def _reasons(default: str) -> Tree:
    schema = {"enum": ["all", "alerts", "none"], "default": default}
    return {"reasons": {"description": "Which claims are explained.", "schema": schema}}


_WHAT_IF: Tree = {
    "what_if": {
        "description": "The claims are made up to see what would change: no decisions on claims.",
        "schema": {"type": "boolean", "default": False},
    }
}


def _json(schema: Tree, example: Tree) -> Tree:
    return {"application/json": {"schema": schema, "example": example}}


def _moved(tree: Any) -> Any:
    """References to a schema's own definitions, as components."""
    if isinstance(tree, dict):
        return {
            key: value.replace("#/$defs/", "#/components/schemas/")
            if key == "$ref"
            else _moved(value)
            for key, value in tree.items()
        }
    return [_moved(item) for item in tree] if isinstance(tree, list) else tree
