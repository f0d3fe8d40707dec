"""Servers that are no Dagster, or a broken or slow one."""

from __future__ import annotations

import contextlib
import http.server
import threading
import time
from collections.abc import Callable, Iterator


def answering(body: bytes) -> contextlib.AbstractContextManager[str]:
    """One that answers every question alike: its address."""
    return conversing(lambda _: body)


@contextlib.contextmanager
def conversing(answer: Callable[[bytes], bytes], seconds: float = 0.0) -> Iterator[str]:
    """One that takes so many seconds for each answer: its address."""

    class Page(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = answer(self.rfile.read(int(self.headers["Content-Length"])))
            time.sleep(seconds)
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with contextlib.suppress(BrokenPipeError):  # whoever asked may be gone
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
