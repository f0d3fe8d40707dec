"""Places to have assets in."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest
from assets_kit import GENERATED, LANDED, Place

from fraud_mlops.settings import settings

sys.path.append(str(Path(__file__).parents[1] / "notifications"))

from webhook import Webhook, webhook


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


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Webhook]:
    """A chat room that the environment names."""
    with webhook() as running:
        monkeypatch.setenv("FRAUD_NOTIFY_URLS", running.address)
        monkeypatch.setenv("FRAUD_NOTIFY_STATE", str(tmp_path / "told.json"))
        monkeypatch.setenv("DAGSTER_WEBSERVER_URL", "http://dagster.example.org/")
        settings.cache_clear()
        yield running
    settings.cache_clear()
