"""How one signs in to ADLS: by what is set; and what is said when it is wrong, or nothing."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from store_servers import ACCOUNT, KEY, Azurite, adls_uri

from fraud_mlops.errors import LakehouseError, SettingsError, StoreError
from fraud_mlops.lakehouse.azure_account import azure_account
from fraud_mlops.lakehouse.partitions import Lakehouse
from fraud_mlops.lakehouse.stores import filesystem, read_bytes, write_bytes
from fraud_mlops.settings import settings

URI = "abfss://lake@lakeaccount.dfs.core.windows.net/lakehouse"
NEW_SIGNATURE = (
    f"az storage container generate-sas --account-name {ACCOUNT} --name lake --permissions racwdl "
)
EMPTY = "DefaultEndpointsProtocol=https;EndpointSuffix=core.windows.net"


class Environment:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._set = monkeypatch.setenv

    def __call__(self, **variables: str) -> None:
        for name, value in variables.items():
            self._set(f"AZURE_STORAGE_{name.upper()}", value)
        settings.cache_clear()


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Environment:
    return Environment(monkeypatch)


def test_the_first_that_is_set_signs_in(environment: Environment) -> None:
    assert azure_account(URI).sign_in == "Entra"
    environment(sas_token="?sv=2024&sig=s")  # noqa: S106
    assert (azure_account(URI).sign_in, azure_account(URI).secret) == ("SAS", "sv=2024&sig=s")
    environment(account_key=KEY)
    assert azure_account(URI).sign_in == "account key"
    environment(connection_string=f"AccountName={ACCOUNT};AccountKey={KEY}")
    assert azure_account(URI).sign_in == "connection string"
    assert azure_account(URI).url == "https://lakeaccount.blob.core.windows.net"


@pytest.mark.parametrize(
    ("uri", "url"),
    [
        (URI, "https://lakeaccount.blob.core.windows.net"),
        ("abfss://lake@lakeaccount.dfs.core.chinacloudapi.cn/x",
         "https://lakeaccount.blob.core.chinacloudapi.cn"),
        ("abfss://lake/x", "https://other.blob.core.windows.net"),
        ("az://lake/x", "https://other.blob.core.windows.net"),
    ],
)  # fmt: skip
def test_the_account_stands_in_the_address_or_in_the_environment(
    environment: Environment, uri: str, url: str
) -> None:
    if "@" not in uri:
        environment(account_name="other")
    assert azure_account(uri).url == url


def test_an_address_without_account_names_everything_that_could_be_set() -> None:
    with pytest.raises(SettingsError) as told:
        azure_account("abfss://lake/lakehouse")
    for name in ("CONNECTION_STRING", "ACCOUNT_NAME", "ACCOUNT_KEY", "SAS_TOKEN"):
        assert f"AZURE_STORAGE_{name}" in str(told.value)
    assert "az login" in str(told.value)


@pytest.mark.parametrize(
    "variables",
    [
        {"account_name": "other"},
        {"account_name": "other", "account_key": KEY},
        {"connection_string": f"AccountName=other;AccountKey={KEY}"},
        {"connection_string": "BlobEndpoint=http://127.0.0.1:1/other;SharedAccessSignature=sig=s"},
        {"connection_string": "BlobEndpoint=https://other.blob.core.windows.net;"
                              "SharedAccessSignature=sig=s"},
    ],
)  # fmt: skip
def test_an_address_of_another_account_is_refused(
    environment: Environment, variables: dict[str, str]
) -> None:
    environment(**variables)
    with pytest.raises(SettingsError, match=r"in the account lakeaccount.*is for other"):
        azure_account(URI)


def test_a_name_that_contradicts_the_connection_string_is_refused(
    environment: Environment,
) -> None:
    environment(account_name="other", connection_string=SOUND)
    with pytest.raises(SettingsError, match=r"ACCOUNT_NAME=other, but .*STRING is for lakeaccount"):
        azure_account("az://lake/x")
    environment(account_name=ACCOUNT)
    assert azure_account("az://lake/x").name == ACCOUNT


@pytest.mark.parametrize("text", [EMPTY, "BlobEndpoint=http://127.0.0.1:1", "nonsense"])
def test_a_connection_string_without_account_is_refused(
    environment: Environment, text: str
) -> None:
    environment(connection_string=text)
    with pytest.raises(SettingsError, match="AZURE_STORAGE_CONNECTION_STRING: names no account"):
        azure_account(URI)


WRONG = "s3cr3t-w0rd"
SOUND = f"AccountName={ACCOUNT};AccountKey={KEY}"


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"account_key": WRONG}, "AZURE_STORAGE_ACCOUNT_KEY is no account key"),
        ({"account_key": f"'{KEY}'"}, "AZURE_STORAGE_ACCOUNT_KEY is no account key"),
        ({"account_key": KEY[:-3]}, "AZURE_STORAGE_ACCOUNT_KEY is no account key"),
        ({"sas_token": WRONG}, "AZURE_STORAGE_SAS_TOKEN is no shared access signature"),
        ({"sas_token": f'"?sv=2024&sig={WRONG}"'}, "without quotes, spaces and breaks"),
        ({"sas_token": f"sv=2024&sig={WRONG}\nx"}, "without quotes, spaces and breaks"),
        ({"sas_token": f"https://x.blob.core.windows.net/lake?sv=2024&sig={WRONG}"},
         "AZURE_STORAGE_SAS_TOKEN is an address; give what stands in it behind the `?`"),
        ({"connection_string": f"AccountName={ACCOUNT};AccountKey={WRONG}"},
         "the AccountKey in AZURE_STORAGE_CONNECTION_STRING is no account key"),
        ({"connection_string": f"AccountName={ACCOUNT};SharedAccessSignature={WRONG}"},
         "the SharedAccessSignature in AZURE_STORAGE_CONNECTION_STRING is no"),
        ({"connection_string": f"{SOUND};{WRONG}"},
         "AZURE_STORAGE_CONNECTION_STRING is malformed: it is `Name=value;"),
        ({"connection_string": f"AccountName={ACCOUNT};Key={WRONG}"},
         "it has neither an AccountKey nor a SharedAccessSignature"),
        ({"connection_string": f"BlobEndpoint=https://{ACCOUNT}.blob.x;AccountKey={KEY}"},
         "it has an AccountKey and no AccountName"),
        ({"connection_string": f"{SOUND};BlobEndpoint={ACCOUNT}.blob.core.windows.net"},
         "its BlobEndpoint is no http"),
        ({"connection_string": f"{SOUND};BlobEndpoint=https://{ACCOUNT}.blob.x/?sig={WRONG}"},
         "its BlobEndpoint holds more than the address"),
        ({"account_name": "https://lakeaccount.blob.core.windows.net"},
         "AZURE_STORAGE_ACCOUNT_NAME is no name of a storage account"),
    ],
)  # fmt: skip
def test_what_can_be_no_secret_is_told_by_its_variable_before_it_is_sent(
    environment: Environment, variables: dict[str, str], told: str
) -> None:
    environment(**variables)
    with pytest.raises(SettingsError) as said:
        read_bytes(URI)
    assert told in str(said.value)
    assert "copy it again" in str(said.value)
    assert WRONG not in str(said.value)
    assert KEY[:-3] not in str(said.value)


@pytest.mark.parametrize(
    "place", ["abfss:///lakehouse", "abfss://@lakeaccount.dfs.core.windows.net"]
)
def test_an_address_without_container_is_refused(environment: Environment, place: str) -> None:
    environment(account_name=ACCOUNT, account_key=KEY)
    with pytest.raises(SettingsError, match="names no container; write abfss://<container>@"):
        read_bytes(f"{place}/x.json")


def test_no_secret_is_shown_by_accident(environment: Environment) -> None:
    environment(connection_string=f"AccountName={ACCOUNT};AccountKey={KEY}")
    assert KEY not in repr(azure_account(URI)) + repr(settings())


@pytest.mark.parametrize("sign_in", ["key", "signature"])
def test_a_connection_string_reaches_another_endpoint(
    blob_service: Azurite, environment: Environment, sign_in: str
) -> None:
    sas = blob_service.sas() if sign_in == "signature" else None
    environment(connection_string=blob_service.connection(sas=sas))
    uri = adls_uri(f"sign-in-{sign_in}.json")
    write_bytes(uri, b"{}")
    assert read_bytes(uri) == b"{}"
    assert f"sign-in-{sign_in}.json" in blob_service.blobs()


def test_an_address_names_its_account_for_whoever_reads_it(use_adls: Azurite) -> None:
    fs, path = filesystem(adls_uri("a/b.csv"))
    assert path == "lake/a/b.csv"
    assert fs.unstrip_protocol(path) == adls_uri("a/b.csv")


def refused(action: object, *arguments: object, mend: str) -> str:
    """mend: how the command begins that mends it."""
    with pytest.raises(LakehouseError) as told:
        action(*arguments)  # type: ignore[operator]
    assert str(told.value.mend).startswith(mend), told.value.mend
    assert told.value.__cause__ is None
    assert "sig=" not in str(told.value)
    assert KEY not in str(told.value)
    return str(told.value)


def test_an_expired_signature_says_when(blob_service: Azurite, environment: Environment) -> None:
    environment(connection_string=blob_service.connection(sas=blob_service.sas(hours=-1)))
    moment = datetime.now(UTC) - timedelta(hours=1)
    for action in (read_bytes, lambda uri: write_bytes(uri, b"1")):
        text = refused(action, adls_uri("expired.json"), mend=NEW_SIGNATURE)
        assert "the shared access signature expired at" in text
        assert f"{moment:%F}" in text
    assert "expired.json" not in blob_service.blobs()


def test_a_signature_of_its_own_variable_is_known_to_have_expired(
    blob_service: Azurite, environment: Environment
) -> None:
    for hours, expired in ((1, False), (-1, True)):
        environment(sas_token=blob_service.sas(hours=hours))
        sas = azure_account(URI).sas
        assert sas is not None
        assert sas.expired(datetime.now(UTC)) is expired


def test_a_signature_that_may_only_read_says_what_it_lacks(
    blob_service: Azurite, environment: Environment
) -> None:
    environment(connection_string=blob_service.connection())
    write_bytes(adls_uri("there.json"), b"1")
    environment(connection_string=blob_service.connection(sas=blob_service.sas("rl")))
    assert read_bytes(adls_uri("there.json")) == b"1"
    text = refused(write_bytes, adls_uri("there.json"), b"2", mend=NEW_SIGNATURE)
    assert "may not write it: its permissions are 'rl'" in text
    assert read_bytes(adls_uri("there.json")) == b"1"


def test_a_wrong_key_is_refused(blob_service: Azurite, environment: Environment) -> None:
    wrong = blob_service.connection().replace(KEY, KEY[:-8] + "AAAAAAA=")
    environment(connection_string=wrong)
    keys = f"az storage account keys list --account-name {ACCOUNT} "
    text = refused(read_bytes, adls_uri("there.json"), mend=keys)
    assert "the connection string was refused" in text


def test_nobody_signed_in_to_entra_reads_every_way_there_is(
    environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The chain is cut short: a managed identity that is not there takes seconds to be missed."""
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential")
    for name in ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET"):
        monkeypatch.delenv(name, raising=False)
    text = refused(read_bytes, URI, mend="az login")
    assert "nobody is signed in to the account lakeaccount" in text
    assert "AZURE_STORAGE_ACCOUNT_KEY" in text
    command = [sys.executable, "-m", "fraud_mlops.cli", "lake", "list", "--output-uri", URI]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr.startswith("Error: abfss://lake@lakeaccount"), "nothing stands before it"


def test_a_container_that_is_not_there_says_who_makes_it(use_adls: Azurite) -> None:
    uri = f"abfss://nowhere@{ACCOUNT}.dfs.core.windows.net/x.json"
    lake = Lakehouse(uri.removesuffix("/x.json"))
    for action in (lambda: write_bytes(uri, b"1"), lambda: lake.partitions("raw", "motor")):
        with pytest.raises(StoreError, match="has no container 'nowhere'") as told:
            action()
        assert "az storage container create --account-name lakeaccount" in str(told.value)
