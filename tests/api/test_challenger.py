"""The challenger beside the champion: whatever becomes of it, requests and the log go on."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from api_kit import DATASET, Published, open_server, same

from fraud_mlops.registry.pointers import set_challenger, withdraw
from fraud_mlops.serving.champion import ServedModel
from fraud_mlops.serving.records import SCHEMA, Looked, Record
from fraud_mlops.serving.shadow import WAITING, Shadow, shadow_record

AT = 1_733_000_000_000_000


@pytest.fixture(scope="module")
def model(published: Published) -> ServedModel:
    served = ServedModel(published.models, DATASET, published.lake)
    assert served.look()
    return served


def looked(claim: dict[str, object]) -> Looked:
    return Looked(json.dumps(claim).encode(), "a request", "desk", AT, AT)


def until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_whatever_a_claim_fails_by_the_next_is_scored(
    model: ServedModel, published: Published, caplog: pytest.LogCaptureFixture
) -> None:
    outcomes: list[str] = []
    full = True

    def write(_: list[Record]) -> None:
        if full:
            raise MemoryError

    shadow = Shadow(model, write, 1.0, outcomes.append)
    for _ in range(2):
        shadow.offer(looked(published.claim()))
    until(lambda: outcomes == ["failed", "failed"])
    full = False
    shadow.offer(looked(published.claim()))
    shadow.close()
    assert outcomes == ["failed", "failed", "scored"]
    told = [record.getMessage() for record in caplog.records if "challenger" in record.getMessage()]
    assert told == [
        f"challenger {published.versions['first']} could not score a claim: MemoryError"
    ]


def test_a_challenger_that_is_stuck_holds_up_no_stop(
    model: ServedModel, published: Published
) -> None:
    goes_on = threading.Event()
    shadow = Shadow(model, lambda _: goes_on.wait(), 1.0)
    for _ in range(WAITING + 2):
        shadow.offer(looked(published.claim()))
    began = time.monotonic()
    shadow.close(seconds=0.2)
    assert time.monotonic() - began < 5
    goes_on.set()


def test_fields_of_the_champions_contract_alone_are_nothing_to_the_challenger(
    model: ServedModel, published: Published
) -> None:
    assert model.scorer is not None
    claim = published.claim()
    more = {**claim, "colour": "red", "features": {"colour_claims_7d": 3}}
    place = SCHEMA.get_field_index("score")
    scores = [shadow_record(model.scorer, looked(each))[place] for each in (claim, more)]
    assert same(*scores)


def test_that_there_is_no_challenger_is_no_problem(
    own: Published, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "fraud.serving")
    second = own.versions["second"]
    withdraw(own.models, DATASET, second, by="test", reason="test", role="challenger")
    served = ServedModel(own.models, DATASET, own.lake, role="challenger")
    served.look()
    assert (served.scorer, served.problem) == (None, None)
    set_challenger(own.models, DATASET, second, by="test", reason="test")
    served.look()
    assert caplog.messages == [f"challenger {second} looks on"]


def test_why_no_challenger_looks_on_is_told(own: Published, tmp_path: Path) -> None:
    second = own.versions["second"]
    set_challenger(own.models, DATASET, second, by="test", reason="test")
    weights = Path(own.models) / DATASET / second / "weights.safetensors"
    kept = weights.read_bytes()
    weights.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
    with open_server(own, tmp_path, FRAUD_API_SHADOW_SHARE="1") as server:
        server.until(lambda: "refused" in server.get("/readyz").json()["challenger"])
        told = server.get("/readyz").json()
        assert (told["ready"], told["version"]) == (True, own.versions["first"])
        assert "refused" not in told
        assert told["challenger"]["refused"]["version"] == second
        assert "sha256 differs" in told["challenger"]["refused"]["reason"]
        metrics = server.get("/metrics").text
        assert 'fraud_model_refused{role="champion"} 0.0' in metrics
        assert 'fraud_model_refused{role="challenger"} 1.0' in metrics
        weights.write_bytes(kept)
        server.until(lambda: server.get("/readyz").json()["challenger"] == {"version": second})
