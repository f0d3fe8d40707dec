"""An agent with a workspace, a chat room, a database of vulnerabilities, and a Dagster to find."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from jenkins_kit import MARKED, QUICK, ROOT, Jenkins
from osv_server import Osv, osv

sys.path.append(str(ROOT / "benchmarks"))
sys.path.append(str(ROOT / "tests" / "notifications"))
sys.path.append(str(ROOT / "tests" / "registry"))
sys.path.append(str(ROOT / "tests" / "api"))

import dagster_servers
from webhook import Webhook, webhook

LOCATION = Path(__file__).with_name("ci_location.py")


@pytest.fixture(scope="session")
def groovy() -> None:
    if shutil.which("groovy"):
        return
    if os.environ.get("CI"):
        pytest.fail("groovy is not installed: apt-get install groovy")
    pytest.skip("groovy is not installed: apt-get install groovy")


@pytest.fixture
def room() -> Iterator[Webhook]:
    with webhook() as running:
        yield running


@pytest.fixture(scope="session")
def vulnerabilities() -> Iterator[Osv]:
    with osv() as running:
        yield running


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """One workspace for all builds, as on an agent."""
    return SimpleNamespace(folder=tmp_path_factory.mktemp("jenkins"))


@pytest.fixture
def jenkins(
    groovy: None, shared: SimpleNamespace, room: Webhook, vulnerabilities: Osv, tmp_path: Path
) -> Iterator[Jenkins]:
    """The agent. Each test has a lakehouse, and a memory of what was told, of its own."""
    vulnerabilities.vulnerable.clear()
    agent = Jenkins(
        shared.folder,
        {"fraud-notify-urls": room.address, "dagster-webserver-token": MARKED},
        {
            "FRAUD_NOTIFY_STATE": str(tmp_path / "told.json"),
            "FRAUD_NOTIFY_TIMEOUT": "10",
            "LAKEHOUSE_URI": str(tmp_path / "lake"),
            "DAGSTER_HOME": str(tmp_path / "dagster"),
            "METAFLOW_DATASTORE_SYSROOT_LOCAL": str(tmp_path / "metaflow"),
            "OSV_URL": vulnerabilities.url,
        },
    )
    try:
        yield agent
    finally:
        agent.stop_all()


@pytest.fixture(scope="session")
def dagster(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[dagster_servers.Servers]:
    with dagster_servers.dagster(tmp_path_factory.mktemp("dagster_home"), LOCATION) as running:
        yield running


@pytest.fixture
def quick() -> Callable[..., dict[str, Any]]:
    """Parameters with which the checks take a moment; keywords are others."""

    def make(**params: Any) -> dict[str, Any]:
        return {"LINT": "help", "PYTEST_ARGS": QUICK} | params

    return make
