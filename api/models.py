"""GET /v1/model and /v1/model/schema, /healthz, /readyz and /metrics."""

from __future__ import annotations

from typing import Any

from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response

from api.access import requires
from api.kept import Kept
from api.service import Service
from fraud_mlops.serving.scorer import Scorer


@requires("score")
async def model(request: Request) -> Response:
    """The manifest: version, runs, data versions, metrics with intervals, threshold, gate."""
    service: Service = request.app.state.service
    told: dict[str, Any] = service.scorer().manifest.model_dump(mode="json")
    # Where the claims come from is nobody's business who may only score.
    told["contract"] = {k: v for k, v in told["contract"].items() if k != "source"}
    return json_response(told)


def _schema(scorer: Scorer) -> dict[str, Any]:
    reader = scorer.reader
    return {
        "dataset": reader.contract.name,
        "model_version": scorer.version,
        "schema": reader.schema(),
        "signs": reader.signs._asdict(),
        "columns": [column._asdict() for column in reader.columns],
        "derived": reader.derived,
        "common": scorer.common,
        "examples": [example._asdict() for example in scorer.examples],
    }


_SCHEMAS = Kept(_schema)


@requires("score")
async def schema(request: Request) -> Response:
    """JSON schema of a claim, the signs of numbers that are text, what is typical and common of its
    columns, and claims to try."""
    service: Service = request.app.state.service
    return Response(_SCHEMAS.of(service.scorer()), media_type="application/json")


async def healthz(request: Request) -> Response:  # noqa: ARG001 - a route's signature
    """That the process answers; says nothing of a model."""
    return json_response({"status": "ok"})


async def readyz(request: Request) -> Response:
    """200 when a champion is served, also an old one while a new one is refused; else 503."""
    service: Service = request.app.state.service
    told = service.readiness()
    return json_response(told, 200 if told["ready"] else 503)


@requires("metrics", "admin")
async def metrics(request: Request) -> Response:
    """Prometheus's text format."""
    service: Service = request.app.state.service
    return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


def json_response(told: Any, status: int = 200) -> Response:
    return Response(to_json(told), status, media_type="application/json")
