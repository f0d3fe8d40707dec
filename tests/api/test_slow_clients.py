"""Clients that send or read too slowly, and a disk that is full: each is told so or cut off, and
keeps nothing from the others."""

from __future__ import annotations

import contextlib
import resource
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from api_kit import Published, Server, open_server

from api.service import BATCHES, BODIES

LINES = {"Content-Type": "application/x-ndjson"}
MIB = 1 << 20


@pytest.fixture
def server(published: Published, tmp_path: Path) -> Iterator[Server]:
    with open_server(published, tmp_path, FRAUD_API_BODY_SECONDS="2") as running:
        yield running


@contextlib.contextmanager
def connected(server: Server) -> Iterator[socket.socket]:
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(20)
        client.connect(("127.0.0.1", int(server.url.rpartition(":")[2])))
        yield client


def begin(client: socket.socket, length: int, body: bytes, query: str = "") -> None:
    """A batch, as far as `body`."""
    head = f"POST /v1/score/batch{query} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n"
    client.sendall(f"{head}Content-Type: application/x-ndjson\r\n\r\n".encode() + body)


def batch(server: Server, body: bytes = b"{}\n") -> tuple[int, str | None]:
    told = server.post("/v1/score/batch", data=body, headers=LINES)
    return told.status_code, told.headers.get("Retry-After")


def test_an_answer_that_nobody_reads_is_broken_off_and_the_next_batch_is_scored(
    server: Server,
) -> None:
    body = b"{}\n" * 20_000
    with contextlib.ExitStack() as held:
        for _ in range(BATCHES):
            client = held.enter_context(connected(server))
            begin(client, len(body), body, "?reasons=all")
            assert b" 200 " in client.recv(100)
        server.until(lambda: batch(server) == (200, None))
        server.until(lambda: "was broken off: it was not read in time" in server.log.read_text())
    assert '"trace"' not in server.log.read_text()


def test_a_body_that_trickles_in_is_refused_though_no_part_of_it_is_late(server: Server) -> None:
    with connected(server) as client:
        begin(client, 1000, b"{}\n")
        client.settimeout(0.5)
        for _ in range(20):
            with contextlib.suppress(TimeoutError):
                assert b" 408 " in client.recv(4096).split(b"\r\n")[0]
                return
            client.sendall(b"\n")
    pytest.fail("it was waited for")


def test_so_many_bodies_are_on_disk_at_once_and_no_more(server: Server) -> None:
    begun = b"\n" * MIB
    with contextlib.ExitStack() as held, ThreadPoolExecutor(1) as pool:
        clients = [held.enter_context(connected(server)) for _ in range(BODIES)]
        for client in clients:
            begin(client, 2 * MIB, begun)
        time.sleep(0.5)
        one_more = pool.submit(batch, server)
        time.sleep(1)
        for client in clients:
            client.sendall(b"\n")
        assert one_more.result() == (503, "30")
    server.until(lambda: batch(server) == (200, None))


def test_a_disk_that_takes_no_batch_is_told_and_no_fault(
    published: Published, tmp_path: Path
) -> None:
    with open_server(published, tmp_path, process=True) as server:
        process, endless = psutil.Process(server.process.pid), resource.RLIM_INFINITY
        process.rlimit(psutil.RLIMIT_FSIZE, (2 * MIB, endless))
        assert batch(server, b"{}\n" * MIB) == (503, "30")
        assert batch(server) == (200, None)
        assert "no batch can be put down: [Errno 27] File too large" in server.log.read_text()
        process.rlimit(psutil.RLIMIT_FSIZE, (endless, endless))
        assert batch(server, b"\n" * 3 * MIB + b"{}\n") == (200, None)
