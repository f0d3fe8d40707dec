"""Places to have assets in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest
from assets_kit import GENERATED, LANDED, Place


@pytest.fixture
def make_place(tmp_path: Path) -> Iterator[Callable[..., Place]]:
    """A place for contracts given as YAML."""
    with dg.DagsterInstance.ephemeral() as instance:
        yield lambda *contracts: Place(tmp_path, contracts, instance)


@pytest.fixture
def generated(make_place: Callable[..., Place]) -> Place:
    return make_place(GENERATED)


@pytest.fixture
def landed(make_place: Callable[..., Place]) -> Place:
    return make_place(LANDED)
