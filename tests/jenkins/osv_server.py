"""A database of vulnerabilities on loopback, as OSV's API: it knows what the test tells it."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Osv:
    """vulnerable: packages. asked: every package that was looked up."""

    url: str = ""
    vulnerable: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)

    def answer(self, question: dict[str, Any]) -> dict[str, Any]:
        name = question["package"]["name"]
        self.asked.append(name)
        if name not in self.vulnerable:
            return {}
        package = {"ecosystem": "PyPI", "name": name}
        affected = [{"package": package, "versions": [question["version"]]}]
        told = {"id": "PYSEC-2026-1", "summary": "It leaks.", "details": "", "affected": affected}
        return {"vulns": [told | {"modified": "2026-01-01T00:00:00Z"}]}


@contextlib.contextmanager
def osv() -> Iterator[Osv]:
    database = Osv()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            body = json.dumps(database.answer(question)).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Nothing on the tests' output."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    database.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield database
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
