"""One published dataset for all tests of the API, and a server over it that asks who comes; what
changes the dataset works on a copy."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from access_kit import AUDIENCE, Issuer
from api_kit import Clock, Published, Server, keys, make_published, open_server

SHARED = shutil.ignore_patterns("raw", "features", "prediction_log")
"""What a copy does not need, and what other tests have left."""


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    return make_published(tmp_path_factory.mktemp("published"))


@pytest.fixture
def own(published: Published, tmp_path: Path) -> Published:
    """A copy whose pointers may be moved."""
    root = tmp_path / "lake"
    shutil.copytree(published.root, root, ignore=SHARED)
    return replace(published, root=root)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("fraud_mlops.serving.champion.time", clock)
    return clock


@pytest.fixture
def target(published: Published, tmp_path: Path) -> Path:
    """This machine's registry: all versions, and the first is champion."""
    return Path(shutil.copytree(published.models, tmp_path / "models"))


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    made = Issuer()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture(scope="module")
def key_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys") / "keys.json"


@pytest.fixture(scope="module")
def score_key(key_file: Path) -> str:
    return keys(key_file, "add", "--id", "desk", "--scopes", "score")


@pytest.fixture(scope="module")
def admin_key(key_file: Path) -> str:
    return keys(key_file, "add", "--id", "ops", "--scopes", "admin")


@pytest.fixture(scope="module")
def closed(
    published: Published,
    issuer: Issuer,
    key_file: Path,
    score_key: str,
    admin_key: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Server]:
    environment = {
        "FRAUD_API_OPEN": "0",
        "FRAUD_API_KEYS_FILE": str(key_file),
        "FRAUD_API_OIDC_ISSUER": issuer.url,
        "FRAUD_API_OIDC_AUDIENCE": AUDIENCE,
        "FRAUD_API_BODY_SECONDS": "1",
    }
    with open_server(published, tmp_path_factory.mktemp("closed"), **environment) as running:
        yield running
