"""Logs as JSON lines: time, level, logger, message, and the fields of a request."""

from __future__ import annotations

import logging
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


def configure() -> None:
    """Our own loggers; of uvicorn's, which are as its command line sets them, the one of requests
    ends: its lines have whole addresses, with whatever a client has put into path or query."""
    access = logging.getLogger("uvicorn.access")
    access.handlers.clear()
    access.propagate = False
    logger = logging.getLogger("fraud")
    if logger.handlers:
        return
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines())
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
