"""Logs as JSON lines: time, level, logger, message, and the fields of a request."""

from __future__ import annotations

import logging
import re
from datetime import UTC, datetime

from pydantic_core import to_json


class JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        told = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            told["trace"] = self.formatException(record.exc_info)
        return to_json(told, fallback=str).decode()


_WEBSOCKETS = re.compile(r"/websockets/(legacy/)?\w+\.py$")


def _of_requests(record: logging.LogRecord) -> bool:
    """Not of WebSockets, of which uvicorn tells elsewhere than of requests."""
    return not _WEBSOCKETS.search(record.pathname) and "WebSocket" not in str(record.msg)


def configure() -> None:
    """Our own loggers; of uvicorn's, which are as its command line sets them, the lines of requests
    and handshakes end: they have whole addresses, with whatever a client has put into path or
    query."""
    access = logging.getLogger("uvicorn.access")
    access.handlers.clear()
    access.propagate = False
    logging.getLogger("uvicorn.error").addFilter(_of_requests)
    logger = logging.getLogger("fraud")
    if logger.handlers:
        return
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines())
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
