"""A ledger, an instance, and a daemon that ticks the sensor over them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from external_kit import Daemon

from dagster_metaflow import build_external_runs_sensor

sys.path.append(str(Path(__file__).parents[1] / "dagster_metaflow"))


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    return tmp_path / "lake"


@pytest.fixture
def daemon(lake: Path, instance: dg.DagsterInstance) -> Daemon:
    return Daemon(build_external_runs_sensor(ledger_root=str(lake)), instance)
