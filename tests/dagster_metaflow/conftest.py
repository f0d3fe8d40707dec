"""Toys to play with; whatever a test leaves running is ended with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from served import Served, serve
from toy_kit import Finished, Toy


@pytest.fixture
def toy(tmp_path: Path) -> Iterator[Toy]:
    made = Toy(tmp_path)
    yield made
    made.stop_all()


@pytest.fixture
def instance(toy: Toy) -> Iterator[dg.DagsterInstance]:
    with toy.instance() as made:
        yield made


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Finished]:
    """One undisturbed materialization of both assets, which several tests look at."""
    made = Toy(tmp_path_factory.mktemp("finished"))
    with made.instance() as instance:
        yield Finished(made, instance, made.materialize(instance=instance, config={"size": 3}))
    made.stop_all()


@pytest.fixture(scope="session")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(tmp_path_factory.mktemp("deployment")) as made:
        yield made


@pytest.fixture
def served(deployment: Served) -> Iterator[Served]:
    """The deployment, in which nothing has been launched yet."""
    deployment.clear()
    yield deployment
    deployment.stop_all()
