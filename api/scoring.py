"""POST /v1/score: one claim in, its score, decision and reasons out."""

from __future__ import annotations

import time
from typing import Any, cast, get_args

import numpy as np
from pydantic import ValidationError
from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response

from api.access import Caller
from api.problems import Problem, invalid_claim, request_id
from api.service import Service
from fraud_mlops.features.split import microseconds
from fraud_mlops.serving.request import moment_of
from fraud_mlops.serving.scorer import Explain, Scorer, answer
from fraud_mlops.serving.shadow import Looked, now, record


async def score(request: Request) -> Response:
    """A score of the body's claim by the champion as it stands when the body has come."""
    began = time.perf_counter()
    service: Service = request.app.state.service
    try:
        caller = await service.access.require(request, "score")
        request.scope["caller"] = caller.id
        which = explain_of(request, "all")
        require_media(request, ("application/json",))
        body = await request.body()
        told = _scored(service, service.scorer(), body, which, request_id(request), caller)
    except Problem as problem:
        return problem.response(request_id(request))
    told["latency_ms"] = round(1000 * (time.perf_counter() - began), 3)
    return Response(to_json(told), media_type="application/json")


def _scored(
    service: Service, scorer: Scorer, body: bytes, which: Explain, name: str, caller: Caller
) -> dict[str, Any]:
    try:
        claim = scorer.reader.read(body)
    except ValidationError as error:
        raise invalid_claim(error) from None
    moment = moment_of(claim)
    if claim.event_time is None:
        claim = claim.model_copy(update={"event_time": moment})
    inputs = scorer.prepare([claim])
    scores = scorer.score(inputs)
    if not np.isfinite(scores.probabilities[0]):
        raise Problem(500, "no-score", "The model gives no number for this claim.")
    reasons = scorer.explain(inputs, scores, which).get(0, [])
    warnings = scorer.warnings(inputs, 0)
    told = {
        "request_id": name,
        **answer(scorer, claim.claim_id, moment, scores, 0),
        "threshold": decision_rule(scorer),
        "reasons": reasons,
        "warnings": warnings,
        "entity_state_until": scorer.histories.facts.until if scorer.histories.facts else None,
    }
    looked = Looked(body, name, caller.id, now(), microseconds(moment))
    names = [reason["feature"] for reason in reasons]
    log(service, [record(scorer, claim.claim_id, inputs.digest(0), scores, 0, names, looked)])
    if service.shadow and service.shadow.wants(name):
        service.shadow.offer(looked)
    service.metrics.scored(scorer.version, told["band"], told["probability"])
    for warning in warnings:
        service.metrics.warnings.labels(warning["code"]).inc()
    return told


def log(service: Service, records: list[Any]) -> None:
    """No score without its record: a decision that left no trace must not be given."""
    try:
        service.write(records)
    except (OSError, ValueError):
        detail = "The prediction cannot be logged, so that no score is given; try again later."
        raise Problem(503, "not-logged", detail, headers={"Retry-After": "5"}) from None


def decision_rule(scorer: Scorer) -> dict[str, Any] | None:
    """What made the decision: the threshold, and the budget or cost that it was chosen by."""
    chosen = scorer.manifest.threshold
    if scorer.model.threshold is None:
        return None
    return {
        "score": scorer.model.threshold,
        "probability": scorer.threshold_probability,
        "rule": chosen.get("rule"),
        "budget": scorer.contract.alerts.budget,
        "review_cost": scorer.contract.alerts.review_cost,
    }


def explain_of(request: Request, default: Explain) -> Explain:
    given = request.query_params.get("reasons", default)
    if given not in get_args(Explain):
        raise Problem(422, "invalid-query", "reasons is all, alerts or none.")
    return cast("Explain", given)


def require_media(request: Request, known: tuple[str, ...]) -> str:
    """The body's media type without parameters. Problem 415 for one that is not known."""
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given not in known:
        raise Problem(415, "unknown-media-type", f"Send one of {', '.join(known)}.")
    return given
