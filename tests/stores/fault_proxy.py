"""A proxy in front of a store, with the faults that networks and busy services have."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

Kind = Literal["busy", "refused", "broken request", "lost answer", "half an answer", "silence"]


@dataclass
class Fault:
    """What happens to the next `times` requests that it is for.

    busy: 503, with Retry-After. refused: 403, as S3 says it, for the reason `code`, of a store
    whose clock says `date`. broken request: the connection ends amid the request's body, which the
    store never sees. lost answer: the store has done it, and nobody hears. half an answer: the
    connection ends amid the response's body. silence: no answer until the client has gone.
    """

    kind: Kind
    times: int = 1
    wanted: Callable[[str, str], bool] = lambda _method, _path: True
    retry_after: str | None = None
    code: str = "AccessDenied"
    date: str | None = None


@dataclass
class Proxy:
    """requests: method and path of each that came, by the time it came."""

    target: str
    url: str = ""
    faults: list[Fault] = field(default_factory=list)
    requests: list[tuple[float, str, str]] = field(default_factory=list)
    sent: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, method: str, path: str) -> Fault | None:
        with self.lock:
            self.requests.append((time.monotonic(), method, path))
            for fault in self.faults:
                if fault.times and fault.wanted(method, path):
                    fault.times -= 1
                    return fault
        return None

    def seen(self, method: str) -> list[float]:
        return [moment for moment, name, _ in self.requests if name == method]


def puts(method: str, _path: str) -> bool:
    return method == "PUT"


def gets(method: str, _path: str) -> bool:
    return method == "GET"


@contextlib.contextmanager
def proxy(target: str) -> Iterator[Proxy]:
    """Of the store at `target`."""
    state = Proxy(target)
    handler = type("Handler", (_Handler,), {"state": state})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        state.url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: Proxy

    def _answer(self) -> None:
        fault = self.state.take(self.command, self.path)
        if fault and fault.kind == "broken request":
            self.rfile.read(min(1000, self._length()))
            self.close_connection = True
            return
        body = self.rfile.read(self._length())
        if fault and fault.kind == "busy":
            self.send_response(503)
            if fault.retry_after:
                self.send_header("Retry-After", fault.retry_after)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if fault and fault.kind == "refused":
            answer = f"<Error><Code>{fault.code}</Code><Message>no</Message></Error>".encode()
            headers = [("Content-Type", "application/xml")]
            headers += [("Date", fault.date)] if fault.date else []
            self._send(403, headers, answer, half=False)
            return
        if fault and fault.kind == "silence":
            with contextlib.suppress(OSError):
                self.connection.settimeout(60)
                self.rfile.read(1)
            self.close_connection = True
            return
        status, headers, answer = self._forward(body)
        if fault and fault.kind == "lost answer":
            self.close_connection = True
            return
        self._send(status, headers, answer, half=bool(fault))

    def _send(
        self, status: int, headers: list[tuple[str, str]], answer: bytes, *, half: bool
    ) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in ("connection", "transfer-encoding", "content-length"):
                self.send_header(name, value)
        length = {name.lower(): value for name, value in headers}.get("content-length")
        whole = length if self.command == "HEAD" and length else str(len(answer))
        self.send_header("Content-Length", whole)
        self.end_headers()
        if half:
            answer, self.close_connection = answer[: len(answer) // 2], True
        if self.command != "HEAD":
            self.wfile.write(answer)
            self.state.sent += len(answer)

    def _length(self) -> int:
        return int(self.headers.get("Content-Length") or 0)

    def _forward(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(urlsplit(self.state.target).netloc, timeout=60)
        try:
            headers = {k: v for k, v in self.headers.items() if k.lower() != "expect"}
            connection.request(self.command, self.path, body or None, headers)
            response = connection.getresponse()
            return response.status, response.getheaders(), response.read()
        finally:
            connection.close()

    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = _answer  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Quiet."""
