"""S3 behind a network that fails: a retry or a clear error, nothing half-visible, nothing left."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from fault_proxy import Fault, Proxy, gets, puts
from s3fs import S3FileSystem
from store_servers import CONTAINER

from fraud_mlops.errors import StoreError
from fraud_mlops.lakehouse.stores import (
    read_bytes,
    upload,
    write_bytes,
)
from fraud_mlops.settings import settings

LARGE = 101 << 20
"""Above 100 MB an object goes in parts."""


@pytest.fixture
def network(failing_s3: Proxy) -> Proxy:
    return failing_s3


@pytest.fixture
def direct(use_s3: str) -> S3FileSystem:
    """Another client, past the proxy."""
    return S3FileSystem(endpoint_url=use_s3, use_listings_cache=False, skip_instance_cache=True)


@pytest.fixture
def uri(tmp_path: Path) -> str:
    return f"s3://{CONTAINER}/{tmp_path.name}/x.json"


@pytest.fixture
def zeros(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FRAUD_STORE_TIMEOUT", "30")
    settings.cache_clear()
    path = tmp_path / "zeros"
    with path.open("wb") as stream:
        stream.truncate(LARGE)
    return path


def parts(_method: str, path: str) -> bool:
    return "partNumber=" in path


def completes(method: str, path: str) -> bool:
    return method == "POST" and "uploadId=" in path


def test_a_busy_store_is_asked_again(network: Proxy, uri: str) -> None:
    network.faults = [Fault("busy", 1, puts)]
    write_bytes(uri, b"1")
    assert len(network.seen("PUT")) == 2
    network.faults = [Fault("busy", 1, gets)]
    assert read_bytes(uri) == b"1"


@pytest.mark.parametrize("kind", ["broken request", "lost answer", "silence"])
def test_an_upload_that_breaks_once_is_done_again(network: Proxy, uri: str, kind: str) -> None:
    network.faults = [Fault(kind, 1, puts)]  # type: ignore[arg-type]
    write_bytes(uri, b"1" * 100_000)
    assert read_bytes(uri) == b"1" * 100_000


@pytest.mark.parametrize(
    ("kind", "words"),
    [("broken request", "the connection broke or timed out"), ("busy", "the store is too busy"),
     ("silence", "the connection broke or timed out")],
)  # fmt: skip
def test_an_upload_that_never_ends_leaves_what_was_there(
    network: Proxy, uri: str, kind: str, words: str
) -> None:
    write_bytes(uri, b"old")
    network.faults = [Fault(kind, 99, puts)]  # type: ignore[arg-type]
    with pytest.raises(StoreError, match=words) as told:
        write_bytes(uri, b"new" * 100_000)
    assert uri in str(told.value)
    network.faults = []
    assert read_bytes(uri) == b"old"


@pytest.mark.parametrize(
    "fault",
    [Fault("broken request", 99, parts), Fault("busy", 99, completes)],
    ids=["in a part", "at the end"],
)
def test_a_large_upload_that_fails_shows_nothing_and_leaves_no_parts(
    network: Proxy, direct: S3FileSystem, uri: str, zeros: Path, fault: Fault
) -> None:
    write_bytes(uri, b"old")
    network.faults = [fault]
    with pytest.raises(StoreError):
        upload(zeros, uri)
    assert sum(parts(method, path) for _, method, path in network.requests) >= 3
    assert direct.cat_file(uri) == b"old"
    assert direct.list_multipart_uploads(CONTAINER) == []


def test_a_large_upload_whose_parts_and_last_answer_break_comes_whole(
    network: Proxy, direct: S3FileSystem, uri: str, zeros: Path
) -> None:
    write_bytes(uri, b"old")
    network.faults = [Fault("broken request", 1, parts), Fault("lost answer", 1, completes)]
    upload(zeros, uri)
    assert direct.info(uri)["size"] == LARGE
    assert direct.cat_file(uri, start=LARGE - 9) == b"\0" * 9
    assert direct.list_multipart_uploads(CONTAINER) == []


def test_parts_on_their_way_are_waited_for_before_an_upload_is_given_up(
    network: Proxy, direct: S3FileSystem, uri: str, zeros: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else they would arrive when it has been cleared away."""
    monkeypatch.setenv("FRAUD_STORE_TIMEOUT", "2")
    settings.cache_clear()
    network.faults = [
        Fault("busy", 99, lambda _, path: "partNumber=3" in path),
        Fault("silence", 1, lambda _, path: "partNumber=2" in path),
    ]
    with pytest.raises(StoreError, match="the store is too busy"):
        upload(zeros, uri)
    sent = [moment for moment, method, path in network.requests if parts(method, path)]
    assert max(sent) < min(network.seen("DELETE"))
    again = [path for _, _, path in network.requests if "partNumber=2" in path]
    assert len(again) >= 2, "the one that was not answered was on its way"
    assert direct.list_multipart_uploads(CONTAINER) == []
    assert not direct.exists(uri)


def test_a_large_upload_that_somebody_else_ends_is_said(
    network: Proxy, direct: S3FileSystem, uri: str, zeros: Path
) -> None:
    """As a bucket's lifecycle rule does with those that take too long."""

    def ended(method: str, path: str) -> bool:
        if completes(method, path):
            direct.clear_multipart_uploads(CONTAINER)
        return False

    network.faults = [Fault("busy", 1, ended)]
    with pytest.raises(StoreError, match="somebody has ended this very upload meanwhile"):
        upload(zeros, uri)
    assert not direct.exists(uri)


def test_a_store_out_of_reach_is_said_in_words(
    network: Proxy, monkeypatch: pytest.MonkeyPatch, uri: str
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    settings.cache_clear()
    start = time.monotonic()
    told = r"cannot be reached at http://127\.0\.0\.1:9, after 2 tries; look at AWS_ENDPOINT_URL"
    with pytest.raises(StoreError, match=told):
        read_bytes(uri)
    assert time.monotonic() - start < 10
