"""ADLS behind a network that fails: a retry or a clear error, and nothing half-visible."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from fault_proxy import Fault, Proxy, gets, puts
from store_servers import KEY, Azurite, adls_uri
from test_same_on_every_store import large, put

from fraud_mlops.errors import StoreError
from fraud_mlops.lakehouse.partitions import Lakehouse
from fraud_mlops.lakehouse.stores import read_bytes, write_bytes
from fraud_mlops.settings import settings


@pytest.fixture
def network(failing_adls: Proxy) -> Proxy:
    return failing_adls


@pytest.fixture
def uri(tmp_path: Path) -> str:
    return adls_uri(f"{tmp_path.name}/x.json")


def test_a_busy_store_is_asked_again_when_it_says(network: Proxy, uri: str) -> None:
    network.faults = [Fault("busy", 1, puts, retry_after="2")]
    write_bytes(uri, b"1")
    first, second = network.seen("PUT")
    assert 2 <= second - first < 3
    network.faults = [Fault("busy", 1, gets)]
    assert read_bytes(uri) == b"1"


@pytest.mark.parametrize("kind", ["broken request", "lost answer", "silence"])
def test_an_upload_that_breaks_once_is_done_again(network: Proxy, uri: str, kind: str) -> None:
    network.faults = [Fault(kind, 1, puts)]  # type: ignore[arg-type]
    write_bytes(uri, b"1" * 100_000)
    assert read_bytes(uri) == b"1" * 100_000


@pytest.mark.parametrize("kind", ["broken request", "silence", "busy"])
def test_an_upload_that_never_ends_leaves_what_was_there(
    network: Proxy, uri: str, kind: str
) -> None:
    write_bytes(uri, b"old")
    network.faults = [Fault(kind, 99, puts, retry_after="0")]  # type: ignore[arg-type]
    with pytest.raises(StoreError, match="after 2 tries") as told:
        write_bytes(uri, b"new" * 100_000)
    assert uri in str(told.value)
    assert KEY not in str(told.value)
    network.faults = []
    assert read_bytes(uri) == b"old"


def test_a_large_upload_that_breaks_in_a_block_shows_nothing(
    network: Proxy, blob_service: Azurite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """70 MB in blocks: each is staged, and only the list of them makes the blob."""
    monkeypatch.setenv("FRAUD_STORE_TIMEOUT", "30")
    settings.cache_clear()
    root = adls_uri(tmp_path.name)
    table = large()
    network.faults = [Fault("broken request", 99, lambda _, path: "comp=blocklist" in path)]
    with pytest.raises(StoreError, match="the connection broke or timed out"):
        put(root, table)
    assert sum("blockid=" in path for _, _, path in network.requests) > 5
    assert not any(name.startswith(tmp_path.name) for name in blob_service.blobs())
    assert Lakehouse(root).partitions("raw", "motor") == []

    network.faults = [Fault("broken request", 1, lambda _, path: "blockid=" in path)]
    partition = put(root, table)
    Lakehouse(root).verify(partition)


def refused_by_a_clock(minutes: int) -> Fault:
    """A store whose clock is so far behind this machine's."""
    there = format_datetime(datetime.now(UTC) - timedelta(minutes=minutes), usegmt=True)
    return Fault("refused", 9, code="AuthenticationFailed", date=there)


def test_a_clock_that_is_off_is_told_where_a_signature_is_refused(network: Proxy, uri: str) -> None:
    network.faults = [refused_by_a_clock(60)]
    with pytest.raises(StoreError, match=r"this machine's clock is \+36\d\d s off") as told:
        write_bytes(uri, b"1")
    assert told.value.mend == "sudo timedatectl set-ntp true"
    network.faults = [refused_by_a_clock(14)]  # Azure allows a quarter of an hour
    with pytest.raises(StoreError, match="the connection string was refused"):
        write_bytes(uri, b"1")


def test_what_a_signature_says_of_itself_goes_before_the_clock(
    network: Proxy, blob_service: Azurite, monkeypatch: pytest.MonkeyPatch, uri: str
) -> None:
    """By the store's clock: a machine that is an hour ahead takes a good signature for expired."""
    told = {-2: "the shared access signature expired at", 1: "this machine's clock is"}
    for hours, words in told.items():
        sas = blob_service.sas(hours=hours)
        connection = blob_service.connection(endpoint=network.url, sas=sas)
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", connection)
        settings.cache_clear()
        network.faults = [refused_by_a_clock(60)]
        with pytest.raises(StoreError, match=words):
            write_bytes(uri, b"1")


def test_a_store_out_of_reach_is_said_in_words(
    network: Proxy, blob_service: Azurite, monkeypatch: pytest.MonkeyPatch, uri: str
) -> None:
    closed = blob_service.connection(endpoint="http://127.0.0.1:9")
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", closed)
    settings.cache_clear()
    start = time.monotonic()
    with pytest.raises(StoreError, match="cannot be reached, after 2 tries"):
        read_bytes(uri)
    assert time.monotonic() - start < 10
