"""The champion is served straight from S3 and from ADLS, and predictions are logged there."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from api_kit import DATASET, Published, open_server, same

sys.path.append(str(Path(__file__).parents[1] / "stores"))
from store_servers import AWS, CONTAINER, adls_uri, azurite, s3_server

from fraud_mlops.lakehouse.partitions import Lakehouse
from fraud_mlops.lakehouse.stores import upload
from fraud_mlops.registry.pointers import promote
from fraud_mlops.serving.champion import ServedModel
from fraud_mlops.serving.logged import read_predictions
from fraud_mlops.settings import settings


@pytest.fixture(params=["s3", "adls"])
def root(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    if request.param == "s3":
        with s3_server() as url:
            for name, value in {**AWS, "AWS_ENDPOINT_URL": url}.items():
                monkeypatch.setenv(name, value)
            from s3fs import S3FileSystem

            S3FileSystem.clear_instance_cache()
            store = S3FileSystem()
            if not store.exists(CONTAINER):  # servers of one process share what they hold
                store.mkdir(CONTAINER)
            yield f"s3://{CONTAINER}/{tmp_path.name}"
            S3FileSystem.clear_instance_cache()
    else:
        with azurite(tmp_path) as server:
            monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", server.connection())
            settings.cache_clear()
            yield adls_uri("lake")
    settings.cache_clear()


def uploaded(published: Published, root: str) -> None:
    for folder in ("models", "entity_state"):
        for path in (published.root / folder).rglob("*"):
            if path.is_file():
                upload(path, f"{root}/{path.relative_to(published.root)}")


def test_a_champion_in_a_store_is_served_swapped_and_logged(
    published: Published, root: str, tmp_path: Path
) -> None:
    uploaded(published, root)
    first, second = published.versions["first"], published.versions["second"]
    claim = published.claim()
    there = replace(published, root=Path(tmp_path))
    with open_server(
        there, tmp_path, process=True, LAKEHOUSE_URI=root, FRAUD_API_POLL_SECONDS="0.2"
    ) as server:
        server.until(lambda: server.version() == first)
        told = server.score(claim).json()
        expected = published.score_of("first", claim["claim_id"])
        assert same(told["probability"], expected["probability"])
        promote(f"{root}/models", DATASET, second, expected=first, by="test", reason="test")
        server.until(lambda: server.version() == second)
        again = server.score(claim).json()
        assert same(
            again["probability"], published.score_of("second", claim["claim_id"])["probability"]
        )
    logged = read_predictions(Lakehouse(root), DATASET)
    assert logged["model_version"].to_pylist() == [first, second]


def test_who_asks_whether_it_is_ready_learns_no_place_of_a_store(
    root: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Nor bucket, container, account or folder; the log, which is the operator's, has them."""
    wrong = {  # not there, and no name of one; of another account
        "s3": ["s3://nobodys-place/models", "s3://Nobodys_Place/models"],
        "abfss": [f"abfss://{CONTAINER}@nobodysplace.dfs.core.windows.net/models"],
    }
    served = ServedModel("", DATASET, Lakehouse(root))
    for served.models_uri in wrong[root.partition("://")[0]]:
        place = re.sub(r".*(nobodys.?place).*", r"\1", served.models_uri, flags=re.IGNORECASE)
        for _ in range(2):
            assert not served.look()
            assert served.problem
            assert served.problem.startswith("models or entity state cannot be read")
        (told,) = [one for one in caplog.records if one.name == "fraud.serving"]
        assert place in told.getMessage()
        caplog.clear()
