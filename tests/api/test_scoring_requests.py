"""One claim over HTTP: the score of the batch flow, reasons, warnings, and words for mistakes."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from api_kit import DATASET, Published, Server, open_server, process_server, same, same_scores
from pydantic import ValidationError

from api.problems import invalid_claim
from fraud_mlops.contract import Contract
from fraud_mlops.errors import ContractError
from fraud_mlops.models.fraud_model import FraudModel
from fraud_mlops.registry.bundle import load_bundle
from fraud_mlops.serving.columns import check_columns, read_columns
from fraud_mlops.serving.naming import Names
from fraud_mlops.serving.request import ClaimReader

MISTAKES = [
    ({"amount": "a lot"}, "#/amount"),
    ({"amount": -5}, "#/amount"),
    ({"colour": "red"}, "#/colour"),
    ({"event_time": "yesterday"}, "#/event_time"),
    ({"event_time": "0001-01-01T00:00:00+14:00"}, "#/event_time"),
    ({"event_time": "9999-12-31T23:59:59-14:00"}, "#/event_time"),
    ({"features": {"provider_claims_7d": "many"}}, "#/features/provider_claims_7d"),
    ({"features": {"made_up": 1}}, "#/features/made_up"),
    ({"peril": ["fire"]}, "#/peril"),
    ({"label": 1}, "#/label"),
    ({"provider": "x" * 600}, "#/provider"),
]


@pytest.fixture(scope="module")
def server(published: Published, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with open_server(published, tmp_path_factory.mktemp("open")) as running:
        yield running


def test_a_slash_too_many_is_not_found_and_sends_nobody_elsewhere(server: Server) -> None:
    """A redirect names the Host that was asked for, and http where a proxy speaks https."""
    asked = {"headers": {"Host": "evil.example"}, "json": {}, "allow_redirects": False}
    told = server.post("/v1/score/", **asked)
    assert told.status_code == 404
    assert told.headers["Content-Type"] == "application/problem+json"
    assert "evil" not in f"{told.text}{told.headers}"


def test_a_claim_scores_as_in_the_batch_with_entity_features_looked_up(
    published: Published, server: Server
) -> None:
    recent = published.recent(days=30)
    for place in range(0, recent.num_rows, max(1, recent.num_rows // 40)):
        claim = published.claim(place - recent.num_rows)
        told = server.score(claim).json()
        expected = published.score_of("first", claim["claim_id"])
        assert same(told["probability"], expected["probability"])
        assert same_scores(told["score"], expected["score"])
        assert told["alert"] == expected["alert"]
        assert told["model_version"] == published.versions["first"]
        assert told["claim_id"] == claim["claim_id"]


def test_an_alerted_claim_has_the_reasons_that_the_batch_wrote_down(
    published: Published, server: Server
) -> None:
    scores = published.scores["first"]
    recent = set(published.recent(days=30)["claim_id"].to_pylist())
    alerted = [r for r in scores.to_pylist() if r["alert"] and r["claim_id"] in recent]
    assert alerted
    ids = published.claims["claim_id"].to_pylist()
    for row in alerted[:5]:
        told = server.score(published.claim(ids.index(row["claim_id"]))).json()
        assert [reason["text"] for reason in told["reasons"]] == row["reasons"]
        shares = [reason["contribution"] for reason in told["reasons"]]
        assert shares == sorted(shares, reverse=True)
        assert told["band"] == "high"
        assert told["probability"] >= told["threshold"]["probability"] - 1e-6
        assert told["threshold"]["budget"] == 0.05


def test_the_same_claim_has_the_same_answer(published: Published, server: Server) -> None:
    answers = [server.score(published.claim()).json() for _ in range(3)]
    for told in answers:
        for varies in ("request_id", "latency_ms"):
            assert told.pop(varies) is not None
    assert answers[0] == answers[1] == answers[2]


def test_a_claim_can_bring_its_own_entity_features(published: Published, server: Server) -> None:
    claim = published.claim()
    usual = server.score(claim).json()["score"]
    brought = {"provider_fraud_lift_30d": 6.0, "policyholder_claims_30d": 12}
    changed = server.score(claim | {"features": brought}).json()
    assert changed["score"] != usual
    row = published.claims.slice(published.claims.num_rows - 1, 1).to_pylist()[0]
    derived = [n for n in published.features.numeric if n not in claim and n != "amount"]
    own = {n: row[n] for n in derived if n.split("_")[0] in ("policyholder", "provider", "agent")}
    assert same(server.score(claim | {"features": own}).json()["score"], usual)


def test_unknown_categories_and_missing_values_are_scored_and_told(
    published: Published, server: Server
) -> None:
    claim = published.claim() | {"peril": "meteorite", "region": "  "}
    del claim["amount"]
    told = server.score(claim).json()
    warned = {(w["code"], w["field"]) for w in told["warnings"]}
    assert warned >= {
        ("unknown_category", "peril"),
        ("missing_value", "region"),
        ("missing_value", "amount"),
    }
    assert 0 < told["probability"] < 1


def test_histories_that_cannot_be_whole_are_told(published: Published, server: Server) -> None:
    late = published.claims["event_time"].to_pylist()[-1] + timedelta(days=60)
    for moment, code in (("2024-05-01T00:00:00Z", "before_entity_state"),
                         (late.isoformat(), "stale_entity_state")):  # fmt: skip
        told = server.score(published.claim() | {"event_time": moment}).json()
        assert code in {w["code"] for w in told["warnings"]}


def test_an_empty_claim_is_scored_as_of_now(server: Server) -> None:
    told = server.score({})
    assert told.status_code == 200
    assert {w["code"] for w in told.json()["warnings"]} >= {"missing_value", "stale_entity_state"}


@pytest.mark.parametrize(("wrong", "pointer"), MISTAKES)
def test_a_wrong_field_is_named_by_its_path_and_its_value_is_not_repeated(
    published: Published, server: Server, wrong: dict[str, object], pointer: str
) -> None:
    told = server.score(published.claim() | wrong)
    assert told.status_code == 422
    assert told.headers["content-type"] == "application/problem+json"
    problem = told.json()
    assert problem["type"] == "urn:fraud-mlops:problem:invalid-claim"
    assert any(error["pointer"].startswith(pointer) for error in problem["errors"])
    for value in wrong.values():
        assert not isinstance(value, str) or value not in told.text


def test_a_field_of_another_name_is_told_by_its_own(published: Published) -> None:
    """A claim comes by the names of the raw zone; who sends it knows those of the source."""
    told = published.features.contract.model_dump(mode="json")
    told |= {"entities": {"provider": "garage", "repairer": "garage"}, "ignore": ["notes"]}
    told |= {"amount": "claimed_amount", "label": told["label"] | {"column": "fraud_found"}}
    files = load_bundle(published.models, DATASET, published.versions["first"]).files
    reader = ClaimReader(Contract.model_validate(told), FraudModel.from_files(files))
    sent = {
        "claimed_amount": "it is called `amount` here",
        "garage": "it is called `provider` and `repairer` here",
        "Peril": "did you mean `peril`?",
        "Garage": "did you mean `garage`? It is called `provider` and `repairer` here",
        "provider_claim_30d": "did you mean `provider_claims_30d`? It goes into `features`",
        "provider_claims_30d": "it goes into `features`",
        "fraud_found": "no model looks at it: leave it out",
        "notes": "no model looks at it: leave it out",
        "xyz": "",
    }
    body = {**dict.fromkeys(sent, 1), "features": {"provider_30d": 1}}
    with pytest.raises(ValidationError) as caught:
        reader.read(json.dumps(body).encode())
    found = {e["pointer"]: e["detail"] for e in invalid_claim(Names(reader), caught.value).errors}
    assert found.pop("#/features/provider_30d").startswith("No such field: did you mean `provider_")
    told = {
        name: f"No such field: {advice}" if advice else "No such field"
        for name, advice in sent.items()
    }
    assert found == {f"#/{name}": detail for name, detail in told.items()}
    told_of = [Names(reader).advice(name) for name in ("Perils", "x" * 1000)]
    assert told_of == ["did you mean `peril`?", ""]
    names = Names(reader)  # a batch may have another one in every line
    assert sum(bool(names.advice(f"peril{i}")) for i in range(1000)) == 8
    assert names.advice("garage")
    with pytest.raises(ContractError) as refused:
        check_columns(reader, ["amount", "garage", "provider_claim_30d", "xyz"])
    assert (
        "garage (it is called `provider` and `repairer` here), "
        "provider_claim_30d (did you mean `provider_claims_30d`?), xyz; see" in str(refused.value)
    )


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 422),
        (b"null", 422),
        (b"\xff\xfe", 400),
        (b'{"amount": NaN}', 422),
        (b'{"amount": Infinity}', 422),
        (b'{"amount": 1e999}', 422),
        (b'{"features": ' * 5000 + b"1" + b"}" * 5000, 400),
        (b"[" * 100_000, 400),
    ],
)
def test_bodies_that_are_no_claim_are_refused_in_words(
    server: Server, body: bytes, status: int
) -> None:
    told = server.post("/v1/score", data=body, headers={"Content-Type": "application/json"})
    assert (told.status_code, told.headers["content-type"]) == (status, "application/problem+json")


def test_ten_megabytes_and_other_media_are_refused(server: Server) -> None:
    big = json.dumps({"claim_id": "x" * 10_000_000}).encode()
    told = server.post("/v1/score", data=big, headers={"Content-Type": "application/json"})
    assert told.status_code == 413
    told = server.post("/v1/score", data=b"<a/>", headers={"Content-Type": "text/xml"})
    assert told.status_code == 415


@pytest.mark.parametrize("media", ["application/json", "application/x-ndjson"])
def test_a_packed_body_is_refused_by_its_encoding(server: Server, media: str) -> None:
    """It was told to be no JSON."""
    path = "/v1/score" if media == "application/json" else "/v1/score/batch"
    headers = {"Content-Type": media, "Content-Encoding": "gzip"}
    told = server.post(path, data=gzip.compress(b"{}"), headers=headers)
    assert (told.status_code, told.headers["accept-encoding"]) == (415, "identity")
    assert "'gzip'" in told.json()["detail"]
    plain = server.post(path, data=b"{}", headers=headers | {"Content-Encoding": "identity"})
    assert plain.status_code == 200


def test_a_byte_order_mark_before_json_is_passed_over(server: Server) -> None:
    mark = "\N{BYTE ORDER MARK}".encode()
    claim = server.post(
        "/v1/score", data=mark + b"{}", headers={"Content-Type": "application/json"}
    )
    assert claim.status_code == 200, claim.text
    lines = {"Content-Type": "application/x-ndjson"}
    told = server.post("/v1/score/batch", data=mark + b"{}\n" + mark + b"{}\n", headers=lines)
    assert ["error" in json.loads(line) for line in told.text.splitlines()] == [False, True]


def test_request_ids_come_back_and_headers_guard_the_browser(
    published: Published, server: Server
) -> None:
    told = server.score(published.claim(), headers={"X-Request-Id": "abc-1"})
    assert told.headers["x-request-id"] == told.json()["request_id"] == "abc-1"
    evil = server.score(published.claim(), headers={"X-Request-Id": 'x" onload='})
    assert "onload" not in evil.headers["x-request-id"]
    assert told.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in told.headers["content-security-policy"]
    assert "access-control-allow-origin" not in server.get("/v1/model", params={}, key=None).headers


def test_the_manifest_and_the_schema_are_those_of_the_served_model(
    published: Published, server: Server
) -> None:
    manifest = server.get("/v1/model").json()
    assert manifest["version"] == published.versions["first"]
    assert manifest["run"] == "Test/first"
    assert {"metrics", "threshold", "data_versions", "dagster_run_id"} <= set(manifest)
    assert "source" not in manifest["contract"]
    told = server.get("/v1/model/schema").json()
    assert set(told["schema"]["properties"]) == {c["name"] for c in told["columns"]} | {"features"}
    assert {c["name"] for c in told["columns"] if c["kind"] == "entity"} == {
        "policyholder", "provider", "agent"
    }  # fmt: skip


def test_metrics_count_what_was_done(published: Published, server: Server) -> None:
    server.score(published.claim())
    text = server.get("/metrics").text
    assert 'fraud_http_requests_total{method="POST",route="/v1/score",status="200"}' in text
    server.get("/nobody/asked/for/this")
    assert "nobody" not in server.get("/metrics").text
    assert f'fraud_model_info{{model_version="{published.versions["first"]}"' in text
    assert "fraud_ready 1.0" in text


def test_a_server_without_a_model_is_up_and_says_what_it_lacks(tmp_path: Path) -> None:
    with process_server(tmp_path, {"LAKEHOUSE_URI": str(tmp_path), "FRAUD_API_OPEN": "1"}) as bare:
        assert bare.get("/healthz").status_code == 200
        ready = bare.get("/readyz")
        assert ready.status_code == 503
        assert "no champion yet" in ready.json()["problem"]
        told = bare.score({})
        assert told.status_code == 503
        assert told.json()["type"].endswith(":no-model")
        assert bare.get("/openapi.json").status_code == 200


@pytest.mark.parametrize(
    ("field", "marker", "given"),
    [
        ("policy_age_days", "9999999", 9999999.0),
        ("policy_age_days", "999999", 999999.4),
        ("policy_age_days", "1e7", 1e7),
        ("policy_age_days", "-1.0", -1.0),
        ("region", "0", "0.0"),
        ("region", "0.0", "0"),
        ("region", "0", 0.0),
        ("region", "unknown", "unknown"),
        ("provider", "12", 12.0),
        ("provider", "13", 12.0),
    ],
)
def test_what_is_missing_by_the_contract_is_so_in_whatever_way_a_claim_comes(
    published: Published, field: str, marker: str, given: float | str
) -> None:
    contract = published.features.contract.model_copy(update={"missing": {field: (marker,)}})
    files = load_bundle(published.models, DATASET, published.versions["first"]).files
    reader = ClaimReader(contract, FraudModel.from_files(files))
    claim = reader.read(json.dumps({field: given}).encode())
    batch = read_columns(reader, pa.record_batch({field: pa.array([given])}), 0)
    if field == "policy_age_days":
        (beside,) = batch.own[field].tolist()
        assert reader.number(claim, field) == (None if np.isnan(beside) else beside)
    else:
        words = {name: column.to_pylist() for name, column in batch.words.items()}
        assert [reader.word(claim, field)] == (words | batch.entities)[field]
