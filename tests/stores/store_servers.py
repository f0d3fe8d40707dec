"""Stores on this machine: Azurite and moto's S3, started and stopped by the tests."""

from __future__ import annotations

import base64
import contextlib
import os
import shutil
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from azure.storage.blob import BlobServiceClient

ACCOUNT = "lakeaccount"
KEY = base64.b64encode(
    b"a key that is of no account anywhere, 64 bytes long, as Azure's are"
).decode()
CONTAINER = "lake"
AWS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
NO_STORE = (
    "AZURE_STORAGE_CONNECTION_STRING", "AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_SAS_TOKEN", "AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3",
)  # fmt: skip


@dataclass(frozen=True)
class Tls:
    """Files of a server's certificate, which signed itself."""

    certificate: Path
    key: Path


@dataclass(frozen=True)
class Azurite:
    """A blob service with one account and one container."""

    endpoint: str
    tls: Tls | None = None

    def connection(self, *, sas: str | None = None, endpoint: str | None = None) -> str:
        """A connection string: with the account's key, or with a signature."""
        place = f"BlobEndpoint={endpoint or self.endpoint}/{ACCOUNT}"
        if sas is not None:
            return f"{place};SharedAccessSignature={sas}"
        return f"{place};AccountName={ACCOUNT};AccountKey={KEY}"

    def sas(self, permissions: str = "racwdl", hours: float = 1) -> str:
        """For the account, valid for that long from now; negative: expired."""
        from azure.storage.blob import (
            AccountSasPermissions,
            ResourceTypes,
            generate_account_sas,
        )

        now = datetime.now(UTC)
        return str(
            generate_account_sas(
                ACCOUNT,
                KEY,
                ResourceTypes(service=True, container=True, object=True),
                AccountSasPermissions.from_string(permissions),
                start=now - timedelta(days=2),
                expiry=now + timedelta(hours=hours),
            )
        )

    def make_container(self, name: str) -> None:
        with self._client() as client:
            client.create_container(name)

    def blobs(self, container: str = CONTAINER) -> list[str]:
        """As another client sees them."""
        with self._client() as client:
            return [b.name for b in client.get_container_client(container).list_blobs()]

    def _client(self) -> BlobServiceClient:
        from azure.storage.blob import BlobServiceClient

        trusted = str(self.tls.certificate) if self.tls else True
        return BlobServiceClient.from_connection_string(
            self.connection(), connection_verify=trusted
        )


def azurite_program() -> str:
    """Skips the test where it is not installed, except in CI."""
    found = shutil.which("azurite-blob")
    if found is None:
        text = "azurite-blob is not on PATH: npm install --global azurite@3.37.0"
        pytest.fail(text) if os.environ.get("CI") == "1" else pytest.skip(text)
    return str(found)


@contextlib.contextmanager
def azurite(folder: Path, tls: Tls | None = None) -> Iterator[Azurite]:
    """Over TLS it takes tokens of Microsoft Entra too, which it does not over HTTP."""
    program, port = azurite_program(), free_port()
    secure = ["--oauth", "basic", "--cert", tls.certificate, "--key", tls.key] if tls else []
    with (folder / "azurite.log").open("wb") as log:
        process = subprocess.Popen(
            [program, "--silent", "--disableTelemetry", "--skipApiVersionCheck",
             "--blobHost", "127.0.0.1", "--blobPort", str(port), "--location", str(folder),
             *secure],
            env=os.environ | {"AZURITE_ACCOUNTS": f"{ACCOUNT}:{KEY}"},
            stdout=log, stderr=log,
        )  # fmt: skip
    try:
        server = Azurite(f"{'https' if tls else 'http'}://127.0.0.1:{port}", tls)
        _wait_for(server, process)
        server.make_container(CONTAINER)
        yield server
    finally:
        process.terminate()
        process.wait(timeout=30)


@contextlib.contextmanager
def s3_server() -> Iterator[str]:
    """Its address."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", port=0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def adls_uri(name: str) -> str:
    return f"abfss://{CONTAINER}@{ACCOUNT}.dfs.core.windows.net/{name}"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _wait_for(server: Azurite, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    context = ssl.create_default_context(cafile=server.tls.certificate) if server.tls else None
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"azurite-blob ended with {process.returncode}")
        try:
            urllib.request.urlopen(server.endpoint, timeout=5, context=context)  # noqa: S310
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError("azurite-blob did not start in a minute")
