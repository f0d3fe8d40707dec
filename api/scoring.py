"""POST /v1/score: one claim in, its score, decision and reasons out."""

from __future__ import annotations

import time
from codecs import BOM_UTF8
from collections.abc import Callable
from typing import Any, TypeVar, cast, get_args

import numpy as np
from pydantic import ValidationError
from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response

from api.access import requires
from api.batch_bodies import ARROW, ARROW_FILE
from api.joining import Answer, Asked
from api.problems import Problem, invalid_claim, request_id
from api.service import Service
from fraud_mlops.contract import CLAIM_ID, EVENT_TIME
from fraud_mlops.features.split import microseconds
from fraud_mlops.serving.naming import Names
from fraud_mlops.serving.records import CHAMPION, WHAT_IF, Looked, now, records
from fraud_mlops.serving.request import moment_of
from fraud_mlops.serving.scorer import Explain, Scorer, Scores

T = TypeVar("T")


@requires("score")
async def score(request: Request) -> Response:
    """A score of the body's claim by the champion as it stands when the body has come."""
    service: Service = request.app.state.service
    which, what_if = explain_of(request, "all"), what_if_of(request)
    require_media(request, ("application/json",))
    body = (await request.body()).removeprefix(BOM_UTF8)
    scorer = service.scorer()
    asked = _read(scorer, body, which, request_id(request), request.scope["caller"], what_if)
    told = await request.app.state.joined.ask(scorer, asked)
    told["latency_ms"] = round(1000 * (time.perf_counter() - request.scope["began"]), 3)
    return Response(to_json(told), media_type="application/json")


def _read(
    scorer: Scorer, body: bytes, which: Explain, name: str, caller: str, what_if: bool
) -> Asked:
    try:
        claim = scorer.reader.read(body)
    except ValidationError as error:
        raise invalid_claim(Names(scorer.reader), error) from None
    moment = moment_of(claim)
    if claim.event_time is None:
        claim = claim.model_copy(update={"event_time": moment})
    return Asked(claim, microseconds(moment), body, name, caller, which, what_if)


def answers(service: Service, scorer: Scorer, asked: list[Asked]) -> list[Answer]:
    """Scores, decisions and reasons of some claims, once they are logged."""
    inputs = scorer.prepare([each.claim for each in asked])
    scores = scorer.score(inputs)
    good = np.isfinite(scores.probabilities).tolist()
    alerts = scores.alerts.tolist()
    wanted = [
        i
        for i, each in enumerate(asked)
        if good[i] and (each.explain == "all" or (each.explain == "alerts" and alerts[i]))
    ]
    reasons = dict(zip(wanted, scorer.reasons(inputs, scores, wanted), strict=True))
    at = now()
    looked = [
        Looked(e.body, e.name, e.client, at, e.moment, WHAT_IF if e.what_if else CHAMPION)
        for e in asked
    ]
    names = [[reason["feature"] for reason in reasons.get(i, ())] for i in range(len(asked))]
    claim_ids = [None if each.what_if else each.claim.claim_id for each in asked]
    made = records(scorer, claim_ids, inputs, scores, names, looked)
    log(service.write, [row for row, fine in zip(made, good, strict=True) if fine])
    if service.shadow:
        for each, fine in zip(looked, good, strict=True):
            if fine and each.role == CHAMPION and service.shadow.wants(each.request_id):
                service.shadow.offer(each)
    warnings = scorer.warnings(inputs)
    return [
        _told(service, scorer, scores, i, each, reasons.get(i, []), warnings.get(i, []))
        if good[i]
        else Problem(500, "no-score", "The model gives no number for this claim.")
        for i, each in enumerate(asked)
    ]


def _told(
    service: Service,
    scorer: Scorer,
    scores: Scores,
    i: int,
    asked: Asked,
    reasons: list[dict[str, Any]],
    warnings: list[dict[str, str]],
) -> dict[str, Any]:
    facts = scorer.histories.facts
    probability, alert = float(scores.probabilities[i]), bool(scores.alerts[i])
    told = {
        "request_id": asked.name,
        CLAIM_ID: asked.claim.claim_id,
        EVENT_TIME: moment_of(asked.claim).isoformat(),
        "model_version": scorer.version,
        "score": float(scores.logits[i]),
        "probability": probability,
        "band": scorer.band(alert, probability),
        "alert": alert,
        "threshold": decision_rule(scorer),
        "reasons": reasons,
        "warnings": warnings,
        "entity_state_until": facts.until if facts else None,
    }
    if not asked.what_if:
        service.metrics.scored(scorer.version, told["band"], told["probability"])
        for warning in warnings:
            service.metrics.warnings.labels(warning["code"]).inc()
    return told


def log(write: Callable[[T], object], records: T) -> None:
    """No score without its record: a decision that left no trace must not be given."""
    try:
        write(records)
    except (OSError, ValueError):
        detail = "The prediction cannot be logged, so that no score is given; try again later."
        raise Problem(503, "not-logged", detail, headers={"Retry-After": "5"}) from None


def decision_rule(scorer: Scorer) -> dict[str, Any] | None:
    """What made the decision: the threshold, the budget or cost that it was chosen by, and what it
    came to on the validation claims, in words."""
    chosen = scorer.manifest.threshold
    if scorer.model.threshold is None:
        return None
    return {
        "score": scorer.model.threshold,
        "probability": scorer.threshold_probability,
        "rule": chosen.get("rule"),
        "budget": scorer.contract.alerts.budget,
        "review_cost": scorer.contract.alerts.review_cost,
        "detail": chosen.get("silent") or chosen.get("detail"),
    }


def explain_of(request: Request, default: Explain) -> Explain:
    """Problem for a parameter that there is not, too: `whatif=true` would be a decision."""
    if not request.scope["query_string"]:
        return default
    if unknown := sorted(set(request.query_params) - {"reasons", "what_if"}):
        raise Problem(422, "invalid-query", f"no parameter is called {unknown[0][:40]!r}.")
    given = request.query_params.get("reasons", default)
    if given not in get_args(Explain):
        raise Problem(422, "invalid-query", "reasons is all, alerts or none.")
    return cast("Explain", given)


def what_if_of(request: Request) -> bool:
    if not request.scope["query_string"]:
        return False
    given = request.query_params.get("what_if", "false")
    if given not in ("true", "false"):
        raise Problem(422, "invalid-query", "what_if is true or false.")
    return given == "true"


def require_media(request: Request, known: tuple[str, ...]) -> str:
    """The body's media type without parameters. Problem 415 for one that is not known, and for a
    body that is packed."""
    packed = request.headers.get("content-encoding", "").strip().lower()
    if packed not in ("", "identity"):
        told = f"Content-Encoding {packed[:40]!r} is not read; send the body as it is."
        raise Problem(415, "unknown-encoding", told, headers={"Accept-Encoding": "identity"})
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given not in known:
        told = f"Send one of {', '.join(known)}."
        if given == ARROW_FILE and ARROW in known:
            told = f"An Arrow file (Feather) is not read; write a stream of it. {told}"
        raise Problem(415, "unknown-media-type", told)
    return given
