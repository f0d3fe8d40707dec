"""Clients that send or read too slowly, and a disk that is full: each is told so or cut off, and
keeps nothing from the others."""

from __future__ import annotations

import contextlib
import io
import re
import resource
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pyarrow as pa
import pytest
import requests
from api_kit import ROOT, Published, Server, open_server

from api.batch_bodies import ARROW, SLICE
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
    server.until(lambda: server.log.read_text().count('"status":499') == BATCHES)
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


def test_an_answer_that_its_client_does_not_wait_for_is_no_whole_one(server: Server) -> None:
    body = b"{}\n" * 20_000
    with connected(server) as client:
        begin(client, len(body), body, "?reasons=all")
        assert b" 200 " in client.recv(100)
    server.until(lambda: "/v1/score/batch" in server.log.read_text())
    assert '"route":"/v1/score/batch","status":499' in server.log.read_text()
    counted = 'route="/v1/score/batch",status="499"} 1.0'
    assert counted in server.get("/metrics").text
    assert batch(server) == (200, None)
    server.until(lambda: '"route":"/v1/score/batch","status":200' in server.log.read_text())


def test_an_answer_that_ends_with_its_body_has_what_is_wrong_with_that_as_its_status(
    server: Server,
) -> None:
    target = io.BytesIO()
    good, no_text = (pa.array([word] * SLICE).view(pa.string()) for word in (b"theft", b"\xff"))
    with pa.ipc.new_stream(target, pa.schema({"peril": pa.string()})) as writer:
        for words in (*[good] * 7, no_text):
            writer.write_batch(pa.record_batch({"peril": words}))
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        server.post("/v1/score/batch", data=target.getvalue(), headers={"Content-Type": ARROW})
    server.until(lambda: '"route":"/v1/score/batch","status":400' in server.log.read_text())


@pytest.fixture(scope="module")
def image(published: Published, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server as the image starts it."""
    text = (ROOT / "infra" / "api" / "Dockerfile").read_text()
    named = {"UVICORN_HTTP": re.findall(r"UVICORN_HTTP=(\S+)", text)[0]}
    folder, patience = tmp_path_factory.mktemp("image"), {"FRAUD_API_BODY_SECONDS": "1"}
    with open_server(published, folder, process=True, **named, **patience) as running:
        yield running


HEAD = b"GET /healthz HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize(
    ("before", "sent", "more"),
    [(b"", b"", b""), (b"", HEAD, b"X"), (HEAD + b"\r\n", HEAD, b"X"),
     (HEAD + b"\r\n", b"\r\n", b"\r\n")],
    ids=["nothing", "half", "half of the second", "blank lines after the first"],
)  # fmt: skip
def test_half_a_head_is_not_waited_for(
    image: Server, before: bytes, sent: bytes, more: bytes
) -> None:
    with connected(image) as client:
        if before:
            client.sendall(before)
            whole_answer(client)
        client.sendall(sent)
        began = time.monotonic()
        while time.monotonic() - began < 10 and goes_on(client):
            with contextlib.suppress(OSError):
                client.sendall(more)
    assert time.monotonic() - began < 9


def whole_answer(client: socket.socket) -> None:
    told = b""
    while not told.endswith(b'{"status":"ok"}'):
        told += (part := client.recv(4096))
        assert part, told


def goes_on(client: socket.socket) -> bool:
    """Whether the server still has the connection half a second on."""
    client.settimeout(0.5)
    try:
        return client.recv(4096) != b""
    except TimeoutError:
        return True
    except ConnectionError:
        return False


def test_a_connection_lives_longer_than_a_head_may_take(image: Server) -> None:
    with connected(image) as client:
        for _ in range(4):
            client.sendall(HEAD + b"\r\n")
            whole_answer(client)
            time.sleep(0.6)


def test_what_is_written_to_nobody_does_not_stay(image: Server) -> None:
    body = b"{}\n" * 20_000
    with connected(image) as client:
        begin(client, len(body), body, "?reasons=all")
        assert b" 200 " in client.recv(100)
        ours = client.getsockname()[1]
        image.until(lambda: ours not in connections(image))


def connections(server: Server) -> list[int]:
    """Ports of those who are connected."""
    found = psutil.Process(server.process.pid).net_connections("tcp4")
    return [one.raddr.port for one in found if one.raddr]


def test_so_many_bodies_are_on_disk_at_once_and_no_more(server: Server) -> None:
    begun = b"\n" * MIB
    with contextlib.ExitStack() as held, ThreadPoolExecutor(1) as pool:
        clients = [held.enter_context(connected(server)) for _ in range(BODIES)]
        for number, client in enumerate(clients):
            begin(client, 2 * MIB, begun)
            for other in clients[:number]:  # who is silent for long is cut off
                other.sendall(b"\n")
        time.sleep(0.5)
        one_more = pool.submit(batch, server)
        while not one_more.done():
            for client in clients:
                client.sendall(b"\n")
            time.sleep(0.3)
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
        process.rlimit(psutil.RLIMIT_FSIZE, (endless, endless))
        assert "no batch can be put down: [Errno 27] File too large" in server.log.read_text()
        assert batch(server, (b" " * 1023 + b"\n") * 3 * 1024 + b"{}\n") == (200, None)


@pytest.mark.parametrize("path", ["/v1/score", "/v1/score/batch"])
def test_a_client_that_goes_away_while_it_sends_is_no_fault_of_the_servers(
    server: Server, path: str
) -> None:
    kind = LINES["Content-Type"] if path.endswith("batch") else "application/json"
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: 99\r\n\r\n"
    with connected(server) as client:
        client.sendall(head.encode() + b"{")
        time.sleep(0.3)
    server.until(lambda: '"status":499' in server.log.read_text())
    assert '"trace"' not in server.log.read_text()
