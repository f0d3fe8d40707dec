"""A zone is found by listings alone, as many as its pages: partitions cost no request each."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qs, urlsplit

import pytest
from fault_proxy import Proxy, proxy
from store_servers import CONTAINER, adls_uri

from fraud_mlops.lakehouse.partitions import Lakehouse
from fraud_mlops.lakehouse.stores import write_bytes
from fraud_mlops.settings import settings

DAYS, PAGE = 45, 20


def test_partitions_are_listed_a_page_a_request(
    use_s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S3's page is 1,000 names, so that 10,000 partitions are 10 requests; here it is 20 names."""
    from s3fs import S3FileSystem

    root = f"{CONTAINER}/pages"
    names = [f"day={2000 + i}-01-01" for i in range(DAYS)]
    store = S3FileSystem()
    with ThreadPoolExecutor(4) as pool:
        paths = [f"{root}/raw/motor/{name}/part-0.parquet" for name in names]
        list(pool.map(lambda path: store.pipe_file(path, b"PAR1"), paths))
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", str(PAGE))  # the server is in this process
    with proxy(use_s3) as between:
        monkeypatch.setenv("AWS_ENDPOINT_URL", between.url)
        settings.cache_clear()
        S3FileSystem.clear_instance_cache()
        listed = Lakehouse(f"s3://{root}").listed("raw", "motor")
    assert [f"{p.key}={p.value}" for p in listed] == names
    assert {p.bytes for p in listed} == {4}
    asked = [(method, parse_qs(urlsplit(path).query)) for _, method, path in between.requests]
    assert [method for method, _ in asked] == ["GET"] * -(-DAYS // PAGE)
    assert all(query["list-type"] == ["2"] for _, query in asked)


def test_on_adls_a_request_lists_five_thousand(failing_adls: Proxy) -> None:
    root = adls_uri("pages")
    names = [f"day={2000 + i}-01-01" for i in range(DAYS)]
    with ThreadPoolExecutor(4) as pool:
        paths = [f"{root}/raw/motor/{name}/part-0.parquet" for name in names]
        list(pool.map(lambda path: write_bytes(path, b"PAR1"), paths))
    failing_adls.requests.clear()
    listed = Lakehouse(root).listed("raw", "motor")
    assert [f"{p.key}={p.value}" for p in listed] == names
    # The client looks whether the folder is a file first.
    [(_, look, _), (_, method, path)] = failing_adls.requests
    assert (look, method) == ("HEAD", "GET")
    assert parse_qs(urlsplit(path).query)["comp"] == ["list"]
