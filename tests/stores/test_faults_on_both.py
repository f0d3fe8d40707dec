"""S3 and ADLS behind a network that fails, where they do the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fault_proxy import Fault, Proxy, gets, puts
from store_servers import CONTAINER, adls_uri
from test_same_on_every_store import claims, put

from fraud_mlops.errors import StoreError
from fraud_mlops.lakehouse.partitions import Lakehouse
from fraud_mlops.lakehouse.stores import read_bytes, read_tagged, write_bytes, write_tagged
from fraud_mlops.settings import settings

pytestmark = pytest.mark.parametrize("store", ["s3", "adls"])


@pytest.fixture
def network(store: str, request: pytest.FixtureRequest) -> Proxy:
    found: Proxy = request.getfixturevalue(f"failing_{store}")
    return found


@pytest.fixture
def root(store: str, tmp_path: Path) -> str:
    return adls_uri(tmp_path.name) if store == "adls" else f"s3://{CONTAINER}/{tmp_path.name}"


def test_a_read_that_breaks_off_is_gone_on_with(network: Proxy, root: str) -> None:
    table = claims(100_000)
    partition = put(root, table)
    network.faults = [Fault("half an answer", 1, gets), Fault("busy", 1, gets)]
    assert Lakehouse(root).read([partition]).equals(table)
    network.faults = [Fault("half an answer", 999, gets)]
    with pytest.raises(StoreError, match="the connection broke or timed out"):
        Lakehouse(root).read([partition])


def test_a_conditional_write_whose_answer_was_lost_has_been_done(network: Proxy, root: str) -> None:
    uri = f"{root}/x.json"
    network.faults = [Fault("lost answer", 1, puts)]
    write_tagged(uri, b"1", None)
    found = read_tagged(uri)
    assert found is not None
    network.faults = [Fault("lost answer", 1, puts)]
    write_tagged(uri, b"2", found[1])
    assert read_bytes(uri) == b"2"


def test_who_waits_is_told_after_a_moment_and_for_how_long(
    store: str,
    network: Proxy,
    root: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("FRAUD_STORE_RETRIES", "2")
    settings.cache_clear()
    network.faults = [Fault("busy", 2, puts)]
    write_bytes(f"{root}/x", b"1")
    [line] = [one.message for one in caplog.records if one.name == "fraud.lakehouse"]
    seconds = {"s3": "2", "adls": "[234]"}[store]
    told = re.escape(f"{network.url} does not answer as it should: trying again, up to 1 times")
    assert re.match(rf"{told} within {seconds} s", line)
    first, second, third = network.seen("PUT")
    assert second - first < 3
    assert third - first < 7
