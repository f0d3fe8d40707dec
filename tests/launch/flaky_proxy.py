"""A proxy in front of a webserver, with the faults that networks have."""

from __future__ import annotations

import contextlib
import http.server
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass
class Proxy:
    """`drop`: that many launches are passed on, and their answers lost. `busy`: that many 503.

    `awake`: cleared, nothing is answered until it is set.
    `together`: launches wait for each other, there and back.
    """

    target: str
    url: str = ""
    token: str | None = None
    drop: int = 0
    busy: int = 0
    launches: int = 0
    awake: threading.Event = field(default_factory=threading.Event)
    together: threading.Barrier | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)


@contextlib.contextmanager
def proxy(target: str) -> Iterator[Proxy]:
    state = Proxy(target)
    state.awake.set()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if not state.awake.is_set():
                state.awake.wait()
                self.close_connection = True  # whoever asked may be gone
                return
            with state.lock:
                busy, state.busy = state.busy > 0, max(0, state.busy - 1)
                lost = b"launchRun" in body and state.drop > 0
                state.launches += b"launchRun" in body
                state.drop -= lost
            if state.token and self.headers.get("Authorization") != f"Bearer {state.token}":
                self.send_error(401)
            elif busy:
                self.send_error(503)
            else:
                wait = state.together.wait if state.together and b"launchRun" in body else _at_once
                wait()
                answer = _forward(state.target + self.path, body)
                wait()
                if lost:
                    self.close_connection = True
                    return
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        state.url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield state
        finally:
            state.awake.set()
            server.shutdown()


def _at_once() -> None:
    """Nobody is waited for."""


def _forward(url: str, body: bytes) -> bytes:
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310
        answer: bytes = response.read()
        return answer
