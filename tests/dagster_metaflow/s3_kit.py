"""A store for the ledger: S3 that goes away and comes back, and one that is silent."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
import requests

KEYS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
ONCE = {
    "AWS_MAX_ATTEMPTS": "1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
ROOT = "s3://ledger"


@dataclass
class S3:
    """At one address, whenever it is up; what it holds stays."""

    port: int = 0

    def start(self) -> None:
        from moto.server import ThreadedMotoServer

        self._server = ThreadedMotoServer("127.0.0.1", port=self.port)
        self._server.start()
        self.port = self._server.get_host_and_port()[1]

    def stop(self) -> None:
        self._server.stop()


@contextmanager
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3]:
    """With an empty bucket for the ledger."""
    from s3fs import S3FileSystem

    made = S3()
    made.start()
    address = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{made.port}"}
    for name, value in {**KEYS, **ONCE, **address}.items():
        monkeypatch.setenv(name, value)
    requests.post(f"{address['AWS_ENDPOINT_URL']}/moto-api/reset", timeout=10).raise_for_status()
    S3FileSystem.clear_instance_cache()
    S3FileSystem().mkdir("ledger")
    yield made
    S3FileSystem.clear_instance_cache()
    made.stop()


@contextmanager
def silence() -> Iterator[str]:
    """Address of a server that takes every connection, and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
