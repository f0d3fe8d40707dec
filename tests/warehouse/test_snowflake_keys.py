"""The key pair that a sync signs in with: read, out of reach, or put where its path should be."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr
from snow_proxy import Proxy
from warehouse_kit import DATASET, Lake

from fraud_mlops.errors import SettingsError, WarehouseError
from fraud_mlops.settings import settings
from fraud_mlops.warehouse.options import SnowflakeOptions
from fraud_mlops.warehouse.snowflake_engine import SnowflakeWarehouse
from fraud_mlops.warehouse.sync import sync

Environment = Callable[..., None]


def complaint(environment: Environment, key: object) -> str:
    environment(SNOWFLAKE_ACCOUNT="myorg-account", SNOWFLAKE_PRIVATE_KEY_PATH=key)
    with pytest.raises(SettingsError) as told:
        SnowflakeOptions.of(settings())
    return str(told.value)


def test_a_key_in_the_place_of_its_path_is_not_shown(environment: Environment) -> None:
    key = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANs3cret\n-----END PRIVATE KEY-----"
    said = complaint(environment, key)
    assert "holds the key itself" in said
    assert "s3cret" not in said


@pytest.mark.parametrize(
    "key",
    [
        "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgs3cret",  # of an elliptic curve
        "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwgg/s3cret+" * 7,  # longer than a file's name may be
        "/Qs3cret+x/yEFAASCBK=",  # a line of it, which begins like a path
        "MIIEvQIBADANBgkqh\\nkiG9w0BAQE s3cret",
    ],
)
def test_nor_is_a_key_without_its_first_line(environment: Environment, key: str) -> None:
    said = complaint(environment, key)
    assert "SNOWFLAKE_PRIVATE_KEY_PATH is the path of no file that can be read" in said
    assert "s3cret" not in said


@contextmanager
def as_somebody() -> Iterator[None]:
    """Without root's leave to read everything."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_key_that_one_may_not_read_is_told_at_once(environment: Environment) -> None:
    with tempfile.TemporaryDirectory() as folder:
        key = Path(folder) / "loader.p8"
        key.touch(mode=0)
        for leave in (0o755, 0):  # of the folder
            Path(folder).chmod(leave)
            with as_somebody():
                told = complaint(environment, key)
            assert f"SNOWFLAKE_PRIVATE_KEY_PATH={key}: cannot be read (Permission denied)" in told
        Path(folder).chmod(0o700)


def test_a_key_that_has_gone_since_is_told(
    lake: Lake, options: SnowflakeOptions, tmp_path: Path
) -> None:
    keyed = by_key(options, key_file(tmp_path), None)
    (tmp_path / "loader.p8").unlink()
    expected = r"loader.p8 cannot be read \(No such file or directory\).*_PRIVATE_KEY_PATH"
    with pytest.raises(WarehouseError, match=expected):
        sync(lake.lakehouse, SnowflakeWarehouse(keyed), DATASET)


def key_file(folder: Path, passphrase: str | None = None) -> Path:
    """A private key as `openssl genrsa | openssl pkcs8 -topk8` makes it."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    lock: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase:
        lock = serialization.BestAvailableEncryption(passphrase.encode())
    data = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, lock
    )
    path = folder / "loader.p8"
    path.write_bytes(data)
    return path


def by_key(options: SnowflakeOptions, path: Path, passphrase: str | None) -> SnowflakeOptions:
    secret = None if passphrase is None else SecretStr(passphrase)
    return replace(options, password=None, private_key_path=path, private_key_passphrase=secret)


@pytest.mark.parametrize("passphrase", [None, "open-sesame"])
def test_a_key_pair_goes_instead_of_a_password(
    lake: Lake, snow: Proxy, options: SnowflakeOptions, tmp_path: Path, passphrase: str | None
) -> None:
    keyed = by_key(options, key_file(tmp_path, passphrase), passphrase)
    sync(lake.lakehouse, SnowflakeWarehouse(keyed), DATASET)
    login = snow.logins[-1]["data"]
    assert login["AUTHENTICATOR"] == "SNOWFLAKE_JWT"
    assert login["TOKEN"].count(".") == 2
    assert not login.get("PASSWORD")


@pytest.mark.parametrize("passphrase", [None, "wrong"])
def test_a_key_that_cannot_be_read_is_told_without_what_was_tried(
    lake: Lake, options: SnowflakeOptions, tmp_path: Path, passphrase: str | None
) -> None:
    keyed = by_key(options, key_file(tmp_path, "open-sesame"), passphrase)
    with pytest.raises(
        WarehouseError, match="SNOWFLAKE_PRIVATE_KEY_PATH is no private key"
    ) as told:
        sync(lake.lakehouse, SnowflakeWarehouse(keyed), DATASET)
    assert "open-sesame" not in str(told.value)
    assert "wrong" not in str(told.value)
