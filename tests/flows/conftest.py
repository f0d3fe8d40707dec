"""Places to run flows in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from flow_kit import Ended, Place


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.stop_all()


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Place, Ended]]:
    """One undisturbed run on generated claims, which several tests look at."""
    made = Place(tmp_path_factory.mktemp("finished"))
    tag = ["--tag", "dagster_run_id:1f0c"]
    ended = made.run("--sample-size", "6000", "--seed", "7", "--launch-id", "undisturbed", *tag)
    assert ended.code == 0, ended.output
    yield made, ended
    made.stop_all()
