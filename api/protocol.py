"""A connection's patience: `uvicorn api.app:app --http api.protocol:Patient`, or UVICORN_HTTP.

uvicorn by itself waits for ever for the rest of a request's head, and for whoever does not take
what was written to them; no app is asked in either case.
"""

from __future__ import annotations

import asyncio
from functools import cache
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api.settings import api_settings


@cache
def _seconds() -> float:
    return api_settings().body_seconds


class Patient(HttpToolsProtocol):
    """Ends a connection that has been waited for FRAUD_API_BODY_SECONDS long: for the head of a
    request, from its first byte or from the beginning, or for room to write."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._head: asyncio.TimerHandle | None = None
        self._room: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._look()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._look()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._room = self._limit()

    def resume_writing(self) -> None:
        super().resume_writing()
        _end(self._room)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        _end(self._head)
        _end(self._room)

    def _look(self) -> None:
        """Waits for a head, from now on or as before, unless a request is being answered."""
        if self.cycle is not None and not self.cycle.response_complete:
            _end(self._head)
            self._head = None
        elif self._head is None:
            self._head = self._limit()

    def _limit(self) -> asyncio.TimerHandle:
        return self.loop.call_later(_seconds(), self.transport.abort)


def _end(timer: asyncio.TimerHandle | None) -> None:
    if timer:
        timer.cancel()
