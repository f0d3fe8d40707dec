"""Many claims in one request: JSON lines, Arrow and Parquet, each as it scores alone."""

from __future__ import annotations

import gc
import io
import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import requests
from api_kit import (
    ROOT,
    Published,
    Server,
    as_sent,
    json_value,
    open_server,
    same_scores,
)

from api.batch_formats import ANSWERS
from api.service import BATCHES

LINES = "application/x-ndjson"
ARROW = "application/vnd.apache.arrow.stream"
PARQUET = "application/vnd.apache.parquet"


@pytest.fixture(scope="module")
def server(published: Published, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    limits = {"FRAUD_API_MAX_BATCH_ROWS": "20000", "FRAUD_API_MAX_BATCH_BYTES": "20000000"}
    with open_server(published, tmp_path_factory.mktemp("batch"), **limits) as running:
        yield running


def arrow(table: pa.Table) -> bytes:
    target = io.BytesIO()
    with pa.ipc.new_stream(target, table.schema) as writer:
        writer.write_table(table, max_chunksize=100)
    return target.getvalue()


def parquet(table: pa.Table) -> bytes:
    target = io.BytesIO()
    pq.write_table(table, target)
    return target.getvalue()


def lines(table: pa.Table) -> bytes:
    return "\n".join(json.dumps(row, default=json_value) for row in table.to_pylist()).encode()


def arrow_file(table: pa.Table) -> bytes:
    target = io.BytesIO()
    with pa.ipc.new_file(target, table.schema) as writer:
        writer.write_table(table)
    return target.getvalue()


def raw(published: Published, claims: pa.Table) -> pa.Table:
    derived = {*published.features.numeric} - {"amount"}
    derived -= set(published.features.contract.numeric or ())
    return claims.drop_columns(sorted(derived))


def send(server: Server, body: bytes, media: str, query: str = "", **headers: str) -> pa.Table:
    told = server.post(
        f"/v1/score/batch{query}", data=body, headers={"Content-Type": media, **headers}
    )
    assert told.status_code == 200, told.text
    if told.headers["content-type"].startswith(LINES):
        return pa.Table.from_pylist([json.loads(line) for line in told.text.splitlines()])
    with pa.ipc.open_stream(told.content) as stream:
        return stream.read_all()


@pytest.mark.parametrize("media", [ARROW, PARQUET, LINES])
def test_a_raw_partition_sent_as_it_is_scores_as_in_the_batch(
    published: Published, server: Server, media: str
) -> None:
    claims = published.recent(days=30)
    table = raw(published, claims)
    found = send(server, {ARROW: arrow, PARQUET: parquet, LINES: lines}[media](table), media)
    by_id = {row["claim_id"]: row for row in published.scores["first"].to_pylist()}
    expected = [by_id[name] for name in table["claim_id"].to_pylist()]
    assert found["row"].to_pylist() == list(range(len(expected)))
    assert found["claim_id"].to_pylist() == table["claim_id"].to_pylist()
    np.testing.assert_allclose(
        found["probability"].to_numpy(), [e["probability"] for e in expected], rtol=0, atol=1e-6
    )
    assert same_scores(found["score"].to_numpy(), [e["score"] for e in expected])
    assert found["alert"].to_pylist() == [e["alert"] for e in expected]
    assert found["reasons"].to_pylist() == [e["reasons"] for e in expected]
    assert set(found["model_version"].to_pylist()) == {published.versions["first"]}


def test_reasons_name_a_personal_column_without_its_value(
    published: Published, server: Server
) -> None:
    """Who asks for one claim has sent the value, and finds it beside."""
    typical = server.get("/v1/model/schema").json()["examples"][0]["claim"]
    claims = [typical | {"driver_age": age} for age in (1, 150)]
    answers = [server.post("/v1/score?reasons=all", json=claim).json() for claim in claims]
    own = [r for told in answers for r in told["reasons"] if r["feature"] == "driver_age"]
    assert own
    assert {r["text"] for r in own} == {"driver age raises the score"}
    assert {r["value"] for r in own} <= {1, 150}
    body = "\n".join(json.dumps(claim) for claim in claims).encode()
    rows = send(server, body, LINES, "?reasons=all").to_pylist()
    assert [r["reasons"] for r in rows] == [[r["text"] for r in a["reasons"]] for a in answers]


def test_each_of_many_explained_claims_has_the_reasons_that_it_has_alone(
    published: Published, server: Server
) -> None:
    """More of them than are explained at a time."""
    claims = published.recent(days=30).slice(0, 99)
    body = arrow(raw(published, claims))
    rows = send(server, body, ARROW, "?reasons=all").to_pylist()
    assert len({tuple(row["reasons"]) for row in rows}) > 50
    for row, claim in list(zip(rows, as_sent(claims, published.features), strict=True))[::7]:
        told = server.post("/v1/score?reasons=all", json=claim).json()
        assert row["reasons"] == [reason["text"] for reason in told["reasons"]]


def test_json_lines_are_answered_line_by_line_as_each_claim_alone(
    published: Published, server: Server
) -> None:
    sent = as_sent(published.recent(days=3), published.features)
    body = "\n".join(json.dumps(claim) for claim in sent).encode()
    found = send(server, body, LINES)
    for row, claim in list(zip(found.to_pylist(), sent, strict=True))[::5]:
        alone = server.score(claim).json()
        assert row["probability"] == pytest.approx(alone["probability"], abs=1e-6)
        assert row["claim_id"] == claim["claim_id"]


def test_a_bad_line_is_told_in_its_place_and_the_others_are_scored(
    published: Published, server: Server
) -> None:
    good = json.dumps(published.claim())
    body = "\n".join([good, '{"amount": "much"}', "", "{", good, "[]"]).encode()
    told = server.post("/v1/score/batch", data=body, headers={"Content-Type": LINES})
    rows = [json.loads(line) for line in told.text.splitlines()]
    assert [("error" in row) for row in rows] == [False, True, True, False, True]
    assert "#/amount" in rows[1]["error"]
    assert "much" not in told.text
    assert rows[0]["probability"] == rows[3]["probability"]


def test_an_error_is_told_with_the_claim_that_it_is_of(server: Server) -> None:
    wrong = [
        '{"claim_id": "CLM-1", "amount": "much"}',
        '{"amount": "much", "claim_id": " 7 "}',
        '{"claim_id": 8, "colour": "red"}',
        '{"claim_id": ["CLM-1"]}',
        '{"claim_id": "%s"}' % ("x" * 600),
        '{"claim_id": "CLM-2"',
        '["CLM-3"]',
        "null",
    ]
    told = send(server, "\n".join(wrong).encode(), LINES)
    assert told["claim_id"].to_pylist() == ["CLM-1", "7", "8", *[None] * 5]
    assert None not in told["error"].to_pylist()


def test_a_moment_outside_the_calendar_is_told_in_its_place(server: Server) -> None:
    body = b'{"event_time": "0001-01-01T00:00:00+14:00"}\n{}\n'
    told = server.post("/v1/score/batch", data=body, headers={"Content-Type": LINES})
    rows = [json.loads(line) for line in told.text.splitlines()]
    assert ["error" in row for row in rows] == [True, False]
    assert "#/event_time" in rows[0]["error"]


def test_features_that_one_claim_brings_are_not_the_others(
    published: Published, server: Server
) -> None:
    claim = published.claim()
    brought = claim | {"features": {"provider_fraud_lift_30d": 6.0}}
    body = "\n".join(json.dumps(each) for each in (claim, brought, claim)).encode()
    found = send(server, body, LINES)["score"].to_pylist()
    alone = [server.score(each).json()["score"] for each in (claim, brought, claim)]
    np.testing.assert_allclose(found, alone, atol=1e-5)
    assert alone[0] != alone[1]


def test_bad_cells_of_columns_are_told_by_row(published: Published, server: Server) -> None:
    table = raw(published, published.recent(days=2))
    amounts = ["12.5", "lots", "-3", "inf", None, *["10"] * (table.num_rows - 5)]
    place = table.schema.get_field_index("amount")
    found = send(server, arrow(table.set_column(place, "amount", pa.array(amounts))), ARROW)
    errors = found["error"].to_pylist()
    assert errors[0] is None
    assert errors[1:4] == ["amount is no number", "amount is less than 0", "amount is infinite"]
    assert errors[4:] == [None] * (table.num_rows - 4)
    assert "missing_value amount" in found["warnings"].to_pylist()[4]


def test_reasons_for_all_for_alerts_or_for_none(published: Published, server: Server) -> None:
    body = arrow(raw(published, published.recent(days=20)))
    told = {w: send(server, body, ARROW, f"?reasons={w}") for w in ("all", "alerts", "none")}
    lengths = {w: [len(r) for r in t["reasons"].to_pylist()] for w, t in told.items()}
    alerts = told["all"]["alert"].to_pylist()
    assert sum(lengths["none"]) == 0
    assert all(bool(n) == alert for n, alert in zip(lengths["alerts"], alerts, strict=True))
    assert sum(lengths["all"]) > sum(lengths["alerts"])
    wrong = server.post("/v1/score/batch?reasons=some", data=body, headers={"Content-Type": ARROW})
    assert wrong.status_code == 422


def test_arrow_in_and_json_lines_out_when_asked_for(published: Published, server: Server) -> None:
    body = arrow(raw(published, published.recent(days=2)))
    found = send(server, body, ARROW, Accept=LINES)
    assert "probability" in found.schema.names


JSONL = "application/jsonl"
ONE = pa.table({"amount": [1.0]})
VIEWED = pa.array(["theft"], pa.string_view())
VIEWS = pa.table({"peril": pa.DictionaryArray.from_arrays(pa.array([0]), VIEWED)})
ZONED = arrow(pa.table({"event_time": pa.array([0], pa.timestamp("us", "ZZZZZ"))}))


@pytest.mark.parametrize(
    ("accept", "of_lines", "of_arrow"),
    [
        ("", LINES, ARROW),
        ("*/*", LINES, ARROW),
        ("application/*", LINES, ARROW),
        ("Application/X-NDJSON", LINES, LINES),
        (JSONL, JSONL, JSONL),
        (f"{LINES}, */*", LINES, LINES),
        (f"{LINES};q=0.1, {ARROW}", ARROW, ARROW),
        (f"{ARROW}; charset=x; q=0.5, {JSONL}; q=0.4", ARROW, ARROW),
        (f"{LINES};q=0, */*", JSONL, ARROW),
        (f"{ARROW};q=0, */*;q=0.1", LINES, LINES),
        (f"{ARROW};q=much, {LINES}", LINES, LINES),
        ("text/html, application/xhtml+xml, */*;q=0.8", LINES, ARROW),
        (PARQUET, None, None),
        ("application/json", None, None),
        ("xndjson", None, None),
        ("*/*;q=0", None, None),
        (f"{LINES};q=0", None, None),
    ],
)
def test_the_answer_is_of_the_type_that_is_accepted(
    server: Server, accept: str, of_lines: str | None, of_arrow: str | None
) -> None:
    table = pa.table({"amount": [1.0]})
    for media, body, answer in ((LINES, b"{}", of_lines), (ARROW, arrow(table), of_arrow)):
        headers = {"Content-Type": media, "Accept": accept}
        told = server.post("/v1/score/batch?what_if=true", data=body, headers=headers)
        kind = told.headers["content-type"]
        if answer is None:
            assert (told.status_code, kind) == (406, "application/problem+json"), kind
            assert LINES in told.json()["detail"]
        else:
            assert (told.status_code, kind) == (200, answer)
            assert told.content.startswith(b"{" if answer != ARROW else b"\xff")


@pytest.mark.parametrize(
    ("body", "media", "status"),
    [
        (b"", ARROW, 400),
        (b"ARROW1" + bytes(500), ARROW, 400),
        (b"\xff\xff\xff\xff\xff\xff\xff\x7f" + bytes(100), ARROW, 400),
        (b"PAR1" + bytes(100) + b"PAR1", PARQUET, 400),
        (b"not parquet", PARQUET, 400),
        (arrow(pa.table({"colour": ["red"]})), ARROW, 422),
        (arrow(pa.table({"amount": [[1.0], [2.0]]})), ARROW, 422),
        (arrow(pa.table([[1.0], [2.0]], names=["amount", "amount"])), ARROW, 422),
        (parquet(pa.table({"amount": [1.0] * 20_001})), PARQUET, 413),
        (arrow(pa.table({"amount": [1.0] * 20_001})), ARROW, 413),
        (b"{}\n" * 20_001, LINES, 413),
        (b"{}\n" * 9_000 + b"x" * 2_000_000, LINES, 413),
        (b"x" * 2_000_000, LINES, 413),
        (b"x" * 20_000_001, LINES, 413),
        (b"{}", "application/json", 415),
        (ZONED.replace(b"ZZZZZ", b"\xff\xfeZZZ"), ARROW, 422),
    ],
)
def test_bodies_that_are_no_batch_are_refused_in_words(
    server: Server, body: bytes, media: str, status: int
) -> None:
    told = server.post("/v1/score/batch", data=body, headers={"Content-Type": media})
    assert (told.status_code, told.headers["content-type"]) == (status, "application/problem+json")


@pytest.mark.parametrize(
    ("body", "media", "status", "told"),
    [
        (arrow_file(ONE), ARROW, 400, "it begins as an Arrow file (Feather) does; write a stream"),
        (parquet(ONE), ARROW, 400, f"it begins as Parquet does; send it as {PARQUET}"),
        (b'{"amount": 1}', ARROW, 400, f"JSON does; send claims, one a line, as {LINES}"),
        (b"[{}]", PARQUET, 400, f"JSON does; send claims, one a line, as {LINES}"),
        (arrow(ONE), PARQUET, 400, f"it begins as an Arrow stream does; send it as {ARROW}"),
        (arrow_file(ONE), PARQUET, 400, "it begins as an Arrow file (Feather) does; write a"),
        (parquet(ONE)[:-8], PARQUET, 400, "not Parquet: it has no footer"),
        (arrow(ONE)[:-100], ARROW, 400, "not an Arrow stream: Expected"),
        (arrow_file(ONE), f"{ARROW[:-6]}file", 415, "An Arrow file (Feather) is not read; write a"),
        (arrow(VIEWS), ARROW, 422, "column peril: a dictionary's words are not read as views; wri"),
    ],
)  # fmt: skip
def test_what_is_sent_as_something_else_is_told_by_its_name(
    server: Server, body: bytes, media: str, status: int, told: str
) -> None:
    found = server.post("/v1/score/batch", data=body, headers={"Content-Type": media})
    assert found.status_code == status
    assert told in found.json()["detail"]


def test_arrow_bodies_with_flipped_bytes_break_nothing(
    published: Published, server: Server
) -> None:
    body = bytearray(arrow(raw(published, published.recent(days=2))))
    random = np.random.default_rng(5)
    for _ in range(40):
        damaged = bytearray(body)
        for place in random.integers(0, len(body), 4):
            damaged[place] = random.integers(0, 256)
        told = server.post("/v1/score/batch", data=bytes(damaged), headers={"Content-Type": ARROW})
        assert told.status_code in (200, 400, 413, 422)
    assert server.get("/healthz").status_code == 200


def test_lines_without_a_claim_do_not_count(server: Server) -> None:
    body = b"\n".join([b"{}"] * 3 + [b" "] * 20_000)
    assert send(server, body, LINES).num_rows == 3


def test_more_empty_lines_than_claims_may_come_are_refused(server: Server) -> None:
    """Going past them takes time, of which nobody sees an end."""
    body = b"{}\n" + b"\n" * 20_001
    told = server.post("/v1/score/batch", data=body, headers={"Content-Type": LINES})
    assert told.status_code == 413
    assert "20,000 empty lines" in told.json()["detail"]


@pytest.mark.parametrize("kind", [pa.decimal128(9, 2), pa.float64(), pa.int32()], ids=str)
def test_numbers_in_a_dictionary_are_numbers(server: Server, kind: pa.DataType) -> None:
    plain = pa.table({"amount": pa.array([100.0, 100.0, 9000.0]).cast(kind)})
    shared = pa.table({"amount": plain["amount"].dictionary_encode()})
    scores = [send(server, arrow(table), ARROW)["score"].to_pylist() for table in (plain, shared)]
    assert scores[0] == scores[1]


def test_an_arrow_part_without_claims_is_a_slice_too(server: Server) -> None:
    """A batch is cut off between slices, when its time is over or its client gone: many such parts,
    each with its words to be looked through, must not be one."""
    words = pa.array(["theft", "fire"])
    parts = [
        pa.record_batch({"peril": pa.DictionaryArray.from_arrays(pa.array(at, pa.int8()), words)})
        for at in ([], [0, 1], [], [], [1])
    ]
    target = io.BytesIO()
    with pa.ipc.new_stream(target, parts[0].schema) as writer:
        for part in parts:
            writer.write_batch(part)
    body = target.getvalue()
    told = server.post("/v1/score/batch", data=body, headers={"Content-Type": ARROW})
    with pa.ipc.open_stream(told.content) as stream:
        answers = list(stream)
    assert [answer.num_rows for answer in answers] == [0, 2, 0, 0, 1]
    assert pa.Table.from_batches(answers)["row"].to_pylist() == [0, 1, 2]
    assert send(server, body, ARROW, Accept=LINES).num_rows == 3


def test_a_batch_of_nothing_but_empty_parts_is_refused_before_it_is_read(server: Server) -> None:
    """Each takes the time of a claim."""
    target = io.BytesIO()
    schema = pa.schema([("amount", pa.float64())])
    with pa.ipc.new_stream(target, schema) as writer:
        for _ in range(20_001):
            writer.write_batch(pa.record_batch([pa.array([], pa.float64())], schema=schema))
    told = server.post("/v1/score/batch", data=target.getvalue(), headers={"Content-Type": ARROW})
    assert told.status_code == 413
    assert "20,000 claims" in told.json()["detail"]


def test_what_would_change_a_decision_is_counted_as_none(server: Server) -> None:
    counted = server.get("/metrics").text
    body = b'{"claim_id": "real", "amount": 10}\n{"claim_id": "real", "amount": 90000}\n'
    answers = send(server, body, LINES, "?what_if=true")
    assert answers.num_rows == 2
    assert scored_claims(server.get("/metrics").text) == scored_claims(counted)
    told = server.post(
        "/v1/score/batch?what_if=perhaps", data=body, headers={"Content-Type": LINES}
    )
    assert told.status_code == 422


def scored_claims(metrics: str) -> list[str]:
    return [line for line in metrics.splitlines() if line.startswith("fraud_claims_scored_total")]


def test_an_empty_batch_has_an_empty_answer(server: Server) -> None:
    told = server.post("/v1/score/batch", data=b"\n\n", headers={"Content-Type": LINES})
    assert (told.status_code, told.text) == (200, "")


def test_a_batch_without_one_good_line_is_answered_line_by_line(server: Server) -> None:
    told = server.post("/v1/score/batch", data=b"\xff\n{]\n", headers={"Content-Type": LINES})
    rows = [json.loads(line) for line in told.text.splitlines()]
    assert told.status_code == 200
    assert ["error" in row for row in rows] == [True, True]


@pytest.mark.parametrize(
    ("reads", "seconds"), [("never", 2), ("nothing more", 2), ("all", 0.4)],
    ids=["goes away", "does not read on", "asks for more than is scored in its time"],
)  # fmt: skip
def test_a_client_that_is_cut_off_keeps_nothing_from_the_others(
    published: Published, tmp_path: Path, reads: str, seconds: float
) -> None:
    claims = raw(published, published.claims)
    many = pa.concat_tables([claims] * (15_000 // claims.num_rows + 1)).slice(0, 15_000)
    headers = {"Content-Type": ARROW, "Accept": LINES}
    limits = {"FRAUD_API_BATCH_SECONDS": str(seconds), "FRAUD_API_BODY_SECONDS": "10"}
    gc.disable()  # nothing may wait for the collector
    try:
        with open_server(published, tmp_path, **limits) as server, ExitStack() as held:
            for _ in range(BATCHES):
                told = held.enter_context(
                    requests.post(
                        f"{server.url}/v1/score/batch?reasons=all", data=arrow(many),
                        headers=headers, stream=True, timeout=60,
                    )
                )  # fmt: skip
                assert told.status_code == 200
                if reads == "never":
                    told.close()
                if reads == "all":
                    with pytest.raises(requests.exceptions.ChunkedEncodingError):
                        _ = told.content
            assert send(server, arrow(claims.slice(0, 10)), ARROW).num_rows == 10
            server.until(lambda: not [t for t in threading.enumerate() if "batch" in t.name])
    finally:
        gc.enable()


def test_the_page_tells_of_every_column_of_an_answer() -> None:
    page = (ROOT / "docs" / "api.md").read_text()
    rows = [f"| `{f.name}` | `{f.type}` |".replace("list<item: ", "list<") for f in ANSWERS]
    assert [row for row in rows if row not in page] == []
