"""POST /v1/score/batch: many claims in, a line or a row for each out, in flat memory.

The body is put down on disk first, so that nobody's slow line holds a core or a model, then read
and scored in slices by one version from the first row to the last.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import tempfile
from collections.abc import AsyncGenerator, Generator
from typing import IO

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from api.accepting import accepted
from api.access import requires
from api.batch_bodies import ARROW, JSON_LINES, PARQUET, Batch
from api.batch_formats import arrow_answers, line_answers
from api.problems import Problem, request_id
from api.scoring import explain_of, require_media, what_if_of
from api.service import Service

_IN_MEMORY = 1 << 20
"""Bytes of a body, after which it is on disk, and that are written at a time."""
_PIECE = 1 << 18
"""Bytes of an answer that a client has its time for."""

_LATER = {"Retry-After": "30"}
_KNOWN = (*JSON_LINES, ARROW, PARQUET)

log = logging.getLogger("fraud.api")


@requires("score")
async def score_batch(request: Request) -> Response:
    """JSON lines are answered by JSON lines, Arrow and Parquet by an Arrow stream, unless `Accept`
    asks for the other."""
    service: Service = request.app.state.service
    name = request_id(request)
    caller = request.scope["caller"]
    which, what_if = explain_of(request, "alerts"), what_if_of(request)
    media = require_media(request, _KNOWN)
    answer = _accepted(request, media)
    service.scorer()
    with contextlib.ExitStack() as stack:
        await _place(service, service.bodies, stack)
        spool = stack.enter_context(tempfile.SpooledTemporaryFile(_IN_MEMORY))
        await _put_down(request, spool)
        batch = Batch(service, service.scorer(), spool, which, name, caller, what_if)
        out = (line_answers if answer in JSON_LINES else arrow_answers)(batch, media)
        await _place(service, service.batches, stack)
        first = await asyncio.to_thread(next, out, b"")
        held = stack.pop_all()
    return _Answer(batch, first, out, held, answer)


def _accepted(request: Request, media: str) -> str:
    """The answer's media type. Problem 406 where none is accepted."""
    offered = (*JSON_LINES, ARROW) if media in JSON_LINES else (ARROW, *JSON_LINES)
    found = accepted(",".join(request.headers.getlist("accept")), offered)
    if found is None:
        raise Problem(406, "not-acceptable", f"Accept one of {', '.join(offered)}.")
    return found


async def _place(service: Service, places: asyncio.Semaphore, held: contextlib.ExitStack) -> None:
    """One of so many places, until `held` ends. Problem when none gets free in time."""
    try:
        async with asyncio.timeout(service.settings.body_seconds):
            await places.acquire()
    except TimeoutError:
        detail = "Other batches are being scored; try again later."
        raise Problem(503, "busy", detail, headers=_LATER) from None
    held.callback(places.release)


async def _put_down(request: Request, spool: IO[bytes]) -> None:
    """The body, on disk but for a small one."""
    try:
        held = bytearray()
        async for part in request.stream():
            held += part
            if len(held) >= _IN_MEMORY:
                await asyncio.to_thread(spool.write, held)
                held = bytearray()
        await asyncio.to_thread(spool.write, held)
        await asyncio.to_thread(spool.seek, 0)
    except OSError as error:
        log.error("request %s: no batch can be put down: %s", request_id(request), error)  # noqa: TRY400
        detail = "This server's disk takes no batch now; try again later."
        raise Problem(503, "no-room", detail, headers=_LATER) from None


class _Answer(StreamingResponse):
    """Ends its body with the request, however that ends: a place must not wait for the collector.

    A client that does not read, or takes too long in all, is cut off, and so is one whose body
    cannot be read on: the answer then lacks its end, and is known to.
    """

    def __init__(
        self,
        batch: Batch,
        first: bytes,
        rest: Generator[bytes],
        held: contextlib.ExitStack,
        media: str,
    ) -> None:
        self._batch, self._held, self._begun = batch, held, False
        self._body = self._streamed(first, rest)
        super().__init__(self._body, media_type=media, headers={"X-Model-Version": batch.version})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        limits = self._batch.service.settings

        async def taken(message: Message) -> None:
            async with asyncio.timeout(limits.body_seconds):
                await send(message)

        whole = asyncio.timeout(limits.batch_seconds)
        try:
            async with whole:
                await super().__call__(scope, receive, taken)
        except (TimeoutError, Problem) as error:
            why = "it took too long in all" if whole.expired() else "it was not read in time"
            if isinstance(error, Problem):
                why, scope["broken_off"] = error.kind, error.status
            log.warning("request %s: its answer was broken off: %s", self._batch.name, why)
        finally:
            await self._body.aclose()
            if not self._begun:  # a generator that was not begun has no end either
                self._held.close()

    async def _streamed(self, first: bytes, rest: Generator[bytes]) -> AsyncGenerator[bytes]:
        """`first`, `rest` and the end of what is held."""
        self._begun = True
        scoring: asyncio.Task[bytes | None] | None = None
        part: bytes | None = first
        try:
            while part is not None:
                for at in range(0, len(part), _PIECE):
                    yield part[at : at + _PIECE]
                scoring = asyncio.create_task(asyncio.to_thread(next, rest, None))
                # A thread cannot be stopped: who is cut off leaves it to end its slice.
                part = await asyncio.shield(scoring)
        finally:

            def end(_: object = None) -> None:
                # The server ends, and a thread is still in it.
                with self._held, contextlib.suppress(ValueError):
                    rest.close()

            if scoring is None or scoring.done():
                end()
            else:
                scoring.add_done_callback(end)
