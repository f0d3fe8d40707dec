"""The description shows, of every body and answer, one that is true to it."""

from __future__ import annotations

import base64
import gc
import json
import re
import weakref
from collections.abc import Iterator
from typing import Any

import jsonschema
import pyarrow as pa
import pytest
from api_kit import DATASET, Published, Server, open_server

from api.kept import Kept
from api.openapi import describe
from fraud_mlops.serving.histories import EntityHistories
from fraud_mlops.serving.loading import load_model, scorer_of
from fraud_mlops.serving.scorer import Scorer

LINES = "application/x-ndjson"
ARROW = "application/vnd.apache.arrow.stream"
Content = dict[str, Any]


@pytest.fixture(scope="module")
def server(published: Published, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with open_server(published, tmp_path_factory.mktemp("described")) as running:
        yield running


@pytest.fixture(scope="module")
def described(server: Server) -> dict[str, Any]:
    told: dict[str, Any] = server.get("/openapi.json").json()
    return told


def contents(described: dict[str, Any]) -> Iterator[tuple[str, str, Content]]:
    """Where, media type and what is told of it, of everything that is sent or answered."""
    for path, operations in described["paths"].items():
        for operation in operations.values():
            sent = operation.get("requestBody", {}).get("content", {})
            yield from ((f"{path} body", media, told) for media, told in sent.items())
            for status, answer in operation["responses"].items():
                for media, told in answer["content"].items():
                    yield f"{path} {status}", media, told


def example(told: Content) -> Any:
    if "example" in told:
        return told["example"]
    (only,) = told["examples"].values()
    _, data = only["externalValue"].split(";base64,")
    return base64.b64decode(data)


def body(described: dict[str, Any], path: str) -> dict[str, Content]:
    found: dict[str, Content] = described["paths"][path]["post"]["requestBody"]["content"]
    return found


def answer(described: dict[str, Any], path: str) -> dict[str, Content]:
    found: dict[str, Content] = described["paths"][path]["post"]["responses"]["200"]["content"]
    return found


def test_everything_has_an_example(described: dict[str, Any]) -> None:
    without = [
        f"{where} {media}" for where, media, told in contents(described) if not example(told)
    ]
    assert without == []


def test_examples_in_json_fit_their_schema(described: dict[str, Any]) -> None:
    components = {"components": described["components"]}
    checked = 0
    for where, media, told in contents(described):
        if media.endswith("json") and media != LINES:
            jsonschema.validate(example(told), told["schema"] | components)
            if (status := where.split()[1]) != "body" and "problem" in media:
                assert example(told)["status"] == int(status)
            checked += 1
    assert checked > 20


def test_what_is_shown_as_sent_is_accepted_and_answered_as_is_shown(
    server: Server, described: dict[str, Any]
) -> None:
    claim = body(described, "/v1/score")["application/json"]["example"]
    shown = answer(described, "/v1/score")["application/json"]["example"]
    assert server.score(claim).json().keys() == shown.keys()
    sent = body(described, "/v1/score/batch")
    assert len(sent) == 3
    shown_as = answer(described, "/v1/score/batch")
    for media, told in sent.items():
        data = example(told)
        headers = {"Content-Type": media, "Accept": media if media in shown_as else "*/*"}
        given = server.post("/v1/score/batch", data=data, headers=headers)
        assert given.status_code == 200, given.text
        if media == LINES:
            rows = [json.loads(line) for line in given.text.splitlines()]
            lines = [json.loads(line) for line in shown_as[LINES]["example"].splitlines()]
            assert rows[0].keys() == lines[0].keys()
        else:
            table = pa.ipc.open_stream(given.content).read_all()
            assert table.schema == pa.ipc.open_stream(example(shown_as[ARROW])).schema
            rows = table.to_pylist()
        assert [row["claim_id"] for row in rows] == ["CLM-1", "CLM-2"]
        assert [row.get("error") for row in rows] == [None, None]


def test_every_type_that_a_batch_is_answered_with_is_named(
    server: Server, described: dict[str, Any]
) -> None:
    for media in answer(described, "/v1/score/batch"):
        told = server.post(
            "/v1/score/batch", data=b"{}", headers={"Content-Type": LINES, "Accept": media}
        )
        assert told.headers["content-type"].partition(";")[0] == media
    refused = server.post(
        "/v1/score/batch", data=b"{}", headers={"Content-Type": LINES, "Accept": "text/csv"}
    )
    named = re.findall(r"application/[\w.+-]*\w", refused.json()["detail"])
    assert set(named) == answer(described, "/v1/score/batch").keys()


def test_strangers_do_not_read_what_scores_high(
    server: Server, published: Published, described: dict[str, Any]
) -> None:
    """Anybody may read the description; what it takes to be alerted is for who may score."""
    text = json.dumps(described)
    assert "high-scoring" not in text
    limit = server.score(published.claim()).json()["threshold"]["probability"]
    assert str(limit) not in text


def test_without_a_model_there_is_a_description_too() -> None:
    assert body(describe(None), "/v1/score/batch").keys() == {
        LINES, ARROW, "application/vnd.apache.parquet"
    }  # fmt: skip


def test_what_is_kept_goes_with_its_model(published: Published) -> None:
    makes: list[str | None] = []

    def make(scorer: Scorer | None) -> dict[str, str | None]:
        makes.append(scorer.version if scorer else None)
        return {"version": makes[-1]}

    kept = Kept(make)
    for name in ("first", "second"):
        version = published.versions[name]
        scorer = load_scorer(published, version)
        for _ in range(2):
            assert json.loads(kept.of(scorer)) == {"version": version}
            assert json.loads(kept.of(None)) == {"version": None}
        gone = weakref.ref(scorer)
        del scorer
        gc.collect()
        assert gone() is None
    assert makes == [published.versions["first"], None, published.versions["second"]]


def load_scorer(published: Published, version: str) -> Scorer:
    loaded = load_model(published.models, DATASET, version)
    return scorer_of(loaded, EntityHistories(loaded.contract, None))
