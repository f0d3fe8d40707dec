"""A real webserver and daemon for the tests of this folder, and the command that talks to them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

import dagster_servers  # noqa: E402

LOCATION = Path(__file__).with_name("toy_location.py")
Launch = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dagster_servers.Servers]:
    home = tmp_path_factory.mktemp("dagster_home")
    with dagster_servers.dagster(home, LOCATION) as running:
        yield running


@pytest.fixture
def environment(servers: dagster_servers.Servers) -> dict[str, str]:
    """Of a shell that no CI server has set up."""
    ours = ("BUILD_", "DAGSTER_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return kept | {"DAGSTER_WEBSERVER_URL": servers.url}


@pytest.fixture
def launch(environment: dict[str, str]) -> Launch:
    """`python -m fraud_assets.launch ARGUMENTS`; keywords are environment variables."""

    def call(*arguments: Any, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "fraud_assets.launch", *map(str, arguments)],
            cwd=ROOT,
            env=environment | variables,
            capture_output=True,
            text=True,
            timeout=180,
        )

    return call


@pytest.fixture
def runs(servers: dagster_servers.Servers) -> Callable[..., list[dict[str, Any]]]:
    """Runs with given tags, newest first: id, status, tags."""

    def find(**tags: str) -> list[dict[str, Any]]:
        wanted = [{"key": key.replace("__", "/"), "value": value} for key, value in tags.items()]
        found = servers.query(
            """query($tags: [ExecutionTag!]) { runsOrError(filter: {tags: $tags}) {
                 ... on Runs { results { runId status startTime endTime tags { key value } } } } }
            """,
            tags=wanted,
        )["runsOrError"]["results"]
        return [run | {"tags": {t["key"]: t["value"] for t in run["tags"]}} for run in found]

    return find


@pytest.fixture
def port() -> int:
    """That nobody has, as are the cards'."""
    return dagster_servers.free_port()


@pytest.fixture
def cards_port() -> int:
    return dagster_servers.free_port()
