"""How schemathesis sends bodies of our media types: as they are."""

from __future__ import annotations

from typing import Any

import schemathesis

MEDIA = (
    "application/x-ndjson",
    "application/vnd.apache.arrow.stream",
    "application/vnd.apache.parquet",
)


@schemathesis.serializer(*MEDIA)
def as_it_is(_: Any, value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    return value.encode() if isinstance(value, str) else str(value).encode()
