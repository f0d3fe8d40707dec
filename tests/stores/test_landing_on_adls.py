"""Files land in a container: one listing tells which are there, new, replaced or gone."""

from __future__ import annotations

import pytest
from fault_proxy import proxy
from store_servers import ACCOUNT, Azurite, adls_uri

from fraud_mlops.claims.looking import file_uri, look_into
from fraud_mlops.contract import Contract
from fraud_mlops.errors import SourceError
from fraud_mlops.lakehouse.partitions import Lakehouse
from fraud_mlops.lakehouse.stores import delete, write_bytes
from fraud_mlops.landing.aside import files_aside, set_aside, take_back
from fraud_mlops.landing.listing import Landed, landed_file, landed_files, listing_version
from fraud_mlops.settings import settings

FOLDER = adls_uri("landing")
GOOD = b"claim,day,fraud,amount\nc1,2024-01-31,0,10\nc2,2024-02-01,0,10\n"


def contract(uri: str) -> Contract:
    return Contract.model_validate(
        {
            "name": "parcels", "source": {"uri": uri}, "claim_id": "claim", "amount": "amount",
            "event_time": {"column": "day"}, "label": {"column": "fraud", "delay": "30d"},
        }
    )  # fmt: skip


def landed(uri: str) -> list[Landed]:
    return landed_files(contract(uri).source)  # type: ignore[arg-type]


def names(uri: str) -> list[str]:
    return [file.path for file in landed(uri)]


@pytest.fixture(autouse=True)
def files(use_adls: Azurite) -> None:
    delete(FOLDER)
    for name in ("a.csv", "b.csv", "deeper/c.csv", "_SUCCESS", "notes.txt"):
        write_bytes(f"{FOLDER}/{name}", GOOD)


@pytest.mark.parametrize(
    ("uri", "there"),
    [
        (FOLDER, ["a.csv", "b.csv", "deeper/c.csv", "notes.txt"]),
        (f"{FOLDER}/*.csv", ["a.csv", "b.csv"]),
        (f"{FOLDER}/**/*.csv", ["a.csv", "b.csv", "deeper/c.csv"]),
        (f"{FOLDER}/*/c.csv", ["deeper/c.csv"]),
        (f"{FOLDER}/a.csv", ["a.csv"]),
        (f"{FOLDER}/none/*.csv", []),
    ],
)
def test_a_file_a_folder_or_a_pattern(uri: str, there: list[str]) -> None:
    assert names(uri) == [f"lake/landing/{name}" for name in there]


def test_a_replaced_file_is_another_version_and_a_deleted_one_is_gone() -> None:
    before = landed(FOLDER)
    assert listing_version(landed(FOLDER)) == listing_version(before)
    write_bytes(f"{FOLDER}/a.csv", GOOD.replace(b"c1", b"c9"))
    assert listing_version(landed(FOLDER)) != listing_version(before)
    assert landed_file(f"{FOLDER}/a.csv") == landed(FOLDER)[0] != before[0]
    delete(f"{FOLDER}/a.csv")
    assert landed_file(f"{FOLDER}/a.csv") is None


def test_a_file_is_looked_into_by_the_address_that_the_listing_gives() -> None:
    made = contract(f"{FOLDER}/*.csv")
    uri = file_uri(made.source, landed(f"{FOLDER}/*.csv")[0])  # type: ignore[arg-type]
    assert uri == f"{FOLDER}/a.csv"
    assert look_into(made, uri).partitions == ("2024-01", "2024-02")


def test_a_bad_file_is_set_aside_until_it_is_replaced() -> None:
    lake, made, uri = Lakehouse(adls_uri("aside")), contract(FOLDER), f"{FOLDER}/a.csv"
    file = landed_file(uri)
    assert file is not None
    set_aside(lake, made, uri, file, "bad")
    assert [record.uri for record in files_aside(lake, "parcels")] == [uri]
    write_bytes(uri, GOOD + b"c3,2024-01-05,0,10\n")
    assert files_aside(lake, "parcels") == []
    take_back(lake, "parcels", file.path)


@pytest.mark.parametrize("name", ["nowhere/claims", "nowhere/claims/*.csv"])
def test_a_container_that_is_not_there_is_said_in_words(name: str) -> None:
    container, _, path = name.partition("/")
    uri = f"abfss://{container}@{ACCOUNT}.dfs.core.windows.net/{path}"
    with pytest.raises(SourceError, match="has no container 'nowhere'"):
        landed(uri)


def test_a_hundred_files_are_one_request(
    blob_service: Azurite, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(100):
        write_bytes(adls_uri(f"many/{number}.csv"), b"1")
    with proxy(blob_service.endpoint) as network:
        connection = blob_service.connection(endpoint=network.url)
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", connection)
        settings.cache_clear()
        assert len(landed(adls_uri("many/*.csv"))) == 100
        assert [method for _, method, _ in network.requests] == ["GET"]
