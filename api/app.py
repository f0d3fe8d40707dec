"""The scoring API. `uvicorn api.app:app --host 0.0.0.0 --port 8080`

It starts without a model, without keys and without a network: /healthz answers, /readyz says what
is missing, and scoring says how to get it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route
from starlette.staticfiles import StaticFiles

from api import logs, models, tracing
from api.batch import score_batch
from api.joining import Joiner
from api.kept import Kept
from api.metrics import Metrics
from api.middleware import Guard
from api.openapi import describe
from api.problems import Problem, request_id
from api.scoring import answers, score
from api.service import Service, one_thread
from api.settings import ApiSettings, api_settings, origins_of
from api.starting import check, or_end
from fraud_mlops.settings import Settings
from fraud_mlops.settings import settings as project_settings

STATIC = Path(__file__).with_name("static")


def create_app(settings: ApiSettings | None = None, project: Settings | None = None) -> FastAPI:
    """An app of its own; settings that are not given come from the environment.

    Raises SettingsError for settings that contradict one another, and for keys that cannot be read,
    LakehouseError for a root that can be none.
    """
    given, own = settings or api_settings(), project or project_settings()
    access, metrics = check(given, own), Metrics()
    logs.configure()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        one_thread()
        service = Service(given, metrics, own, access)
        await asyncio.to_thread(service.start)
        app.state.service, app.state.joined = service, Joiner(partial(answers, service))
        yield
        await asyncio.to_thread(service.stop)
        await asyncio.to_thread(end_traces)

    app = FastAPI(
        title="Fraud scoring", version="1", lifespan=lifespan, docs_url=None, redoc_url=None,
        openapi_url=None, redirect_slashes=False,  # to a Host that anybody may claim to be
    )  # fmt: skip
    app.state.openapi = Kept(lambda s: describe(s.reader if s else None, is_open=given.open))
    # Plain routes: a claim's schema is the served contract's, which FastAPI would have to know when
    # it starts; /openapi.json is made of it, once for each that is served.
    for path, endpoint, method in (
        ("/v1/score", score, "POST"),
        ("/v1/score/batch", score_batch, "POST"),
        ("/v1/model", models.model, "GET"),
        ("/v1/model/schema", models.schema, "GET"),
        ("/healthz", models.healthz, "GET"),
        ("/readyz", models.readyz, "GET"),
        ("/metrics", models.metrics, "GET"),
        ("/openapi.json", _openapi, "GET"),
    ):
        app.add_route(path, endpoint, methods=[method])
    if given.explore:
        app.add_route("/", _explore, methods=["GET"])
        app.mount("/static", StaticFiles(directory=STATIC), name="static")
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(HTTPException, _http_problem)
    if origins := origins_of(given.cors_origins):
        app.add_middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", "X-API-Key", "X-Request-Id"],
            expose_headers=["Retry-After", "WWW-Authenticate", "X-Model-Version", "X-Request-Id"],
        )
    routes = frozenset(route.path for route in app.routes if isinstance(route, Route))
    app.add_middleware(Guard, settings=given, metrics=metrics, routes=routes)
    end_traces = tracing.instrument(app)
    return app


async def _explore(request: Request) -> Response:  # noqa: ARG001 - a route's signature
    return FileResponse(STATIC / "explore.html", media_type="text/html")


async def _openapi(request: Request) -> Response:
    state = request.app.state
    told: bytes = state.openapi.of(state.service.champion.scorer)
    return Response(told, media_type="application/json")


async def _problem(request: Request, error: Any) -> Response:
    response: Response = error.response(request_id(request))
    return response


async def _http_problem(request: Request, error: Any) -> Response:
    kind = {404: "not-found", 405: "method-not-allowed"}.get(error.status_code, "http")
    problem = Problem(error.status_code, kind, str(error.detail), headers=error.headers)
    return problem.response(request_id(request))


app = or_end(create_app)
