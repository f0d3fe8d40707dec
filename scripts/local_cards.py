"""Cards of runs for a browser on this machine, while `make ui` runs: Dagster's pages link to them.

A browser opens no file from a page of Dagster's, and no object of a store: so they are read from
the lakehouse here, with the rights of whoever started it, and given to this machine alone.
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import local_dagster

_NAME = r"([A-Za-z0-9][A-Za-z0-9._-]*)"
_CARD = re.compile(rf"/{_NAME}/{_NAME}/(card-[A-Za-z0-9._-]+\.html)")
_POLICY = (
    "default-src 'none'", "script-src 'unsafe-inline' 'unsafe-eval'", "style-src 'unsafe-inline'",
    "img-src data: blob:", "font-src data:", "base-uri 'none'", "form-action 'none'",
    "frame-ancestors 'none'",
)  # fmt: skip
"""A card's own scripts draw it, charts by expressions that they compile; they reach nobody, and
read nothing of other cards."""
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "; ".join((*_POLICY, "sandbox allow-scripts")),
    "X-Content-Type-Options": "nosniff",
}


@contextlib.contextmanager
def cards(port: int, root: str | None = None) -> Iterator[bool]:
    """Served as long as the block runs; False when somebody else has the port.

    root: of the lakehouse; the settings' when left out.
    """
    if not local_dagster.is_free(port):
        yield False
        return
    with ThreadingHTTPServer(("127.0.0.1", port), partial(_Handler, root)) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield True
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    """`/FLOW/LAUNCH/card-NAME.html`, as below `_reports` of the lakehouse, and nothing else."""

    timeout = 30

    def __init__(self, root: str | None, *given: Any) -> None:
        self._root = root
        super().__init__(*given)

    def do_GET(self) -> None:
        found = _CARD.fullmatch(self.path)
        # Another name for this machine would be another site's, which must not read what is here.
        here = self.headers.get("Host", "").partition(":")[0] in ("127.0.0.1", "localhost")
        if found is None or not here:
            self.send_error(404, "Cards are at /FLOW/LAUNCH/card-NAME.html")
            return
        from fraud_mlops.errors import FraudMlopsError

        try:
            page = _read(self._root or _lakehouse(), found.groups())
        except FileNotFoundError:
            self.send_error(404, "There is no such card: its run may not have exported it yet")
        except (FraudMlopsError, OSError) as error:
            self.send_error(502, "The lakehouse cannot be read", str(error))
        else:
            self.send_response(200)
            for name, value in _HEADERS.items():
                self.send_header(name, value)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

    def log_message(self, *_: object) -> None:
        """The terminal is for Dagster's address."""


def _lakehouse() -> str:
    """As Dagster has it, which runs in the project's folder."""
    from fraud_mlops.settings import settings

    root = settings().lakehouse_uri
    return root if "://" in root else str(local_dagster.ROOT / Path(root).expanduser())


def _read(root: str, place: tuple[str, ...]) -> bytes:
    from fraud_mlops.lakehouse.stores import join, read_bytes

    return read_bytes(join(root, "_reports", *place))
