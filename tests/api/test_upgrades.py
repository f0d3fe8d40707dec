"""A handshake for a WebSocket, which nothing here speaks, is as quiet as any other request."""

from __future__ import annotations

import json
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from api_kit import DATASET, Published, Server, process_server

STARTS = {"bare": ("uvicorn", "api.app:app"), "served": ("api.serve",)}
HANDSHAKE = (
    "GET {path} HTTP/1.1\r\nHost: Erika\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "X-API-Key: Erika\r\nSec-WebSocket-Version: {version}\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def answer(server: Server, path: str, version: str = "13") -> list[str]:
    """Status line and headers."""
    address = ("127.0.0.1", int(server.url.rpartition(":")[2]))
    with socket.create_connection(address, timeout=20) as client:
        client.sendall(HANDSHAKE.format(path=path, version=version).encode())
        told = b""
        while b"\r\n\r\n" not in told and (part := client.recv(4096)):
            told += part
    return told.decode().partition("\r\n\r\n")[0].lower().split("\r\n")


def access_lines(server: Server) -> list[dict[str, Any]]:
    lines = [line for line in server.log.read_text().splitlines() if '"fraud.access"' in line]
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize("start", STARTS.values(), ids=STARTS)
def test_a_handshake_is_refused_counted_and_logged_without_what_its_client_says(
    published: Published, tmp_path: Path, start: Sequence[str]
) -> None:
    environment = {
        "LAKEHOUSE_URI": str(published.root),
        "FRAUD_API_DATASET": DATASET,
        "FRAUD_API_OPEN": "1",
        "FRAUD_API_LOG_FOLDER": str(tmp_path / "waiting"),
    }
    with process_server(tmp_path, environment, "--log-level", "debug", start=start) as server:
        known = answer(server, "/v1/score?policyholder=Erika")
        other = answer(server, "/claims/Erika")
        assert known[0].split()[1] in ("400", "405")
        assert other[0].split()[1] in ("400", "404")
        server.until(lambda: len(access_lines(server)) == 2)
        routes = [(line["route"], str(line["status"])) for line in access_lines(server)]
        assert routes == [("/v1/score", known[0].split()[1]), ("other", other[0].split()[1])]
        for told, line in zip((known, other), access_lines(server), strict=True):
            assert f"x-request-id: {line['request_id']}" in told
            assert "x-content-type-options: nosniff" in told
            counted = f'route="{line["route"]}",status="{line["status"]}"}} 1.0'
            assert counted in server.get("/metrics").text
        assert answer(server, "/v1/score?policyholder=Erika", version="Erika")[0]
    assert "Erika" not in server.log.read_text()
