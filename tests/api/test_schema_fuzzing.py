"""Requests that a machine makes up from the API's own description: no 500, no breach of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from api_kit import Published, open_server

HERE = Path(__file__).parent
STOPPED = 5
"""Checks that hold for requests of any client; see docs/api.md for what is left out and why."""


@pytest.mark.parametrize("signed_in", [True, False])
def test_every_endpoint_keeps_to_its_description(
    published: Published, tmp_path: Path, signed_in: bool
) -> None:
    environment = {"FRAUD_API_OPEN": "1" if signed_in else "0", "FRAUD_API_RATE_LIMIT": "0"}
    with open_server(published, tmp_path, **environment) as server:
        command = [
            str(Path(sys.executable).with_name("st")), "run", f"{server.url}/openapi.json",
            "--checks", "all", "--max-examples", "15", "--seed", "1", "--no-color",
            "--exclude-checks", "positive_data_acceptance",
            "--request-timeout", "20", "--max-failures", str(STOPPED),
        ]  # fmt: skip
        hooks = {"SCHEMATHESIS_HOOKS": "fuzzing_hooks", "PYTHONPATH": str(HERE)}
        ran = subprocess.run(
            command, capture_output=True, text=True, cwd=tmp_path, env=os.environ | hooks,
            timeout=300,
        )  # fmt: skip
        assert ran.returncode == 0, ran.stdout[-6000:] + ran.stderr[-2000:]
        assert server.get("/healthz").status_code == 200
        assert '"level": "error"' not in server.log.read_text()
