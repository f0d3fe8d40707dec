"""Around every request: an id, limits on what is sent, headers, a log line, a metric."""

from __future__ import annotations

import asyncio
import logging
import re
import time
import uuid

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.metrics import Metrics
from api.problems import Problem
from api.settings import ApiSettings

_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
BATCH = "/v1/score/batch"
SLOWEST = 1 << 14
"""Bytes a second that a batch must come at: one that trickles in keeps a place from others."""

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", _POLICY.encode()),
    (b"strict-transport-security", b"max-age=31536000"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
]

log = logging.getLogger("fraud.access")


class Guard:
    """ASGI middleware. No body and no query is ever logged: either may hold personal data.

    routes: the paths that there are, so that what strangers ask for cannot grow the metrics.
    """

    def __init__(
        self, app: ASGIApp, settings: ApiSettings, metrics: Metrics, routes: frozenset[str]
    ) -> None:
        self._app, self._settings, self._metrics = app, settings, metrics
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        began = scope["began"] = time.perf_counter()
        request_id = scope["request_id"] = _request_id(scope)
        status, whole = 0, False

        async def answer(message: Message) -> None:
            nonlocal status, whole
            if message["type"].endswith("http.response.start"):
                status = message["status"]
                named = (b"x-request-id", request_id.encode())
                message["headers"] = [*message.get("headers", ()), *_HEADERS, named]
            await send(message)
            whole = _is_last(message)

        limited = _Limited(scope, receive, self._settings)
        try:
            await (self._app if scope["type"] == "http" else _no_websocket)(scope, limited, answer)
        except Problem as problem:  # a limit that was met before any route looked at the body
            if status:
                raise
            await problem.response(request_id)(scope, receive, answer)
        except ClientDisconnect:
            pass
        except asyncio.CancelledError:  # the server ends, and waits no longer
            scope["broken_off"] = 503
            raise
        except Exception:
            log.exception("request %s failed", request_id)
            if status:
                scope["broken_off"] = 500
                raise
            detail = "Something went wrong here; the request id finds it in the server's log."
            await Problem(500, "internal", detail).response(request_id)(scope, receive, answer)
        finally:
            ended = status if whole else scope.get("broken_off", _GONE)
            self._told(scope, ended, time.perf_counter() - began)

    def _told(self, scope: Scope, status: int, seconds: float) -> None:
        route = self._route(str(scope["path"]))
        method = scope.get("method", "GET")  # a WebSocket's handshake has no other
        self._metrics.request(route, method, status, seconds)
        if log.isEnabledFor(logging.INFO) and route not in ("/healthz", "/readyz", "/metrics"):
            # Made by hand: `log.info` would look through the stack for who called it.
            line = logging.LogRecord(log.name, logging.INFO, __file__, 0, "request", None, None)
            line.fields = {
                "request_id": scope["request_id"],
                "method": method,
                "route": route,
                "status": status,
                "ms": round(1000 * seconds, 2),
                "client": scope.get("caller", ""),
            }
            log.handle(line)

    def _route(self, path: str) -> str:
        if path in self._routes:
            return path
        return "/static" if path.startswith("/static/") else "other"


async def _no_websocket(*_: object) -> None:
    raise Problem(400, "no-websocket", "Nothing here is a WebSocket; ask without an upgrade.")


class _Limited:
    """`receive` with an end to patience and to size. Raises Problem: 408 and 413.

    A claim has its time; each part of a batch has, and all of it as long as SLOWEST gives it more,
    a whole batch's time at most.
    """

    def __init__(self, scope: Scope, receive: Receive, settings: ApiSettings) -> None:
        self._receive, self._scope = receive, scope
        self._batch = scope["path"] == BATCH
        self._most = settings.max_batch_bytes if self._batch else settings.max_body_bytes
        self._each, self._all = settings.body_seconds, settings.batch_seconds
        self._began = 0.0
        self._until: float | None = None
        self._got, self._whole = 0, False

    async def __call__(self) -> Message:
        if self._whole:
            return await self._receive()
        if not self._got and _declared(self._scope) > self._most:
            raise self._too_large()
        now = time.monotonic()
        if self._until is None:  # who waits for a place has not been asked for it yet
            self._began, self._until = now, now + self._each
        try:
            async with asyncio.timeout(max(0.0, min(self._each, self._until - now))):
                message = await self._receive()
        except TimeoutError:
            raise Problem(408, "too-slow", "The body did not come in time.") from None
        if message["type"] == "http.request":
            size = len(message.get("body", b""))
            self._got += size
            if self._batch:
                self._until = min(self._until + size / SLOWEST, self._began + self._all)
            self._whole = not message.get("more_body", False)
            if self._got > self._most:
                raise self._too_large()
        return message

    def _too_large(self) -> Problem:
        return Problem(
            413, "too-large", f"A body may have {self._most:,} bytes here.", headers=_CLOSE
        )


def _is_last(message: Message) -> bool:
    kind = str(message["type"]).removeprefix("websocket.")
    return kind == "http.response.body" and not message.get("more_body", False)


_GONE = 499  # for logs and metrics: nobody is there to be told
_CLOSE = {"Connection": "close"}


def _declared(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() else 0
    return 0


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            given = value.decode("latin-1")
            if _ID.fullmatch(given):
                return str(given)
    return uuid.uuid4().hex
