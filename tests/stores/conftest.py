"""A lakehouse's root on each kind of store, all found by public environment variables."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from fault_proxy import Proxy, proxy
from store_servers import AWS, CONTAINER, NO_STORE, Azurite, adls_uri, azurite, s3_server

from fraud_mlops.settings import settings

for _kit in ("registry", "fraud_assets"):
    sys.path.append(str(Path(__file__).parents[1] / _kit))

STORES = ("local", "memory", "s3", "adls")


@pytest.fixture(scope="session")
def blob_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    with azurite(tmp_path_factory.mktemp("azurite")) as server:
        yield server


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    with s3_server() as url:
        yield url


@pytest.fixture(autouse=True)
def _no_store_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in NO_STORE:
        monkeypatch.delenv(name, raising=False)
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.fixture
def use_adls(blob_service: Azurite, monkeypatch: pytest.MonkeyPatch) -> Azurite:
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", blob_service.connection())
    settings.cache_clear()
    return blob_service


@pytest.fixture
def use_s3(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    from s3fs import S3FileSystem

    for name, value in {**AWS, "AWS_ENDPOINT_URL": s3_endpoint}.items():
        monkeypatch.setenv(name, value)
    S3FileSystem.clear_instance_cache()
    store = S3FileSystem()
    if not store.exists(CONTAINER):
        store.mkdir(CONTAINER)
    return s3_endpoint


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two tries of two seconds each."""
    monkeypatch.setenv("FRAUD_STORE_RETRIES", "1")
    monkeypatch.setenv("FRAUD_STORE_TIMEOUT", "2")


@pytest.fixture
def failing_s3(use_s3: str, impatient: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    with proxy(use_s3) as made:
        monkeypatch.setenv("AWS_ENDPOINT_URL", made.url)
        settings.cache_clear()
        yield made


@pytest.fixture
def failing_adls(
    blob_service: Azurite, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Proxy]:
    with proxy(blob_service.endpoint) as made:
        monkeypatch.setenv(
            "AZURE_STORAGE_CONNECTION_STRING", blob_service.connection(endpoint=made.url)
        )
        settings.cache_clear()
        yield made


@pytest.fixture(params=STORES)
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Of a lakehouse that nobody else writes to."""
    name = f"{tmp_path.name}-{uuid.uuid4().hex[:8]}"
    if request.param == "local":
        return str(tmp_path / "lake")
    if request.param == "memory":
        return f"memory://{name}"
    request.getfixturevalue(f"use_{request.param}")
    return adls_uri(name) if request.param == "adls" else f"s3://{CONTAINER}/{name}"
