"""A proxy in front of Snowflake's server, with the faults that networks and servers have."""

from __future__ import annotations

import gzip
import http.server
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

LOGIN = "/session/v1/login-request"


@dataclass
class Proxy:
    """login: what a login is answered with, instead of the server's answer. busy: requests that
    get 503. lose: statements, by their beginning, whose next answer is lost on the way. refuse:
    answers in place of the server's, by the beginning of the statement. mask: what stands in a
    SELECT, and what the server reads for it."""

    target: int
    port: int = 0
    login: dict[str, Any] | int | None = None
    busy: int = 0
    lose: list[str] = field(default_factory=list)
    refuse: dict[str, dict[str, Any]] = field(default_factory=dict)
    mask: dict[str, str] = field(default_factory=dict)
    statements: list[str] = field(default_factory=list)
    sessions: list[str] = field(default_factory=list)
    logins: list[dict[str, Any]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def seen(self, path: str, body: bytes, authorization: str | None) -> str:
        """What is asked for: the statement, or the path."""
        if path.startswith(LOGIN):
            self.logins.append(json.loads(body))
        if not path.startswith("/queries/v1/query-request"):
            return path
        if authorization and authorization not in self.sessions:
            self.sessions.append(authorization)
        statement = str(json.loads(body)["sqlText"])
        self.statements.append(statement)
        return statement

    def fault(self, asked: str) -> dict[str, Any] | int | None:
        """An answer, or a status, in place of the server's."""
        if asked.startswith(LOGIN) and self.login is not None:
            return self.login
        for start, answer in self.refuse.items():
            if asked.startswith(start):
                return answer
        with self.lock:
            if self.busy > 0:
                self.busy -= 1
                return 503
        return None

    def masked(self, asked: str, body: bytes) -> bytes:
        """The request as the server takes it."""
        if not asked.startswith("SELECT") or not self.mask:
            return body
        for text, read in self.mask.items():
            asked = asked.replace(text, read)
        return json.dumps(json.loads(body) | {"sqlText": asked}).encode()

    def lost(self, asked: str) -> bool:
        with self.lock:
            found = next((start for start in self.lose if asked.startswith(start)), None)
            if found is not None:
                self.lose.remove(found)
            return found is not None


class _Handler(http.server.BaseHTTPRequestHandler):
    state: Proxy

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        plain = gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
        asked = self.state.seen(self.path, plain, self.headers.get("Authorization"))
        fault = self.state.fault(asked)
        if isinstance(fault, int):
            self._answer(fault, b"{}")
        elif fault is not None:
            self._answer(200, json.dumps(fault).encode())
        else:
            status, answer = self._forward(self.state.masked(asked, plain))
            if self.state.lost(asked):
                self.close_connection = True
                return
            self._answer(status, answer)

    def _forward(self, body: bytes) -> tuple[int, bytes]:
        kept = {
            name: value
            for name in ("Authorization", "Content-Type", "Accept", "User-Agent")
            if (value := self.headers.get(name))
        }
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.state.target}{self.path}", data=body, headers=kept
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    def _answer(self, status: int, data: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@contextmanager
def proxy(target: int) -> Iterator[Proxy]:
    """In front of the server on this port."""
    state = Proxy(target)
    handler = type("Handler", (_Handler,), {"state": state})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        state.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield state
        server.shutdown()


def refused(code: int, message: str) -> dict[str, Any]:
    """A login that Snowflake answers with no."""
    return {"data": {"nextAction": None}, "code": str(code), "message": message, "success": False}
