"""A dataset with models in its registry, scores and entity state, and a server over it."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import requests
import uvicorn

from api.logs import JsonLines
from fraud_mlops.contract import CLAIM_ID, EVENT_TIME, LABEL, LABEL_TIME
from fraud_mlops.features.build import FeatureSet, read_window
from fraud_mlops.lakehouse.partitions import Lakehouse, Partition
from fraud_mlops.models.candidates import Candidate
from fraud_mlops.models.params import LogisticParams
from fraud_mlops.pipeline.choosing import Result, choose, refit_winner
from fraud_mlops.pipeline.ingesting import ingest, prepare
from fraud_mlops.pipeline.leading import Leader, pinned_champion
from fraud_mlops.pipeline.plan import plan_run
from fraud_mlops.pipeline.publishing import keep_bundle, publish
from fraud_mlops.pipeline.scoring import publish_state, score
from fraud_mlops.pipeline.training import train_candidate
from fraud_mlops.pipeline.validation import validate
from fraud_mlops.registry.bundle import load_bundle, write_bundle
from fraud_mlops.registry.pointers import read_pointer

ROOT = Path(__file__).parents[2]
DATASET = "served_claims"
CONTRACT = f"""\
name: {DATASET}
source:
  {{kind: synthetic, claims: 6000, seed: 7, start: 2024-01-01, end: 2025-01-01, fraud_rate: 0.08}}
claim_id: claim_id
event_time: {{column: event_time}}
label: {{column: label, time_column: label_time, delay: 30d}}
amount: amount
entities: {{policyholder: policyholder, provider: provider, agent: agent}}
numeric: [policy_age_days, vehicle_age_years, driver_age, report_delay_hours, amount_to_guide]
categorical: [peril, region, channel]
personal: [driver_age]
windows: [7, 30]
partition: month
split:
  train: {{start: 2024-01-01, end: 2024-06-01}}
  validation: {{start: 2024-07-01, end: 2024-08-01}}
  oot: {{start: 2024-09-01, end: 2024-11-01}}
"""
MODELS = {"first": (4, 1), "second": (8, 2)}


@dataclass(frozen=True)
class Published:
    """Two versions in the registry, the first of them champion; claims with features and scores."""

    root: Path
    versions: dict[str, str]
    features: FeatureSet
    claims: pa.Table
    scores: dict[str, pa.Table]

    @property
    def models(self) -> str:
        return str(self.root / "models")

    @property
    def lake(self) -> Lakehouse:
        return Lakehouse(str(self.root))

    @property
    def contract(self) -> Path:
        return self.root / "served_claims.yaml"

    def recent(self, days: int = 30) -> pa.Table:
        """Claims of the last days, with all their columns, in order of time."""
        times = self.claims.column(EVENT_TIME).to_pylist()
        since = times[-1] - timedelta(days=days)
        return self.claims.slice(next(i for i, t in enumerate(times) if t >= since))

    def claim(self, index: int = -1) -> dict[str, Any]:
        """One claim as a client sends it: no label, no derived feature."""
        index %= self.claims.num_rows
        return as_sent(self.claims.slice(index, 1), self.features)[0]

    def score_of(self, name: str, claim_id: str) -> dict[str, Any]:
        """What the batch flow gave the claim."""
        table = self.scores[name]
        rows = table.filter(pa.compute.equal(table[CLAIM_ID], claim_id)).to_pylist()
        assert len(rows) == 1
        return rows[0]


def as_sent(claims: pa.Table, features: FeatureSet) -> list[dict[str, Any]]:
    derived = set(features.numeric) - {"amount", *(features.contract.numeric or ())}
    rows = claims.drop_columns([LABEL, LABEL_TIME, *derived]).to_pylist()
    return [{k: json_value(v) for k, v in row.items() if v is not None} for row in rows]


def json_value(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def make_published(root: Path) -> Published:
    """Generates, trains twice, publishes both and scores with each; the first is champion."""
    path = root / "served_claims.yaml"
    path.write_text(CONTRACT, encoding="utf-8")
    versions: dict[str, str] = {}
    scored: dict[str, tuple[Partition, ...]] = {}
    tables: dict[str, pa.Table] = {}
    lake = Lakehouse(str(root))
    for name, (epochs, seed) in MODELS.items():
        plan = plan_run(str(path), run=f"Test/{name}", output_uri=str(root), launch_id="test")
        params = LogisticParams(epochs=epochs, learning_rate=0.05)
        candidate = Candidate(name=name, params=params, seed=seed)
        plan = plan.model_copy(update={"candidates": (candidate,)})
        if not versions:
            ingested = ingest(plan)
            features = prepare(plan, ingested)
        result = Result(candidate, train_candidate(candidate, features, quiet), None)
        choice = choose(plan, features, [result])
        files, log = refit_winner(plan, choice, features, quiet)
        validated = validate(plan, features, ingested, files)
        keep_bundle(plan, ingested, features, choice, log, validated)
        publish(plan, validated)
        versions[name] = validated.version
        leader: Leader = pinned_champion(plan.model_copy(update={"champion": validated.version}))
        scored[name] = score(plan, features, leader)
        tables[name] = lake.read(scored[name])
        publish_state(plan, ingested)
    return Published(root, versions, features, read_window(features, "oot"), tables)


def quiet(_: str) -> None:
    """Progress is for people."""


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


def same(one: Any, other: Any) -> bool:
    return bool(np.allclose(one, other, rtol=0, atol=1e-6))


def same_scores(some: Any, others: Any) -> bool:
    """To a millionth; from eight on, where float32 has no more than that, to its last two bits."""
    return bool(np.allclose(some, others, rtol=2**-22, atol=1e-6))


class Server:
    """A server over HTTP: in a thread of the test, or `uvicorn api.app:app` as a process."""

    def __init__(self, url: str, log: Path, process: subprocess.Popen[bytes] | None = None) -> None:
        self.url, self.log, self._process = url, log, process

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    def get(self, path: str, key: str | None = None, **given: Any) -> requests.Response:
        return requests.get(self.url + path, headers=bearer(key), timeout=30, **given)

    def post(
        self, path: str, key: str | None = None, headers: dict[str, Any] | None = None, **given: Any
    ) -> requests.Response:
        sent = bearer(key) | (headers or {})
        return requests.post(self.url + path, headers=sent, timeout=60, **given)

    def score(self, claim: dict[str, Any], **given: Any) -> requests.Response:
        return self.post("/v1/score", json=claim, **given)

    def until(self, ready: Callable[[], bool], seconds: float = 30) -> None:
        deadline = time.monotonic() + seconds
        while not ready():
            assert time.monotonic() < deadline, self.log.read_text()[-3000:]
            time.sleep(0.02)

    def has_looked(self) -> bool:
        """Whether the first look for a champion is over, whatever was found."""
        return self.get("/readyz").json().get("problem") != "starting"

    def version(self) -> str | None:
        found: str | None = self.get("/readyz").json().get("version")
        return found


def bearer(key: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"} if key else {}


def keys(path: Path, *arguments: str) -> str:
    """`python -m api.keys` on a file; the key that it shows."""
    command = [sys.executable, "-m", "api.keys", *arguments, "--file", str(path)]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()


@contextlib.contextmanager
def process_server(
    folder: Path,
    environment: dict[str, str],
    *arguments: str,
    start: Sequence[str] = ("uvicorn", "api.app:app"),
    looked: bool = True,
) -> Iterator[Server]:
    """`uvicorn api.app:app`, ended by SIGTERM; a server that dies at once fails the test.

    start: another module, and what it is given. looked: begins after the first look for a champion.
    """
    port, log = free_port(), folder / f"server-{time.monotonic_ns()}.log"
    command = [sys.executable, "-m", *start, *arguments, "--port", str(port)]
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, **environment}, stdout=stream, stderr=stream
        )
    server = Server(f"http://127.0.0.1:{port}", log, process)

    def answers() -> bool:
        assert process.poll() is None, log.read_text()[-3000:]
        with contextlib.suppress(requests.ConnectionError):
            return requests.get(server.url + "/healthz", timeout=5).status_code == 200
        return False

    try:
        server.until(answers, 90)
        if looked:
            server.until(server.has_looked, 90)
        yield server
    finally:
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def thread_server(folder: Path, environment: dict[str, str]) -> Iterator[Server]:
    """The same app on the same server, without the seconds that a process takes to start."""
    from api.app import create_app
    from api.settings import ApiSettings
    from fraud_mlops.settings import Settings

    log = folder / f"server-{time.monotonic_ns()}.log"
    handler = logging.FileHandler(log)
    handler.setFormatter(JsonLines())
    app = create_app(ApiSettings(**environment), Settings(**environment))
    logging.getLogger("fraud").addHandler(handler)
    port = free_port()
    config = uvicorn.Config(app, port=port, log_config=None, access_log=False)
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    server = Server(f"http://127.0.0.1:{port}", log)
    try:
        server.until(lambda: running.started)
        server.until(server.has_looked)
        yield server
    finally:
        running.should_exit = True
        thread.join(30)
        logging.getLogger("fraud").removeHandler(handler)
        handler.close()


@contextlib.contextmanager
def open_server(
    published: Published, folder: Path, *, process: bool = False, **environment: str
) -> Iterator[Server]:
    """A server over the published dataset that asks for no key unless told otherwise."""
    given = {
        "LAKEHOUSE_URI": str(published.root),
        "FRAUD_API_DATASET": DATASET,
        "FRAUD_API_OPEN": "1",
        "FRAUD_API_LOG_FOLDER": str(folder / "waiting"),
        "FRAUD_API_POLL_SECONDS": "0.05",
        "FRAUD_API_SHADOW_SHARE": "0",
    } | environment
    start = process_server if process else thread_server
    with start(folder, given) as running:
        yield running


def with_other_alerts(models: str, version: str, budget: float) -> str:
    """The same model, come out of a training for another budget. Its manifest's digest."""
    bundle = load_bundle(models, DATASET, version)
    contract, threshold = bundle.manifest.contract, bundle.manifest.threshold
    alerts = {"alerts": contract["alerts"] | {"budget": budget}}
    changed = {"contract": contract | alerts, "threshold": threshold | {"budget": budget}}
    manifest = bundle.manifest.model_copy(update=changed)
    return write_bundle(models, DATASET, version, bundle.files, manifest).manifest.digest


@dataclass
class Clock:
    """Of the pauses; it stands still until it is moved on."""

    now: float = 0.0

    def monotonic(self) -> float:
        return self.now


def champion(target: Path) -> str | None:
    pointer = read_pointer(str(target), DATASET, "champion")
    return pointer.version if pointer else None
