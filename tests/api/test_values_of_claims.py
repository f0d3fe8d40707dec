"""As JSON, as a line of a batch and in an Arrow column a value is read as ingest reads it."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pyarrow as pa
import pytest
from api_kit import DATASET, Published, Server, open_server

from fraud_mlops.contract import Contract
from fraud_mlops.models.fraud_model import FraudModel
from fraud_mlops.registry.bundle import load_bundle
from fraud_mlops.serving.columns import read_columns
from fraud_mlops.serving.histories import EntityHistories
from fraud_mlops.serving.loading import load_model, scorer_of
from fraud_mlops.serving.request import ClaimReader

LINES, ARROW = "application/x-ndjson", "application/vnd.apache.arrow.stream"
NOON = "2024-12-15T12:00:00+00:00"

MOMENTS = [
    ("2024-03-15T10:00:00Z", "2024-03-15T10:00:00+00:00"),
    ("2024-03-15T10:00:00.5+01:00", "2024-03-15T09:00:00.500000+00:00"),
    ("2024-03-15", "2024-03-15T00:00:00+00:00"),
    ("20240315", "2024-03-15T00:00:00+00:00"),
    (20240315, "2024-03-15T00:00:00+00:00"),
    ("2024-03-15 10:00:00 +0100", "2024-03-15T09:00:00+00:00"),
    (" 2024-03-15T10:00:00Z ", "2024-03-15T10:00:00+00:00"),
    ("1710497400", "2024-03-15T10:10:00+00:00"),
    (1710497400, "2024-03-15T10:10:00+00:00"),
    ("1710497400000", "2024-03-15T10:10:00+00:00"),
]
NO_MOMENTS = ["0", "-1", "2024-03", "today", "2024-02-30T10:00:00Z", "2024-03-15T10:00:60Z", True,
              "0001-01-01T00:00:00+14:00"]  # fmt: skip
NUMBERS = [("4200", 4200), (" 4.2e3 ", 4200), ("", None), ("nan", None), (True, 1), (0.0, 0)]
NO_NUMBERS = ["4,200", "much", "inf", "0x10", -1, "-1", "-0.5"]
WORDS = [(" theft ", "theft"), ("\x1ctheft\x1f", "theft"), ("\xa0theft", "theft"), ("  ", None)]
IDS = [(12, "12"), (12.0, "12"), (-0.0, "0"), (1.5, "1.5"), (1e300, "1e+300"), (True, "true"),
       ("12.0", "12"), ("\x1c", None), ("", None)]  # fmt: skip


DIGESTED = [
    {"amount": 4200.5, "peril": "theft", "region": None, "driver_age": 44},
    {"amount": 4200.5, "peril": "theft", "driver_age": 44, "claim_id": "another"},
    {"peril": "fl\u00fcchtig \U0001f697", "region": "\u0000", "channel": "a\u001f"},
    {"amount": 0.0, "peril": " theft "},
    {},
]


def test_a_claims_features_have_one_digest_however_it_comes(published: Published) -> None:
    loaded = load_model(published.models, DATASET, published.versions["first"])
    scorer = scorer_of(loaded, EntityHistories(loaded.contract, None))
    claims = [{"event_time": NOON} | claim for claim in DIGESTED]
    read = [scorer.reader.read(json.dumps(claim).encode()) for claim in claims]
    expected = scorer.prepare(read).digests()
    names = {name: None for claim in claims for name in claim}
    batch = pa.RecordBatch.from_pylist([names | claim for claim in claims])
    columns = read_columns(scorer.reader, batch, 0)
    found = scorer.prepared(columns.moments, columns.own, columns.entities, columns.words)
    assert found.digests() == expected
    assert expected[0] == expected[1]
    assert len(set(expected)) == len(expected) - 1


@pytest.fixture(scope="module")
def server(published: Published, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with open_server(published, tmp_path_factory.mktemp("values")) as running:
        yield running


def stream(claim: dict[str, Any]) -> bytes:
    batch, target = pa.record_batch({k: pa.array([v]) for k, v in claim.items()}), io.BytesIO()
    with pa.ipc.new_stream(target, batch.schema) as writer:
        writer.write_batch(batch)
    return target.getvalue()


def answers(server: Server, claim: dict[str, Any]) -> list[dict[str, Any]]:
    """To the same claim, sent in each way; nothing of one that cannot be read."""
    told = [server.score(claim, params={"reasons": "none"})]
    rows = [told[0].json() if told[0].status_code == 200 else {}]
    for media, body in ((LINES, json.dumps(claim).encode()), (ARROW, stream(claim))):
        headers = {"Content-Type": media, "Accept": LINES}
        batch = server.post("/v1/score/batch?reasons=none", data=body, headers=headers)
        assert batch.status_code == 200, batch.text
        row = json.loads(batch.text)
        rows.append({} if "error" in row else row)
        told.append(batch)
    assert told[0].status_code in (200, 422)
    for row in rows[1:]:
        if "event_time" in row:
            row["event_time"] = datetime.fromisoformat(row["event_time"]).isoformat()
    return rows


@pytest.mark.parametrize(("given", "moment"), MOMENTS)
def test_moments(server: Server, given: str | int, moment: str) -> None:
    assert [row["event_time"] for row in answers(server, {"event_time": given})] == [moment] * 3


@pytest.mark.parametrize("given", NO_MOMENTS)
def test_no_moments(server: Server, given: str) -> None:
    assert answers(server, {"event_time": given}) == [{}, {}, {}]


@pytest.mark.parametrize(("given", "number"), NUMBERS)
def test_numbers(server: Server, given: Any, number: float | None) -> None:
    expected = server.score({"amount": number, "event_time": NOON}).json()["score"]
    found = answers(server, {"amount": given, "event_time": NOON})
    assert [row["score"] for row in found] == pytest.approx([expected] * 3, abs=1e-6)


@pytest.mark.parametrize("given", NO_NUMBERS)
def test_no_numbers(server: Server, given: Any) -> None:
    assert answers(server, {"amount": given, "event_time": NOON}) == [{}, {}, {}]


@pytest.mark.parametrize(("given", "word"), WORDS)
def test_words(server: Server, given: str, word: str | None) -> None:
    expected = server.score({"peril": word, "event_time": NOON}).json()["score"]
    found = answers(server, {"peril": given, "event_time": NOON})
    assert [row["score"] for row in found] == pytest.approx([expected] * 3, abs=1e-6)


@pytest.mark.parametrize(("given", "name"), IDS)
def test_names(server: Server, given: Any, name: str | None) -> None:
    assert [row.get("claim_id") for row in answers(server, {"claim_id": given})] == [name] * 3


@pytest.mark.parametrize(
    ("field", "marker", "given"),
    [
        ("amount", "-1", -1.0),
        ("amount", "-1", "-1.0"),
        ("amount", "unknown", "unknown"),
        ("amount", "unknown", "4200"),
        ("policy_age_days", "n/a", "n/a"),
        ("event_time", "1900-01-01", "1900-01-01"),
        ("event_time", "n/a", "n/a"),
        ("claim_id", "0", "0"),
        ("peril", "false", False),
    ],
)
def test_what_the_contract_calls_missing_is_so_before_it_is_looked_at(
    published: Published, field: str, marker: str, given: Any
) -> None:
    told = published.features.contract.model_dump(mode="json")
    told |= {"amount": "claimed", "claim_id": "number", "event_time": {"column": "at"}}
    source = {"amount": "claimed", "claim_id": "number", "event_time": "at"}.get(field, field)
    told["missing"] = {source: [marker]}
    files = load_bundle(published.models, DATASET, published.versions["first"]).files
    reader = ClaimReader(Contract.model_validate(told), FraudModel.from_files(files))
    claim = reader.read(json.dumps({field: given}).encode())
    beside = read_columns(reader, pa.record_batch({field: pa.array([given])}), 7)
    assert not beside.errors
    if field == "event_time":
        assert (claim.event_time, beside.moments.tolist()) == (None, [7])
    elif field == "claim_id":
        assert [claim.claim_id] == beside.claim_ids.to_pylist() == [None]
    elif field == "peril":
        assert [reader.word(claim, field)] == beside.words[field].to_pylist() == [None]
    else:
        expected = 4200.0 if given == "4200" else None
        assert reader.number(claim, field) == expected
        assert str(beside.own[field].tolist()) == str([expected or float("nan")])
