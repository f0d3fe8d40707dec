"""Requests that a machine makes up from the API's own description: no 500, no breach of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from api_kit import Published, keys, open_server

from api.batch_bodies import ARROW, JSON_LINES, PARQUET

HERE = Path(__file__).parent
STOPPED = 5


@pytest.mark.parametrize("way", ["open", "key"])
def test_every_endpoint_keeps_to_its_description(
    published: Published, tmp_path: Path, way: str
) -> None:
    environment = {"FRAUD_API_OPEN": str(int(way == "open")), "FRAUD_API_RATE_LIMIT": "0"}
    signed: list[str] = []
    if way == "key":
        file = tmp_path / "keys.json"
        key = keys(file, "add", "--id", "fuzz", "--scopes", "score,admin")
        environment["FRAUD_API_KEYS_FILE"] = str(file)
        signed = ["-H", f"Authorization: Bearer {key}"]
    with open_server(published, tmp_path, **environment) as server:
        command = [
            str(Path(sys.executable).with_name("st")), "run", f"{server.url}/openapi.json",
            "--checks", "all", "--max-examples", "200", "--seed", "1", "--no-color",
            "--request-timeout", "20", "--max-failures", str(STOPPED), *signed,
        ]  # fmt: skip
        bodies = tmp_path / "bodies.jsonl"
        hooks = {
            "SCHEMATHESIS_HOOKS": "fuzzing_hooks",
            "PYTHONPATH": str(HERE),
            "BODIES_TOLD": str(bodies),
        }
        ran = subprocess.run(
            command, capture_output=True, text=True, cwd=tmp_path, env=os.environ | hooks,
            timeout=300,
        )  # fmt: skip
        assert ran.returncode == 0, ran.stdout[-6000:] + ran.stderr[-2000:]
        sent = [json.loads(line) for line in bodies.read_text().splitlines()]
        for media in (*JSON_LINES[:1], ARROW, PARQUET):
            became = [one for one in sent if one["media"] == media]
            assert any(one["scored"] for one in became), media
            assert {200, 422} <= {one["status"] for one in became}, media
        assert server.get("/healthz").status_code == 200
        told = [json.loads(line) for line in server.log.read_text().splitlines()]
        assert told
        assert [line for line in told if line["level"] in ("error", "critical")] == []
