"""S3 (moto) and ADLS (Azurite) in processes of their own, for benchmarks of the lakehouse."""

from __future__ import annotations

import base64
import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

_ACCOUNT, _CONTAINER = "benchaccount", "bench"
_KEY = base64.b64encode(b"a key that is of no account anywhere").decode()


@contextlib.contextmanager
def stores(names: list[str]) -> Iterator[dict[str, str]]:
    """The root of a lakehouse on each of `local`, `s3`, `adls`; adls only where Azurite is."""
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-"))
        roots = {"local": f"{folder}/lake"}
        if "s3" in names:
            roots["s3"] = stack.enter_context(_s3())
        if "adls" in names and shutil.which("azurite-blob"):
            roots["adls"] = stack.enter_context(_adls(folder))
        yield {name: root for name, root in roots.items() if name in names}


@contextlib.contextmanager
def _s3() -> Iterator[str]:
    from fraud_mlops.lakehouse.stores import filesystem

    port = _free_port()
    os.environ |= {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
    }
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with _running(command, port):
        filesystem(f"s3://{_CONTAINER}")[0].mkdir(_CONTAINER)
        yield f"s3://{_CONTAINER}/lake"


@contextlib.contextmanager
def _adls(folder: str) -> Iterator[str]:
    from azure.storage.blob import BlobServiceClient

    from fraud_mlops.settings import settings

    port = _free_port()
    connection = (
        f"BlobEndpoint=http://127.0.0.1:{port}/{_ACCOUNT};AccountName={_ACCOUNT};AccountKey={_KEY}"
    )
    os.environ |= {
        "AZURITE_ACCOUNTS": f"{_ACCOUNT}:{_KEY}",
        "AZURE_STORAGE_CONNECTION_STRING": connection,
    }
    settings.cache_clear()
    command = [
        "azurite-blob", "--silent", "--disableTelemetry", "--skipApiVersionCheck",
        "--blobHost", "127.0.0.1", "--blobPort", str(port), "--location", f"{folder}/azurite",
    ]  # fmt: skip
    with _running(command, port):
        with BlobServiceClient.from_connection_string(connection) as client:
            client.create_container(_CONTAINER)
        yield f"abfss://{_CONTAINER}@{_ACCOUNT}.dfs.core.windows.net/lake"


@contextlib.contextmanager
def _running(command: list[str], port: int) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait(timeout=30)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
