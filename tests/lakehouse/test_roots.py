"""What can be the root of a lakehouse, and what is said of an address that can be none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from fraud_mlops.cli import main
from fraud_mlops.errors import LakehouseError
from fraud_mlops.lakehouse.partitions import Lakehouse
from fraud_mlops.lakehouse.stores import absolute
from fraud_mlops.settings import settings

MEANT = {
    "https://acct.blob.core.windows.net/lake/a/b": "abfss://lake@acct.dfs.core.windows.net/a/b",
    "https://acct.dfs.core.windows.net/lake/": "abfss://lake@acct.dfs.core.windows.net",
    "https://acct.blob.core.chinacloudapi.cn/lake": "abfss://lake@acct.dfs.core.chinacloudapi.cn",
    "https://acct.blob.core.windows.net": "abfss://CONTAINER@acct.dfs.core.windows.net",
    "https://bucket.s3.eu-west-1.amazonaws.com/a": "s3://bucket/a",
    "https://s3.eu-west-1.amazonaws.com/bucket/a": "s3://bucket/a",
}
NONE = ["https://example.org/lake", "http://127.0.0.1:9/x", "gs://b/x", "ftp://h/x", "dbfs:/lake"]


@pytest.fixture(autouse=True)
def _no_settings_are_kept() -> Iterator[None]:
    yield
    settings.cache_clear()


@pytest.mark.parametrize("uri", MEANT)
def test_a_web_address_of_a_store_is_translated(uri: str) -> None:
    for root in (Lakehouse, absolute):
        with pytest.raises(LakehouseError) as told:
            root(uri)
        assert str(told.value) == (
            f"{uri}: https: is no store for a lakehouse or for models; write {MEANT[uri]}"
        )


@pytest.mark.parametrize("uri", NONE)
def test_what_is_no_store_is_refused_in_words_wherever_it_is_given(uri: str) -> None:
    given = {"LAKEHOUSE_URI": uri}
    for arguments, environment in (
        (["lake", "list"], given),
        (["lake", "list", "--output-uri", uri], {}),
        (["models", "list", "--dataset", "motor"], {"FRAUD_MODEL_URI": uri}),
    ):
        settings.cache_clear()
        done = CliRunner(env=environment).invoke(main, arguments)
        assert done.exit_code == 1
        assert done.output.startswith(f"Error: {uri}: {uri.partition(':')[0]}: is no store")
        assert "abfss://CONTAINER@ACCOUNT.dfs.core.windows.net/FOLDER or s3://BUCKET" in done.output


@pytest.mark.parametrize("name", ["lake", "./a:b", "C", "memory://x", "s3://b/x", "file:///tmp/x"])
def test_folders_and_stores_are_roots(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert Lakehouse(name).root == name
