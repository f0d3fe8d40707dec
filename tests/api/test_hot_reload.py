"""The champion changes while claims come in: no request fails, and none sees two models."""

from __future__ import annotations

import asyncio
import gc
import json
import math
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import requests
from api_kit import (
    DATASET,
    Published,
    Server,
    open_server,
    process_server,
    thread_server,
    with_other_alerts,
)
from starlette.requests import Request

from api.access import Access
from api.metrics import Metrics
from api.models import schema
from api.service import Service
from api.settings import ApiSettings
from fraud_mlops.registry.bundle import load_bundle
from fraud_mlops.registry.pointers import promote, read_pointer, withdraw
from fraud_mlops.serving.champion import ServedModel
from fraud_mlops.serving.entity_state import publish_entity_state
from fraud_mlops.serving.scorer import Scorer
from fraud_mlops.settings import Settings, settings

SWAPS = 50
BATCH = 10_000
"""Claims: more than are scored at a time."""


@pytest.fixture
def server(own: Published, tmp_path: Path) -> Iterator[Server]:
    with open_server(own, tmp_path) as running:
        yield running


def move(own: Published, version: str) -> None:
    """By the pointer alone, as a rollback or somebody's script would."""
    found = read_pointer(own.models, DATASET, "champion")
    promote(
        own.models, DATASET, version,
        expected=found.version if found else None, by="test", reason="test",
    )  # fmt: skip


class Answer(NamedTuple):
    """To a claim, alone or as a row of a batch. header: the version that all of it is said to be
    by, where one says so."""

    status: int
    header: str | None
    version: str | None
    probability: float
    reasons: tuple[str, ...]


def answer(told: requests.Response, row: dict[str, Any]) -> Answer:
    return Answer(
        told.status_code,
        told.headers.get("X-Model-Version"),
        row.get("model_version"),
        row.get("probability", -1.0),
        tuple(r if isinstance(r, str) else r["text"] for r in row.get("reasons", ())),
    )


class Load:
    """Clients that score one claim for as long as they are let, the last one as batches."""

    def __init__(self, server: Server, claim: dict[str, Any], clients: int = 3) -> None:
        self.alone: set[Answer] = set()
        self.rows: set[Answer] = set()
        self._stop = threading.Event()
        self._url, self._claim = server.url + "/v1/score", claim
        work = [self._score_alone] * (clients - 1) + [self._score_batch]
        self._threads = [threading.Thread(target=self._run, args=(one,)) for one in work]

    def _run(self, work: Callable[[requests.Session], None]) -> None:
        with requests.Session() as session:
            while not self._stop.is_set():
                work(session)

    def _score_alone(self, session: requests.Session) -> None:
        told = session.post(self._url, json=self._claim, timeout=30)
        self.alone.add(answer(told, told.json()))

    def _score_batch(self, session: requests.Session) -> None:
        told = session.post(
            self._url + "/batch?reasons=all",
            data=f"{json.dumps(self._claim)}\n" * BATCH,
            headers={"Content-Type": "application/x-ndjson"},
            timeout=30,
        )
        lines = told.text.splitlines()
        assert len(lines) == BATCH
        self.rows |= {answer(told, json.loads(line)) for line in lines}

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def test_fifty_swaps_under_load_fail_no_request_and_mix_no_versions(
    own: Published, tmp_path: Path
) -> None:
    claim, versions = own.claim(), own.versions
    right = {v: own.score_of(name, claim["claim_id"]) for name, v in versions.items()}
    first, second = versions.values()
    assert abs(right[first]["probability"] - right[second]["probability"]) > 1e-4
    with open_server(own, tmp_path, process=True) as server:

        def lead(wanted: str) -> None:
            move(own, wanted)
            server.until(lambda: server.version() == wanted)

        reasons = {}
        for version in (second, first):
            lead(version)
            told = server.score(claim)
            reasons[version] = answer(told, told.json()).reasons
        assert reasons[first] != reasons[second]
        with Load(server, claim) as load:
            for turn in range(SWAPS):
                lead(second if turn % 2 == 0 else first)
        assert f"fraud_model_swaps {SWAPS + 3}.0" in server.get("/metrics").text
    for answers in (load.alone, load.rows):
        assert {one.status for one in answers} == {200}
        assert {one.version for one in answers} == {first, second}
        for one in answers:
            assert one.header in (None, one.version)
            assert one.probability == pytest.approx(right[one.version]["probability"], abs=1e-6)
            assert one.reasons == reasons[one.version]
    assert all(one.header for one in load.rows)


@pytest.mark.parametrize("damage", ["weights", "missing", "canary"])
def test_a_bad_bundle_is_refused_and_told_and_the_old_one_serves_on(
    own: Published, server: Server, damage: str
) -> None:
    first, second = own.versions["first"], own.versions["second"]
    folder = Path(own.models) / DATASET
    pointer = json.loads((folder / "champion.json").read_text())
    bad = folder / second
    original = (bad / "weights.safetensors").read_bytes()
    if damage == "weights":
        (bad / "weights.safetensors").write_bytes(original[:-1] + bytes([original[-1] ^ 1]))
    elif damage == "missing":
        (bad / "network.json").unlink()
    else:
        second = republished_with_other_scores(folder, second)
    pointer["version"] = second
    (folder / "champion.json").write_text(json.dumps(pointer))
    server.until(lambda: "refused" in server.get("/readyz").json())
    ready = server.get("/readyz")
    assert ready.status_code == 200
    told = ready.json()
    assert (told["version"], told["refused"]["version"]) == (first, second)
    words = {"weights": "sha256 differs", "missing": "is missing", "canary": "canary claims"}
    assert words[damage] in told["refused"]["reason"]
    assert str(own.root) not in ready.text
    refused = 'fraud_model_refused{role="champion"} 1.0'
    server.until(lambda: refused in server.get("/metrics").text)
    assert server.score(own.claim()).json()["model_version"] == first
    if damage == "weights":  # put right, it is taken without anybody's doing
        (bad / "weights.safetensors").write_bytes(original)
        server.until(lambda: server.version() == second)
        assert "refused" not in server.get("/readyz").json()


def test_the_same_version_is_taken_up_anew_once_its_manifest_says_other_things(
    own: Published, server: Server
) -> None:
    first = own.versions["first"]
    before = server.get("/readyz").json()
    digest = with_other_alerts(own.models, first, budget=0.0502)
    server.until(lambda: server.get("/readyz").json()["manifest"] == digest)
    assert server.score(own.claim()).json()["threshold"]["budget"] == 0.0502
    told = server.get("/v1/model").json()
    assert (told["version"], told["contract"]["alerts"]["budget"]) == (first, 0.0502)
    after = server.get("/readyz").json()
    assert before["manifest"] not in ("", digest)
    assert (after["version"], "problem" in after, "refused" in after) == (first, False, False)


def test_a_manifest_that_is_written_once_more_swaps_nothing(own: Published) -> None:
    served = ServedModel(own.models, DATASET, own.lake)
    assert served.look()
    before = served.scorer
    manifest = Path(own.models) / DATASET / own.versions["first"] / "manifest.json"
    kept = manifest.read_bytes()
    manifest.write_bytes(b"{")
    assert not served.look()
    assert served.refused
    assert served.refused.version == own.versions["first"]
    manifest.write_bytes(kept)
    assert not served.look()
    assert (served.problem, served.refused) == (None, None)
    assert served.scorer is before


def republished_with_other_scores(folder: Path, version: str) -> str:
    """A whole bundle, with hashes in order, whose model is not the one that scored its sample."""
    from fraud_mlops.registry.bundle import bundle_version, write_bundle

    bundle = load_bundle(str(folder.parent), DATASET, version)
    other = load_bundle(
        str(folder.parent), DATASET,
        next(v for v in (p.name for p in folder.iterdir() if p.is_dir()) if v not in
             (version, "history")),
    )  # fmt: skip
    files = bundle.files | {"reference.parquet": other.files["reference.parquet"]}
    manifest = bundle.manifest
    made = bundle_version(files, manifest.trained_until)
    named = manifest.model_copy(update={"version": made, "files": {}})
    write_bundle(str(folder.parent), DATASET, made, files, named)
    return made


def test_the_first_champion_is_served_when_it_comes(own: Published, tmp_path: Path) -> None:
    pointer = Path(own.models) / DATASET / "champion.json"
    kept = pointer.read_bytes()
    pointer.unlink()
    with open_server(own, tmp_path) as late:
        assert late.get("/readyz").status_code == 503
        pointer.write_bytes(kept)
        late.until(lambda: late.get("/readyz").status_code == 200)
        assert late.score(own.claim()).status_code == 200


def test_a_silent_store_keeps_nobody_from_healthz_nor_from_stopping(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=100) as silent:
        environment = {
            "LAKEHOUSE_URI": "s3://lake/fraud",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{silent.getsockname()[1]}",
            "AWS_ACCESS_KEY_ID": "nobody",
            "AWS_SECRET_ACCESS_KEY": "nothing",
            "AWS_REGION": "eu-west-1",
            "FRAUD_API_OPEN": "1",
            "FRAUD_API_LOG_FOLDER": str(tmp_path / "waiting"),
        }
        with process_server(tmp_path, environment, looked=False) as server:
            told = server.get("/readyz")
            assert (told.status_code, told.json()["problem"]) == (503, "starting")
            assert server.score({}).status_code == 503
            server.process.terminate()
            server.process.wait(20)


def test_what_is_loaded_for_good_is_not_looked_through_for_garbage(server: Server) -> None:
    assert server.get("/readyz").json()["ready"]
    assert gc.get_freeze_count() > 100_000  # PyTorch's objects alone are more


def test_a_new_entity_state_is_taken_up(own: Published, server: Server) -> None:
    state = own.root / "entity_state" / DATASET / "state=latest" / "part-0.parquet"
    claim = own.claim()
    with_history = server.score(claim).json()
    until = server.get("/readyz").json()["entity_state_until"]
    assert state_until(server) == datetime.fromisoformat(until).timestamp()
    until = server.get("/readyz").json()["entity_state_until"]
    assert state_until(server) == datetime.fromisoformat(until).timestamp()
    state.unlink()
    server.until(lambda: server.get("/readyz").json()["entity_state_until"] is None)
    without = server.score(claim).json()
    assert with_history["score"] != without["score"]
    assert "no_entity_state" in {w["code"] for w in without["warnings"]}
    server.until(lambda: math.isinf(state_until(server)))


def test_without_a_model_no_time_is_told_of_what_entities_did(tmp_path: Path) -> None:
    """0 would be 1970, and an alert on its age for ever."""
    given = {"LAKEHOUSE_URI": str(tmp_path), "FRAUD_API_DATASET": DATASET, "FRAUD_API_OPEN": "1"}
    with thread_server(tmp_path, given | {"FRAUD_API_LOG_FOLDER": str(tmp_path / "log")}) as bare:
        assert bare.get("/readyz").status_code == 503
        assert math.isinf(state_until(bare))


def state_until(server: Server) -> float:
    lines = server.get("/metrics").text.splitlines()
    (told,) = [line for line in lines if line.startswith("fraud_entity_state_until_seconds ")]
    return float(told.split()[1])


def test_what_a_claim_looks_like_is_told_by_one_version(own: Published) -> None:
    """Though another comes while it is told."""
    given = {"LAKEHOUSE_URI": str(own.root), "FRAUD_API_DATASET": DATASET, "FRAUD_API_OPEN": "1"}
    settings = ApiSettings(**given)
    service = Swapping(own, settings, Metrics(), Settings(**given), Access(settings))
    service.look()
    app = SimpleNamespace(state=SimpleNamespace(service=service))
    request = Request({"type": "http", "headers": [], "app": app})
    told = json.loads(asyncio.run(schema(request)).body)
    assert told["model_version"] == own.versions["first"]
    assert service.champion.scorer
    assert service.champion.scorer.version == own.versions["second"]


class Swapping(Service):
    """The second version comes as soon as the first has been taken for a request."""

    def __init__(self, own: Published, *given: Any) -> None:
        super().__init__(*given)
        self._own = own

    def scorer(self) -> Scorer:
        found = super().scorer()
        move(self._own, self._own.versions["second"])
        self.look()
        return found


def test_who_asks_whether_it_is_ready_learns_no_address(
    own: Published, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Of a store's endpoint, say; the log, which is the operator's, has it."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "example")
    monkeypatch.setenv("FRAUD_STORE_RETRIES", "0")
    settings.cache_clear()
    served = ServedModel("s3://models", DATASET, own.lake)
    assert not served.look()
    settings.cache_clear()
    assert served.problem
    assert "127.0.0.1" not in served.problem
    assert "127.0.0.1" in caplog.text


def test_a_retired_champion_takes_up_a_new_entity_state_too(own: Published) -> None:
    served = ServedModel(own.models, DATASET, own.lake)
    assert served.look()
    withdraw(own.models, DATASET, own.versions["first"], by="ann", reason="a column is gone")
    assert not served.look()
    state = own.root / "entity_state" / DATASET / "state=latest" / "part-0.parquet"
    state.unlink()
    before = served.scorer
    assert served.look()
    assert served.scorer is not before
    assert served.problem == "no champion yet: train one, or promote a version"
    assert not served.look()


def test_a_state_that_reaches_less_far_back_than_the_model_looks_is_told(
    published: Published, own: Published, server: Server
) -> None:
    """As after a rollback to a model of longer windows."""
    shutil.copytree(published.root / "raw", own.root / "raw")
    contract, claim = own.features.contract, own.claim()
    moment = datetime.fromisoformat(claim["event_time"]) - timedelta(days=20)
    late = claim | {"event_time": moment.isoformat()}
    assert "before_entity_state" not in warned(server, late)
    shorter = contract.model_copy(update={"windows": (1,)})
    raw = own.lake.partitions("raw", DATASET)
    publish_entity_state(shorter, own.lake, raw, as_of=contract.source.end, run="Test/shorter")
    server.until(lambda: "before_entity_state" in warned(server, late))
    told = [w["detail"] for w in server.score(late).json()["warnings"]]
    assert any(detail.startswith("Histories of 30 days are whole") for detail in told)


def warned(server: Server, claim: dict[str, Any]) -> set[str]:
    return {w["code"] for w in server.score(claim).json()["warnings"]}


def test_a_damaged_pointer_leaves_the_old_model_in_place(own: Published, server: Server) -> None:
    pointer = Path(own.models) / DATASET / "champion.json"
    kept = pointer.read_bytes()
    pointer.write_text("{")
    server.until(lambda: "problem" in server.get("/readyz").json())
    assert server.score(own.claim()).status_code == 200
    pointer.write_bytes(kept)
    server.until(lambda: "problem" not in server.get("/readyz").json())


def test_readiness_is_told_of_one_version(own: Published) -> None:
    """Though another comes while it is told: no version beside the other's manifest."""
    given = {"LAKEHOUSE_URI": str(own.root), "FRAUD_API_DATASET": DATASET, "FRAUD_API_OPEN": "1"}
    settings = ApiSettings(**given)
    service = Service(settings, Metrics(), Settings(**given), Access(settings))
    service.champion = SwappedWhenRead(own.models, DATASET, own.lake)
    service.look()
    first = service.champion.scorer
    move(own, own.versions["second"])
    service.look()
    service.champion.other = first
    told = service.readiness()
    assert service.champion.scorer is first
    manifest = load_bundle(own.models, DATASET, own.versions["second"]).manifest
    assert (told["version"], told["manifest"]) == (manifest.version, manifest.digest)


class SwappedWhenRead(ServedModel):
    """`other` comes as soon as what is served has been read once."""

    other: Scorer | None = None

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name == "scorer" and self.other:
            self.scorer, self.other = self.other, None
        return found
