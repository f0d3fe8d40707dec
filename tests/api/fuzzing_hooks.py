"""Batches as schemathesis sends them: of claims good and bad, whole and with bytes changed.

What became of each stands in the file that BODIES_TOLD names, a line of JSON each.
"""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import schemathesis
from hypothesis import strategies as st
from schemathesis.openapi.checks import RejectedPositiveData

LINES, ARROW = "application/x-ndjson", "application/vnd.apache.arrow.stream"
PARQUET = "application/vnd.apache.parquet"
WORDS = st.sampled_from(["theft", "", "12.0", "2024-03-15", "2024-03-15T10:00:00Z"]) | st.text()
NUMBERS = st.floats() | st.integers(-(2**63), 2**63 - 1).map(float)
KINDS: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.float64(): NUMBERS,
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.string(): WORDS,
    pa.dictionary(pa.int32(), pa.string()): WORDS,
    pa.bool_(): st.booleans(),
    pa.timestamp("us", "UTC"): st.datetimes(),
    pa.list_(pa.float64()): st.lists(NUMBERS, max_size=2),
}
FITTING = {
    "amount": pa.float64(),
    "driver_age": pa.int64(),
    "peril": pa.dictionary(pa.int32(), pa.string()),
    "provider": pa.string(),
    "claim_id": pa.string(),
    "event_time": pa.timestamp("us", "UTC"),
    "provider_claims_30d": pa.float64(),
}
NAMES = st.sampled_from(list(FITTING))


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    rows = draw(st.integers(0, 12))
    arrays = {}
    for name in draw(st.lists(NAMES, min_size=1, max_size=4, unique=True)):
        kind = draw(st.just(FITTING[name]) | st.sampled_from(list(KINDS)))
        told = draw(st.lists(st.none() | KINDS[kind], min_size=rows, max_size=rows))
        arrays[name] = pa.array(told, kind)
    return pa.table(arrays)


def as_stream(table: pa.Table, codec: str | None) -> bytes:
    target = io.BytesIO()
    options = pa.ipc.IpcWriteOptions(compression=codec)
    with pa.ipc.new_stream(target, table.schema, options=options) as writer:
        writer.write_table(table)
    return target.getvalue()


def as_parquet(table: pa.Table, codec: str | None) -> bytes:
    target = io.BytesIO()
    pq.write_table(table, target, compression=codec or "none")
    return target.getvalue()


def as_lines(claims: list[Any]) -> bytes:
    return b"".join(json.dumps(claim).encode() + b"\n" for claim in claims)


def changed(bodies: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """Some of them whole, some cut off, some with other bytes in a few places."""

    def in_places(body: bytes, places: list[tuple[int, int]]) -> bytes:
        other = bytearray(body)
        for place, byte in places:
            if other:
                other[place % len(other)] = byte
        return bytes(other)

    places = st.tuples(st.integers(0, 1 << 20), st.integers(0, 255))
    other = st.builds(in_places, bodies, st.lists(places, min_size=1, max_size=4))
    cut = st.builds(lambda body, at: body[: at % (len(body) + 1)], bodies, st.integers(0, 1 << 20))
    return bodies | bodies | other | cut


ANYTHING = NUMBERS | WORDS | st.none() | st.booleans() | st.lists(st.none(), max_size=2)
CLAIMS = st.dictionaries(NAMES, ANYTHING, max_size=4)
CODECS = st.sampled_from([None, "lz4", "zstd"])
BODIES = {
    LINES: st.lists(CLAIMS | ANYTHING, max_size=12).map(as_lines),
    ARROW: st.builds(as_stream, tables(), CODECS),
    PARQUET: st.builds(as_parquet, tables(), CODECS),
}
for media, bodies in BODIES.items():
    schemathesis.openapi.media_type(media, changed(bodies))


@schemathesis.hook
def before_load_schema(_: Any, description: dict[str, Any]) -> None:
    """Beside bodies of our own schemathesis takes no examples; test_openapi_examples sends them."""
    for told in description["paths"]["/v1/score/batch"]["post"]["requestBody"]["content"].values():
        told.pop("example", None)


@schemathesis.hook
def filter_failure(_: Any, failure: Any, case: Any, response: Any) -> bool:
    """Whatever fits the schema has to be accepted, but for what JSON schema cannot say: of lines
    and bytes anything; and of a moment which days a month has, and that zones and Unix times may
    lead out of the calendar. Then nothing else of the claim may be wrong."""
    if not isinstance(failure, RejectedPositiveData):
        return True
    if case.media_type in BODIES:
        return False
    told = response.json()
    return [one["pointer"] for one in told.get("errors", ())] != ["#/event_time"]


@schemathesis.hook
def after_call(_: Any, case: Any, response: Any) -> None:
    if case.media_type in BODIES:
        told = {
            "media": case.media_type,
            "status": response.status_code,
            "scored": response.status_code == 200 and scored(response),
        }
        with Path(os.environ["BODIES_TOLD"]).open("a", encoding="utf-8") as file:
            file.write(json.dumps(told) + "\n")


def scored(response: Any) -> int:
    """Rows of an answer that have a probability."""
    if LINES in response.headers["content-type"][0]:
        return sum("probability" in json.loads(line) for line in response.content.splitlines())
    with pa.ipc.open_stream(response.content) as told:
        column = told.read_all()["probability"]
    return len(column) - column.null_count
