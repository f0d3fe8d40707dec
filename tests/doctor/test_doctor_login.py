"""What keeps a sync from signing in is told by its own name: the key, or the way to Snowflake."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from fraud_mlops.doctor.finding import Finding
from fraud_mlops.doctor.services import snowflake
from fraud_mlops.errors import SettingsError, WarehouseUnavailable
from fraud_mlops.settings import settings
from fraud_mlops.warehouse.options import SnowflakeOptions
from fraud_mlops.warehouse.snowflake_engine import SnowflakeWarehouse

Set = Callable[..., None]
Look = Callable[..., Finding]
PHRASE = "open-sesame"
WHOLE = {
    "SNOWFLAKE_ACCOUNT": "myorg-account",
    "SNOWFLAKE_USER": "loader",
    "SNOWFLAKE_WAREHOUSE": "fraud_wh",
    "SNOWFLAKE_DATABASE": "fraud",
    "SNOWFLAKE_SCHEMA": "metrics",
}


@cache
def key_of(kind: str) -> PrivateKeyTypes:
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    if kind.startswith("ec"):
        return ec.generate_private_key(ec.SECP256R1() if kind == "ec" else ec.SECP256K1())
    return rsa.generate_private_key(65537, 1024 if kind == "short" else 2048)


def private(
    kind: str = "rsa",
    passphrase: str | None = None,
    *,
    encoding: form.Encoding = form.Encoding.PEM,
    style: form.PrivateFormat = form.PrivateFormat.PKCS8,
) -> bytes:
    lock: form.KeySerializationEncryption = form.NoEncryption()
    if passphrase:
        lock = form.BestAvailableEncryption(passphrase.encode())
    return key_of(kind).private_bytes(encoding, style, lock)


def public() -> bytes:
    found = key_of("rsa").public_key()
    return found.public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)


def complaints(shell: Set, key: Path, passphrase: str | None = None, **more: str) -> str:
    """All that is wrong with the settings; nothing where nothing is."""
    phrase = {"SNOWFLAKE_PRIVATE_KEY_PASSPHRASE": passphrase} if passphrase else {}
    shell(**WHOLE, SNOWFLAKE_PRIVATE_KEY_PATH=str(key), **phrase, **more)
    try:
        SnowflakeOptions.of(settings())
    except SettingsError as error:
        return str(error)
    return ""


KEYS: dict[str, tuple[Callable[[], bytes], str | None, str]] = {
    "empty": (lambda: b"\n", None, "is empty"),
    "a text": (lambda: b"s3cret words", None, "is no key in PEM, which begins with -----BEGIN"),
    "DER": (lambda: private(encoding=form.Encoding.DER), None, "is in DER, and not in PEM"),
    "the public half": (public, None, "is the public key, which is for Snowflake"),
    "a certificate": (lambda: b"-----BEGIN CERTIFICATE-----\nTUk=", None, "but a certificate"),
    "OpenSSH's": (lambda: private(style=form.PrivateFormat.OpenSSH), None, "OpenSSH's own form"),
    "locked": (
        lambda: private(passphrase=PHRASE),
        None,
        "is encrypted, and SNOWFLAKE_",
    ),
    "locked, in PKCS 1": (
        lambda: private(passphrase=PHRASE, style=form.PrivateFormat.TraditionalOpenSSL),
        None,
        "is encrypted, and SNOWFLAKE_PRIVATE_KEY_PASSPHRASE is not set",
    ),
    "locked otherwise": (
        lambda: private(passphrase=PHRASE[::-1]),
        PHRASE,
        "is not opened by SNOWFLAKE_PRIVATE_KEY_PASSPHRASE",
    ),
    "not locked": (
        private,
        PHRASE,
        "is not encrypted, and SNOWFLAKE_PRIVATE_KEY_PASS",
    ),
    "damaged": (
        lambda: private().replace(b"M", b"", 1),
        None,
        "is damaged: what it holds is",
    ),
    "short": (
        lambda: private("short"),
        None,
        "is an RSA key of 1,024 bits; Snowflake takes",
    ),
    "on a curve": (lambda: private("ec on another"), None, "is on the curve secp256k1; Snowflake"),
    "Ed25519": (lambda: private("ed25519"), None, "is no RSA key, but of the kind Ed25519"),
}


@pytest.mark.parametrize("case", KEYS)
def test_what_is_wrong_with_a_key_is_told_in_words(shell: Set, tmp_path: Path, case: str) -> None:
    make, passphrase, expected = KEYS[case]
    content, key = make(), tmp_path / "loader.p8"
    key.write_bytes(content)
    told = complaints(shell, key, passphrase)
    assert f"SNOWFLAKE_PRIVATE_KEY_PATH={key}: is " in told
    assert expected in told
    assert PHRASE not in told
    for line in content.splitlines():
        assert line.startswith(b"-----") or not line or line.decode("latin-1") not in told


@pytest.mark.parametrize(("kind", "passphrase"), [("rsa", None), ("rsa", PHRASE), ("ec", None)])
def test_a_key_that_can_sign_is_taken(
    shell: Set, tmp_path: Path, kind: str, passphrase: str | None
) -> None:
    key = tmp_path / "loader.p8"
    key.write_bytes(private(kind, passphrase))
    assert complaints(shell, key, passphrase) == ""


def test_all_that_is_wrong_is_told_at_once(shell: Set, tmp_path: Path) -> None:
    key = tmp_path / "loader.p8"
    key.write_bytes(private("short"))
    told = complaints(shell, key, PHRASE, SNOWFLAKE_HOST="https://x.example", SNOWFLAKE_TABLE="a b")
    for expected in ("is not encrypted", "1,024 bits", "SNOWFLAKE_HOST='https", "SNOWFLAKE_TABLE="):
        assert expected in told
    assert "is a folder; give the path of a file" in complaints(shell, tmp_path, PHRASE)


HOSTS = (
    "https://x.example.org",
    "loader:s3cret@x.example.org",
    "a..b",
    "a" * 64 + ".org",
    "x/y",
    "x:1",
)


@pytest.mark.parametrize("host", HOSTS)
def test_what_is_no_host_is_refused(shell: Set, tmp_path: Path, host: str) -> None:
    (tmp_path / "loader.p8").write_bytes(private())
    told = complaints(shell, tmp_path / "loader.p8", SNOWFLAKE_HOST=host)
    assert "is no name of a host: give that alone" in told
    assert "s3cret" not in told
    assert "PRIVATE_KEY" not in told


@pytest.mark.parametrize("port", ["0", "65536", "-1"])
def test_what_is_no_port_is_refused(shell: Set, port: str) -> None:
    shell(**WHOLE, SNOWFLAKE_PORT=port)
    with pytest.raises(SettingsError, match=f"SNOWFLAKE_PORT='{port}'"):
        settings()


@pytest.fixture
def login(
    shell: Set, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Finding]]:
    """The doctor's finding of a login by a good key, which takes a second at most."""
    monkeypatch.setattr("fraud_mlops.doctor.services.SECONDS", 1.0)
    monkeypatch.setattr("fraud_mlops.warehouse.snowflake_engine.MOMENT", 0.1)
    logging.getLogger("snowflake.connector").setLevel(logging.CRITICAL)
    (tmp_path / "loader.p8").write_bytes(private())

    def look(**place: str) -> Finding:
        shell(**WHOLE, SNOWFLAKE_PRIVATE_KEY_PATH=str(tmp_path / "loader.p8"), **place)
        return next(snowflake(settings()))

    yield look
    logging.getLogger("snowflake.connector").setLevel(logging.NOTSET)


@pytest.mark.parametrize(
    "place",
    [
        {"SNOWFLAKE_HOST": "no-such-host.invalid"},
        {"SNOWFLAKE_HOST": "127.0.0.1", "SNOWFLAKE_PORT": "9"},  # the port of discard
    ],
)
def test_a_host_where_nobody_is_is_not_blamed_on_the_key_and_is_waited_for_aloud(
    login: Look, caplog: pytest.LogCaptureFixture, place: dict[str, str]
) -> None:
    found = login(**place)
    server = ":".join(place.values())
    assert found.status == "wrong"
    assert f"Snowflake cannot be reached at {server} (" in found.says
    assert "is SNOWFLAKE_HOST (with SNOWFLAKE_PORT) right" in found.says
    assert "PRIVATE_KEY" not in found.says
    assert found.mend == f"curl --max-time 10 https://{server}    # who answers?"
    waited = [r.getMessage() for r in caplog.records if r.name == "fraud.warehouse"]
    assert waited == [f"waiting for Snowflake at {server}, up to 17 s"]


def test_whoever_listens_is_told_of_the_wait(
    shell: Set, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as the log of a Dagster run."""
    monkeypatch.setattr("fraud_mlops.warehouse.snowflake_engine.MOMENT", 0.1)
    (tmp_path / "loader.p8").write_bytes(private())
    assert complaints(shell, tmp_path / "loader.p8") == ""
    options = SnowflakeOptions.of(settings())
    assert options is not None
    away = SnowflakeWarehouse(replace(options, host="127.0.0.1", port=9, login_seconds=1))
    said: list[str] = []
    with pytest.raises(WarehouseUnavailable), away.session(said.append):
        pass
    assert said == ["waiting for Snowflake at 127.0.0.1:9, up to 17 s"]


def test_an_address_that_no_client_can_read_is_not_blamed_on_the_key(
    shell: Set, tmp_path: Path
) -> None:
    """Should one get past the settings."""
    (tmp_path / "loader.p8").write_bytes(private())
    assert complaints(shell, tmp_path / "loader.p8") == ""
    options = SnowflakeOptions.of(settings())
    assert options is not None
    broken = SnowflakeWarehouse(replace(options, host="x y"))
    with pytest.raises(WarehouseUnavailable, match="is SNOWFLAKE_HOST") as told, broken.session():
        pass
    assert "PRIVATE_KEY" not in str(told.value)
