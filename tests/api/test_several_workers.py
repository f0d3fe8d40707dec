"""Several workers on one port, and a stop that leaves nobody without an answer."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Any

import pytest
import requests
from api_kit import DATASET, Published, open_server, process_server

from fraud_mlops.serving.prediction_log import read_predictions


def test_workers_share_a_port_and_one_stop_ends_them_with_every_answer_logged(
    own: Published, tmp_path: Path
) -> None:
    claim = own.claim()
    answered: list[str] = []
    failed: list[int] = []
    environment = {
        "LAKEHOUSE_URI": str(own.root),
        "FRAUD_API_DATASET": DATASET,
        "FRAUD_API_OPEN": "1",
        "FRAUD_API_LOG_FOLDER": str(tmp_path / "waiting"),
        "PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "metrics"),
    }
    (tmp_path / "metrics").mkdir()

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

    with process_server(tmp_path, environment, "--workers", "2") as server:
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


def test_without_a_collector_traces_are_not_loaded(
    published: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And with one that cannot be used, the server says so and scores."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    with open_server(published, tmp_path) as server:
        assert server.score(published.claim()).status_code == 200
