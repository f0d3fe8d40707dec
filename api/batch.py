"""POST /v1/score/batch: many claims in, a line or a row for each out, in flat memory.

The body is put down on disk first, so that nobody's slow line holds a core or a model, then read
and scored in slices by one version from the first row to the last.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncGenerator, Generator
from typing import IO, cast

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from api.batch_bodies import ARROW, JSON_LINES, PARQUET, Batch
from api.batch_formats import arrow_answers, line_answers
from api.problems import Problem, request_id
from api.scoring import explain_of, require_media
from api.service import Service

_IN_MEMORY = 1 << 20
_KNOWN = (*JSON_LINES, ARROW, PARQUET)


async def score_batch(request: Request) -> Response:
    """JSON lines are answered by JSON lines, Arrow and Parquet by an Arrow stream, unless `Accept`
    asks for JSON lines."""
    service: Service = request.app.state.service
    name = request_id(request)
    try:
        caller = await service.access.require(request, "score")
        request.scope["caller"] = caller.id
        which = explain_of(request, "alerts")
        media = require_media(request, _KNOWN)
        service.scorer()
        spool = await _spooled(request)
        batch = Batch(service, service.scorer(), spool, which, name, caller.id)
        lines = media in JSON_LINES or "ndjson" in request.headers.get("accept", "")
        out = line_answers(batch, media) if lines else arrow_answers(batch, media)
        slot = await _slot(service)
        try:
            first = await asyncio.to_thread(next, out, b"")
        except BaseException:
            slot.release()
            spool.close()
            raise
    except Problem as problem:
        return problem.response(name)
    told = JSON_LINES[0] if lines else ARROW
    body = _streamed(service, first, out, spool, slot)
    return _Batches(body, media_type=told, headers={"X-Model-Version": batch.version})


class _Batches(StreamingResponse):
    """Ends its body with the request, however that ends: a slot must not wait for the collector."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await cast("AsyncGenerator[bytes]", self.body_iterator).aclose()


async def _slot(service: Service) -> asyncio.Semaphore:
    try:
        async with asyncio.timeout(service.settings.body_seconds):
            await service.batches.acquire()
    except TimeoutError:
        detail = "Other batches are being scored; try again later."
        raise Problem(503, "busy", detail, headers={"Retry-After": "30"}) from None
    return service.batches


async def _streamed(
    service: Service,
    first: bytes,
    rest: Generator[bytes],
    spool: IO[bytes],
    slot: asyncio.Semaphore,
) -> AsyncGenerator[bytes]:
    """A client that reads too slowly is cut off: the answer then lacks its end, and is known to."""
    scoring: asyncio.Task[bytes | None] | None = None
    try:
        async with asyncio.timeout(service.settings.batch_seconds):
            yield first
            while True:
                scoring = asyncio.create_task(asyncio.to_thread(next, rest, None))
                # A thread cannot be stopped: who is cut off leaves it to end its slice.
                part = await asyncio.shield(scoring)
                if part is None:
                    return
                yield part
    finally:

        def end(_: object = None) -> None:
            slot.release()
            with contextlib.suppress(ValueError):  # the server ends, and a thread is still in it
                rest.close()
            spool.close()

        if scoring is None or scoring.done():
            end()
        else:
            scoring.add_done_callback(end)


async def _spooled(request: Request) -> IO[bytes]:
    spool: IO[bytes] = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - closed when sent
    try:
        async for part in request.stream():
            if part:
                await asyncio.to_thread(spool.write, part)
    except BaseException:
        spool.close()
        raise
    spool.seek(0)
    return spool
