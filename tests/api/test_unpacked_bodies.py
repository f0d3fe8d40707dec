"""What a body of a few kilobytes unpacks to, at the limits that a server has by default."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import requests
from api_kit import Published, Server, open_server
from test_hostile_bodies import ARROW, JSON, MIB, PARQUET, as_parquet, errors_of, stream

from api.batch_bodies import AT_ONCE
from api.parquet_pages import LONGEST_FOOTER, Chunk, Parquet
from api.thrift import TooMuchError

LONG = "claim_id: a word has more than 512 characters"


@pytest.fixture(scope="module")
def server(published: Published, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("unpacked")
    with open_server(published, folder, process=True) as running:
        yield running


@contextmanager
def most_memory(server: Server) -> Iterator[dict[str, float]]:
    """MiB that the server takes more, at most, meanwhile."""
    process, ended = psutil.Process(server.process.pid), threading.Event()
    before = process.memory_info().rss
    grown = {"MiB": 0.0}

    def watch() -> None:
        while not ended.is_set():
            grown["MiB"] = max(grown["MiB"], (process.memory_info().rss - before) / MIB)
            time.sleep(0.005)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield grown
    finally:
        ended.set()
        watching.join()


def with_ids(words: list[str], kind: pa.DataType | None = None) -> pa.Table:
    return pa.table({"claim_id": pa.array(words, kind or pa.string())})


def plain_parquet(table: pa.Table) -> bytes:
    return as_parquet(table, compression="zstd", use_dictionary=False, write_statistics=False)


def test_a_row_with_a_long_word_is_an_error_in_every_format(server: Server) -> None:
    ids = ["fine", "y" * 600, "z" * 5000, "é" * 512]
    wrong = [None, LONG, LONG, None]
    assert server.score({"claim_id": ids[1]}).status_code == 422
    assert server.score({"claim_id": ids[3]}).status_code == 200
    for kind in (pa.string(), pa.large_string(), pa.binary(), pa.string_view()):
        table = with_ids(ids, kind)
        assert errors_of(server, stream(table), ARROW) == wrong, kind
        coded = table.column(0).cast(pa.string()).dictionary_encode()
        assert errors_of(server, stream(pa.table({"claim_id": coded})), ARROW) == wrong
    assert errors_of(server, plain_parquet(with_ids(ids)), PARQUET) == wrong


def test_a_word_of_zeros_costs_what_it_unpacks_to_and_is_not_repeated(server: Server) -> None:
    body = stream(with_ids(["0" * (AT_ONCE - MIB)]), "zstd")
    assert len(body) < 20_000
    with most_memory(server) as grown:
        told = server.post("/v1/score/batch", data=body, headers=ARROW)
    assert told.status_code == 200
    assert len(told.content) < 5000
    assert grown["MiB"] < 1.3 * AT_ONCE / MIB


def test_a_part_that_unpacks_to_more_than_memory_takes_is_refused(server: Server) -> None:
    words = ["0" * (AT_ONCE // 2)] * 3
    parts = [stream(with_ids(words), "zstd"), plain_parquet(with_ids(words[:1] * 2))]
    coded = pa.DictionaryArray.from_arrays(pa.array([0, 1], pa.int8()), pa.array(words[:2]))
    parts.append(stream(pa.table({"claim_id": coded}), "zstd"))
    for body, media in zip(parts, (ARROW, PARQUET, ARROW), strict=True):
        with most_memory(server) as grown:
            told = server.post("/v1/score/batch", data=body, headers=media)
        assert told.status_code == 413, told.text
        assert "write smaller ones" in told.json()["detail"]
        assert grown["MiB"] < 50


def test_what_a_footer_says_of_its_pages_is_not_believed(server: Server) -> None:
    body = plain_parquet(with_ids(["0" * (AT_ONCE + MIB)]))
    told = pq.read_metadata(io.BytesIO(body)).row_group(0).total_byte_size
    lie = body.replace(varint(told), varint(1000, len(varint(told))))
    assert pq.read_metadata(io.BytesIO(lie)).row_group(0).total_byte_size == 1000
    with most_memory(server) as grown:
        refused = server.post("/v1/score/batch", data=lie, headers=PARQUET)
    assert (refused.status_code, refused.json()["type"][-9:]) == (413, "too-large")
    assert grown["MiB"] < 50


def varint(number: int, size: int = 0) -> bytes:
    """As Thrift's compact protocol has it, with as many bytes as asked for."""
    number, found = number << 1, bytearray()
    while number or len(found) < size:
        found.append((number & 127) | 128)
        number >>= 7
    found[-1] &= 127
    return bytes(found)


def test_words_as_long_as_may_be_are_scored_in_smaller_parts(server: Server) -> None:
    """A dictionary's one word is 8,192 words of its own once a slice is scored."""
    rows, word = 32_768, "\N{GRINNING FACE}" * 512
    coded = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array([word]))
    names = ("policyholder", "provider", "agent", "peril", "region", "channel")
    body = stream(pa.table(dict.fromkeys(names, coded)))
    with most_memory(server) as grown:
        assert errors_of(server, body, ARROW) == [None] * rows
    assert grown["MiB"] < 250


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("codec", ["none", "snappy", "zstd", "gzip"])
def test_pages_are_what_they_unpack_to(version: str, codec: str) -> None:
    amounts = [i / 7 for i in range(50_000)]
    table = pa.table({"amount": amounts, "peril": ["theft"] * 50_000})
    options: dict[str, Any] = {"data_page_version": version, "row_group_size": 20_000}
    body = io.BytesIO(as_parquet(table, compression=codec, data_page_size=10_000, **options))
    told = pq.read_metadata(body)
    assert told.num_row_groups == 3
    parquet = Parquet(body)
    groups = parquet.row_groups()
    assert [group.rows for group in groups] == [20_000, 20_000, 10_000]
    for i, group in enumerate(groups):
        for chunk, place in zip(map(told.row_group(i).column, range(2)), group.chunks, strict=True):
            found = list(parquet.pages(place))
            assert not any(page.deltas for page in found)
            # A chunk's size has the headers of its pages too.
            assert (
                0 <= chunk.total_uncompressed_size - sum(p.bytes for p in found) < 200 * len(found)
            )


def test_encodings_are_those_of_the_pages() -> None:
    table = pa.table({"peril": ["theft", "thefts"] * 50})
    for encoding in ("DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY"):
        for version in ("1.0", "2.0"):
            options: dict[str, Any] = {"column_encoding": {"peril": encoding}}
            body = io.BytesIO(
                as_parquet(table, use_dictionary=False, data_page_version=version, **options)
            )
            parquet = Parquet(body)
            (chunk,) = parquet.row_groups()[0].chunks
            assert [page.deltas for page in parquet.pages(chunk)] == [True]


def test_headers_that_are_none_are_refused() -> None:
    for rubbish in (b"", b"\xff" * 100, b"\x1c" * 100, b"\x15\x00\x15\x80\x80\x80\x80\x80\x01"):
        with pytest.raises(ValueError, match=r"page|Thrift"):
            list(Parquet(io.BytesIO(rubbish)).pages(Chunk(0, 100)))


def test_footers_that_are_none_are_refused() -> None:
    body = as_parquet(pa.table({"peril": ["theft"] * 50}))
    lists = b"\x49\xfc\xff\xff\xff\x7f" + b"\x00" * 100
    deep = b"\x19" * 600
    for footer in (b"", b"\x00", b"\xff" * 100, b"\x1c" * 100, lists, deep, b"\x49\x1c\x00\x00"):
        size = len(footer).to_bytes(4, "little")
        with pytest.raises(ValueError, match=r"footer|Thrift"):
            Parquet(io.BytesIO(b"PAR1" + footer + size + b"PAR1")).row_groups()
    for end in (len(body) - 1, len(body) - 9, 5, 0):
        with pytest.raises(ValueError, match="footer"):
            Parquet(io.BytesIO(body[:end])).row_groups()


def test_columns_that_share_their_pages_are_refused() -> None:
    """Each would be looked at, and unpacked, again: a body of 1 MB was looked at for hours."""
    chunk = b"\x3c\x76\xc8\x01\x26\x08\x00\x00"  # metadata: 100 bytes from the fourth on
    group = b"\x19\x1c" + chunk + b"\x26\x02\x00"  # a column, and a row
    footer = b"\x49\x2c" + group * 2 + b"\x00"
    body = b"PAR1" + bytes(100) + footer + len(footer).to_bytes(4, "little") + b"PAR1"
    with pytest.raises(ValueError, match="two columns at once"):
        Parquet(io.BytesIO(body)).row_groups()


@pytest.mark.parametrize(
    ("unread", "pages", "told"),
    [
        (b"\x19\xf5\xe0\xd4\x03" + b"\x02" * 60_000, 20, "values"),  # of a list
        (b"\x18\xe0\xd4\x03" + b"x" * 60_000, 300, "bytes"),  # a word
    ],
)
def test_all_headers_of_a_body_have_one_limit(unread: bytes, pages: int, told: str) -> None:
    header = b"\x25\x00\x15\x00" + unread + b"\x00"
    body = Parquet(io.BytesIO(header * pages))
    began = time.monotonic()
    with pytest.raises(TooMuchError, match=told):
        for _ in body.pages(Chunk(0, len(header) * pages)):
            pass
    assert time.monotonic() - began < 10


def test_a_longer_header_than_pages_have_is_refused() -> None:
    header = b"\x25\x00\x15\x00\x18\x80\x80\x04" + bytes(1 << 16) + b"\x00"
    with pytest.raises(ValueError, match="has no end"):
        list(Parquet(io.BytesIO(header)).pages(Chunk(0, len(header))))


def test_parquet_of_hundreds_of_row_groups_is_looked_at_whole(tmp_path: Path) -> None:
    import duckdb

    columns, rows, groups = 33, 614_400, 300
    table = pa.table({f"c{i}": pa.array([i] * rows, pa.int8()) for i in range(columns)})
    body, file = io.BytesIO(), tmp_path / "claims.parquet"
    pq.write_table(table, body, row_group_size=rows // groups)
    duckdb.from_arrow(table).write_parquet(str(file), row_group_size=rows // groups)
    for written in (body, io.BytesIO(file.read_bytes())):
        parquet = Parquet(written)
        found = [chunk for group in parquet.row_groups() for chunk in group.chunks]
        assert len(found) == columns * groups
        assert all(next(parquet.pages(chunk)).bytes for chunk in found)


def test_a_footer_that_takes_too_long_is_told_with_what_mends_it(server: Server) -> None:
    table = pa.table({"amount": [1.0]}).replace_schema_metadata({"notes": "x" * LONGEST_FOOTER})
    told = server.post("/v1/score/batch", data=as_parquet(table), headers=PARQUET)
    assert (told.status_code, told.json()["type"][-9:]) == (413, "too-large")
    assert "write larger row groups" in told.json()["detail"]


def test_a_row_group_without_rows_is_not_looked_into(server: Server) -> None:
    """pyarrow writes one for a table without rows, and places its pages at 0."""
    none, one = pa.table({"amount": pa.array([], pa.float64())}), pa.table({"amount": [1.0]})
    sink = io.BytesIO()
    with pq.ParquetWriter(sink, none.schema) as writer:
        for part in (none, one, none):
            writer.write_table(part)
    assert pq.read_metadata(sink).num_row_groups == 3
    for body, errors in ((as_parquet(none), []), (sink.getvalue(), [None])):
        assert errors_of(server, body, PARQUET) == errors


def test_no_footer_ends_the_process(server: Server) -> None:
    """pyarrow throws past Python over a histogram that is longer than its column has levels."""
    body = as_parquet(pa.table({"amount": [1.0, None]}))
    start = len(body) - 8 - int.from_bytes(body[-8:-4], "little")
    with requests.Session() as session:
        for at in range(start, len(body) - 8):
            for value in (body[at] ^ 0x55, (body[at] + 16) % 256):
                damaged = body[:at] + bytes([value]) + body[at + 1 :]
                path = server.url + "/v1/score/batch?what_if=true"
                told = session.post(path, data=damaged, headers=PARQUET, timeout=60)
                assert told.status_code in (200, 400, 413, 422), (at, value, told.text)
    assert server.process.poll() is None


def test_a_damaged_parquet_body_is_no_failure_of_the_server(server: Server) -> None:
    body = as_parquet(pa.table({"peril": ["theft"] * 50, "amount": [1.0] * 50}))
    for at in range(4, len(body) - 4, 7):
        damaged = body[:at] + bytes([body[at] ^ 0x55]) + body[at + 1 :]
        told = server.post("/v1/score/batch", data=damaged, headers=PARQUET)
        assert told.status_code in (200, 400, 413, 422), (at, told.text)
    assert server.post("/v1/score", data=b"{}", headers=JSON).status_code == 200
