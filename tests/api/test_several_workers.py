"""Several workers on one port, and a stop that leaves nobody without an answer."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
import requests
from api_kit import DATASET, ROOT, Published, Server, open_server, process_server

from fraud_mlops.registry.pointers import promote
from fraud_mlops.serving.logged import read_predictions

WORKERS = 2


def environment_of(own: Published, folder: Path) -> dict[str, str]:
    """Workers whose metrics lie in a folder that they share."""
    (folder / "metrics").mkdir()
    return {
        "LAKEHOUSE_URI": str(own.root),
        "FRAUD_API_DATASET": DATASET,
        "FRAUD_API_OPEN": "1",
        "FRAUD_API_LOG_FOLDER": str(folder / "waiting"),
        "FRAUD_API_POLL_SECONDS": "0.1",
        "PROMETHEUS_MULTIPROC_DIR": str(folder / "metrics"),
    }


def test_workers_share_a_port_and_one_stop_ends_them_with_every_answer_logged(
    own: Published, tmp_path: Path
) -> None:
    claim = own.claim()
    answered: list[str] = []
    failed: list[int] = []

    def load(server_url: str) -> None:
        with requests.Session() as session:
            while True:
                try:
                    told = session.post(server_url + "/v1/score", json=claim, timeout=30)
                except requests.RequestException:  # refused once the port is closed
                    return
                if told.status_code == 200:
                    answered.append(told.json()["request_id"])
                else:
                    failed.append(told.status_code)

    environment = environment_of(own, tmp_path)
    with process_server(tmp_path, environment, "--workers", str(WORKERS)) as server:
        threads = [threading.Thread(target=load, args=(server.url,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        server.until(lambda: len(answered) > 30, 60)
        text = server.get("/metrics").text
        assert 'route="/v1/score",status="200"' in text
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(60)
        for thread in threads:
            thread.join(60)
    assert failed == []
    logged: set[Any] = set(read_predictions(own.lake, DATASET)["request_id"].to_pylist())
    assert set(answered) <= logged
    assert list((tmp_path / "waiting").rglob("*.wal")) == []


def gauges(server: Server, name: str) -> dict[str, float]:
    """Values of a metric in the text of all workers, by their labels."""
    lines = [line for line in server.get("/metrics").text.splitlines() if line.startswith(name)]
    told = (line.removeprefix(name).rpartition(" ") for line in lines)
    return {labels: float(value) for labels, _, value in told}


def test_gauges_are_of_the_workers_that_live_and_of_the_model_that_they_serve(
    own: Published, tmp_path: Path
) -> None:
    """One worker is killed, and uvicorn starts another; then the champion changes."""
    first, second = own.versions["first"], own.versions["second"]
    environment = environment_of(own, tmp_path)
    metrics = tmp_path / "metrics"

    def serves(version: str) -> float:
        name = "fraud_model_info"
        return gauges(server, name).get(f'{{model_version="{version}",role="champion"}}', 0.0)

    def all_have_swapped(times: int) -> bool:
        return gauges(server, "fraud_model_swaps") == {"": float(times * WORKERS)}

    with process_server(tmp_path, environment, "--workers", str(WORKERS)) as server:
        server.until(lambda: all_have_swapped(1), 60)
        before = {int(f.stem.rpartition("_")[2]) for f in metrics.glob("gauge_livesum_*.db")}
        assert len(before) == WORKERS
        killed = before.pop()
        os.kill(killed, signal.SIGKILL)
        server.until(lambda: len(list(metrics.glob("counter_*.db"))) > WORKERS, 60)
        server.until(lambda: all_have_swapped(1), 60)
        assert list(metrics.glob(f"gauge_*_{killed}.db")) == []
        assert (serves(first), serves(second)) == (1, 0)
        promote(own.models, DATASET, second, expected=first, by="test", reason="test")
        server.until(lambda: all_have_swapped(2), 60)
        assert (serves(first), serves(second)) == (0, 1)


def image(workers: int) -> tuple[dict[str, str], list[str]]:
    """Variables and module with options of the image, as the shell makes them."""
    text = (ROOT / "infra" / "api" / "Dockerfile").read_text().replace("\\\n", " ")
    (given,) = re.findall(r"^ENV (.+)$", text, re.MULTILINE)
    (command,) = re.findall(r"^CMD (.+)$", text, re.MULTILINE)
    shell, flag, words = json.loads(command)
    assert (shell, flag) == ("sh", "-c")
    filled = words.replace("${WORKERS:-1}", str(workers)).replace("--host 0.0.0.0", "")
    exec_, python, module, *start = filled.split()
    assert (exec_, python, module) == ("exec", "python", "-m")
    return dict(one.split("=", 1) for one in given.split()), start


@pytest.mark.parametrize("workers", [1, WORKERS])
def test_metrics_of_the_image_are_of_all_its_workers_and_of_this_start(
    own: Published, tmp_path: Path, workers: int
) -> None:
    variables, start = image(workers)
    assert "PROMETHEUS_MULTIPROC_DIR" in variables
    metrics = tmp_path / "metrics"
    environment = environment_of(own, tmp_path) | {"UVICORN_HTTP": variables["UVICORN_HTTP"]}
    environment["TMPDIR"] = str(tmp_path)
    for shared in (str(metrics), str(metrics), ""):
        environment["PROMETHEUS_MULTIPROC_DIR"] = shared
        with process_server(tmp_path, environment, start=start) as server:
            swaps = {"": float(workers)}
            server.until(lambda: gauges(server, "fraud_model_swaps") == swaps, 60)  # noqa: B023
            for _ in range(10):
                assert server.score(own.claim()).status_code == 200
            counted = gauges(server, "fraud_claims_scored_total")
            assert sum(counted.values()) == 10
            assert len(list(tmp_path.glob("fraud-api-metrics-*"))) == (not shared)
    assert list(tmp_path.glob("fraud-api-metrics-*")) == []


def test_what_an_env_file_says_is_served(
    own: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the one worker, which is the process that has looked at the settings first."""
    given = environment_of(own, tmp_path)
    for name in given:
        monkeypatch.delenv(name, raising=False)
    file = tmp_path / "api.env"
    file.write_text("".join(f"{name}={value}\n" for name, value in given.items()))
    start = ("api.serve", "--env-file", str(file))
    with process_server(tmp_path, {}, start=start) as server:
        assert server.score(own.claim()).json()["model_version"] == own.versions["first"]
    assert list((tmp_path / "metrics").glob("*.db"))


def test_without_a_collector_traces_are_not_loaded(
    published: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And with one that cannot be used, the server says so and scores."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    with open_server(published, tmp_path) as server:
        assert server.score(published.claim()).status_code == 200
