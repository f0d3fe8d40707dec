"""Bodies that are small and ask for much, and what a server has of them: nothing."""

from __future__ import annotations

import io
import os
import struct
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import requests
from api_kit import Published, Server, keys, open_server

from api.arrow_bodies import unpacked

ARROW = {"Content-Type": "application/vnd.apache.arrow.stream"}
PARQUET = {"Content-Type": "application/vnd.apache.parquet"}
LINES = {"Content-Type": "application/x-ndjson"}
JSON = {"Content-Type": "application/json"}
MIB = 1 << 20


def stream(table: pa.Table, codec: str | None = None) -> bytes:
    target = io.BytesIO()
    options = pa.ipc.IpcWriteOptions(compression=codec)
    with pa.ipc.new_stream(target, table.schema, options=options) as writer:
        writer.write_table(table)
    return target.getvalue()


def flat(rows: int) -> pa.Table:
    """Compresses to next to nothing."""
    return pa.table({"amount": pa.array([1.0] * rows), "peril": pa.array(["theft"] * rows)})


def pointed_at(word: str, rows: int) -> pa.Table:
    """Many rows that share one word."""
    indices = pa.array([0] * rows, pa.int8())
    return pa.table({"peril": pa.DictionaryArray.from_arrays(indices, pa.array([word]))})


@pytest.mark.parametrize("codec", [None, "lz4", "zstd"])
def test_what_a_stream_unpacks_to_is_known_before(codec: str | None) -> None:
    table = flat(200_000)
    body = io.BytesIO(stream(table, codec))
    found = unpacked(body, 1 << 40)
    assert table.nbytes <= found.bytes < 1.1 * table.nbytes
    assert found.rows == table.num_rows
    assert body.tell() == 0
    shared = unpacked(io.BytesIO(stream(pointed_at("x" * 9000, 9), codec)), 1 << 40)
    assert (shared.bytes > 9000, shared.rows) == (True, 9)


@pytest.fixture
def small(published: Published, tmp_path: Path) -> Any:
    with open_server(published, tmp_path, FRAUD_API_MAX_BATCH_BYTES="200000") as running:
        yield running


@pytest.mark.parametrize("codec", ["lz4", "zstd"])
def test_a_stream_that_unpacks_to_too_much_is_refused(small: Server, codec: str) -> None:
    told = small.post("/v1/score/batch", data=stream(flat(150_000), codec), headers=ARROW)
    assert (told.status_code, told.json()["type"]) == (413, "urn:fraud-mlops:problem:too-large")
    fine = small.post("/v1/score/batch", data=stream(flat(5000), codec), headers=ARROW)
    assert fine.status_code == 200


def test_a_buffer_that_lies_of_its_length_is_refused(small: Server) -> None:
    body = bytearray(stream(flat(5000), "lz4"))
    place = body.find(struct.pack("<q", 8 * 5000))
    for said in (1 << 60, -(1 << 40)):
        body[place : place + 8] = struct.pack("<q", said)
        told = small.post("/v1/score/batch", data=bytes(body), headers=ARROW)
        assert told.status_code in (400, 413), told.text


def test_a_long_word_that_many_rows_point_at_is_each_rows_error(small: Server) -> None:
    body = stream(pointed_at("x" * 90_000, 4096))
    assert errors_of(small, body, ARROW) == ["peril: a word has more than 512 characters"] * 4096
    known = small.post("/v1/score/batch", data=stream(pointed_at("theft", 50)), headers=ARROW)
    assert known.status_code == 200


def as_parquet(table: pa.Table, **options: Any) -> bytes:
    target = io.BytesIO()
    pq.write_table(table, target, **options)
    return target.getvalue()


def viewed(word: str, rows: int, kind: pa.DataType) -> pa.Table:
    """As views: each row a length, a beginning and a place."""
    data = word.encode()
    views = struct.pack("<i4sii", len(data), data[:4], 0, 0) * rows
    buffers = [None, pa.py_buffer(views), pa.py_buffer(data)]
    return pa.table({"peril": pa.Array.from_buffers(kind, rows, buffers)})


def errors_of(server: Server, body: bytes, headers: dict[str, str]) -> list[str | None]:
    """Of each row."""
    told = server.post("/v1/score/batch", data=body, headers=headers)
    assert told.status_code == 200, told.text
    found: list[str | None] = pa.ipc.open_stream(told.content).read_all()["error"].to_pylist()
    return found


def batch_with(server: Server, body: bytes, headers: dict[str, str]) -> tuple[int, str]:
    told = server.post("/v1/score/batch", data=body, headers=headers)
    return told.status_code, told.text if told.status_code != 200 else ""


def test_a_long_word_is_an_error_in_whatever_way_rows_share_it(small: Server) -> None:
    word, process = "x" * 90_000, psutil.Process()
    before = process.memory_info().rss
    bodies = [
        (as_parquet(pointed_at(word, 4096)), PARQUET),
        (as_parquet(pointed_at(word, 4096), store_schema=False), PARQUET),
        (stream(viewed(word, 4096, pa.string_view())), ARROW),
        (stream(viewed(word, 4096, pa.binary_view())), ARROW),
    ]
    for body, headers in bodies:
        found = errors_of(small, body, headers)
        assert found == ["peril: a word has more than 512 characters"] * 4096
    assert process.memory_info().rss - before < 150 * MIB


def test_words_are_read_however_they_are_kept(small: Server) -> None:
    word = "accidental damage"
    assert batch_with(small, as_parquet(pointed_at(word, 50)), PARQUET) == (200, "")
    assert batch_with(small, as_parquet(flat(50), use_dictionary=False), PARQUET) == (200, "")
    for kind in (pa.string_view(), pa.binary_view()):
        assert batch_with(small, stream(viewed(word, 50, kind)), ARROW) == (200, "")


def test_words_that_share_their_beginnings_are_refused_in_words(small: Server) -> None:
    encoding = {"peril": "DELTA_BYTE_ARRAY"}
    body = as_parquet(flat(50), use_dictionary=False, column_encoding=encoding)
    status, told = batch_with(small, body, PARQUET)
    assert status == 422
    assert "DELTA_... encodings are not read" in told


def parquet(rows: int) -> bytes:
    return as_parquet(flat(rows), compression="zstd")


def unsigned(number: int) -> list[tuple[str, dict[str, str], bytes, int]]:
    """What somebody sends whom nobody knows, to a server that asks for a key."""
    nobodys = f"{number}".encode() * 2000
    return [
        ("/v1/score", JSON, b'{"amount": 1}', 401),
        ("/v1/score", JSON | {"Authorization": f"Bearer fk_{number}"}, b"{}", 401),
        ("/v1/score", JSON | {"Authorization": f"Bearer a{number}.b.c"}, b"{}", 401),
        ("/v1/score", JSON | {"Authorization": b"Bearer " + nobodys}, b"{}", 401),
        ("/v1/score", JSON, b"x" * 10 * MIB, 401),
        ("/v1/score/batch", ARROW, stream(flat(40_000), "zstd"), 401),
        ("/v1/score/batch", LINES, b'{"amount": "no"}\n' * 3000, 401),
        ("/metrics", {}, b"", 405),
    ]


def one_round(server: Server, number: int, key: str | None = None) -> None:
    """What somebody sends who means harm; new names each time, for they might be remembered.

    key: with it, and before that what comes without one.
    """
    nested = b"[" * 20_000 + b"]" * 20_000
    claims = stream(flat(2000), "zstd")
    sent: list[tuple[str, dict[str, str], bytes, int]] = [
        ("/v1/score", JSON, b'{"amount": ' + b"9" * 100_000 + b"}", 400),
        ("/v1/score", JSON, b"x" * 10 * MIB, 413),
        ("/v1/score", JSON, nested, 400),
        ("/v1/score", JSON, b'{"amount": NaN}', 422),
        ("/v1/score", JSON, b'{"f%d": 1}' % number, 422),
        ("/v1/score", JSON | {"X-API-Key": f"guess-{number}"}, b"{}", 401),
        ("/v1/score/batch", ARROW, stream(flat(60_000), "zstd"), 413),
        ("/v1/score/batch", ARROW, claims[: len(claims) * 2 // 3], 400),
        ("/v1/score/batch", ARROW, os.urandom(100_000), 400),
        ("/v1/score/batch", ARROW, stream(pointed_at("x" * MIB, 4000)), 200),
        ("/v1/score/batch", PARQUET, parquet(2000)[:-9], 400),
        ("/v1/score/batch", LINES, b'{"amount": "no"}\n' * 3000, 200),
        (f"/nothing/{number}", {}, b"x" * 1000, 404),
    ]
    signed = {"Authorization": f"Bearer {key}"} if key else {}
    of_strangers = unsigned(number) if key else []
    for i, (path, headers, body, status) in enumerate(of_strangers + sent):
        known = signed if i >= len(of_strangers) and "X-API-Key" not in headers else {}
        named = {**headers, **known, "X-Request-Id": f"r{number}"}
        try:
            told = requests.post(server.url + path, data=body, headers=named, timeout=60)
        except requests.ConnectionError:
            assert len(body) > MIB  # cut off while it was still sending
            continue
        assert told.status_code == status, (path, len(body), told.text[:500])


@pytest.mark.parametrize("way", ["open", "key"])
def test_memory_does_not_grow_under_hostile_load(
    published: Published, tmp_path: Path, way: str
) -> None:
    limits = {"FRAUD_API_MAX_BATCH_BYTES": "4000000", "FRAUD_API_MAX_BATCH_ROWS": "50000"}
    key = None
    if way == "key":
        file = tmp_path / "keys.json"
        key = keys(file, "add", "--id", "desk")
        limits |= {"FRAUD_API_OPEN": "0", "FRAUD_API_KEYS_FILE": str(file)}
    with open_server(published, tmp_path, process=True, **limits) as server:
        process = psutil.Process(server.process.pid)
        for number in range(10):  # buffers and thread arenas are there after some
            one_round(server, number, key)
        before = process.memory_info().rss
        for number in range(10, 30):
            one_round(server, number, key)
        grown = process.memory_info().rss - before
        assert server.score(published.claim(), key=key).status_code == 200
    assert grown < 24 * MIB, f"{grown / MIB:.1f} MiB more after 20 rounds"
