"""scripts/deploy_from_s3.sh: from a registry on S3 to a server on this machine, and back."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from api_kit import DATASET, ROOT, Published, open_server

sys.path[:0] = [str(ROOT / "tests" / "stores")]

from store_servers import AWS, s3_server  # noqa: E402

from fraud_mlops.registry.pointers import read_pointer  # noqa: E402


class Remote:
    """A registry on S3 with everything that was published."""

    def __init__(self, endpoint: str, published: Published) -> None:
        self.environment = {**os.environ, **AWS, "AWS_ENDPOINT_URL": endpoint}
        self.uri = "s3://models-of-tests/registry"
        signed = {"key": "testing", "secret": "testing"}
        self.s3 = fsspec.filesystem("s3", client_kwargs={"endpoint_url": endpoint}, **signed)
        self.s3.mkdirs("models-of-tests", exist_ok=True)
        self.s3.put(f"{published.models}/", f"{self.uri}/", recursive=True)

    def deploy(self, target: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(ROOT / "scripts" / "deploy_from_s3.sh"), "--to", str(target)]
        command += ["--dataset", DATASET, *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, env=self.environment, timeout=120
        )


@pytest.fixture(scope="module")
def remote(published: Published) -> Iterator[Remote]:
    with s3_server() as endpoint:
        yield Remote(endpoint, published)


def champion(target: Path) -> str | None:
    pointer = read_pointer(str(target), DATASET, "champion")
    return pointer.version if pointer else None


def test_fetched_verified_tried_switched_and_rolled_back(
    published: Published, remote: Remote, tmp_path: Path
) -> None:
    first, second = published.versions["first"], published.versions["second"]
    target = tmp_path / "models"
    ran = remote.deploy(target, "--from", remote.uri)
    assert (ran.returncode, champion(target)) == (0, first), ran.stderr
    for word in ("verified", "canary", f"switched from nothing to {first}"):
        assert word in ran.stdout
    environment = {"FRAUD_MODEL_URI": str(target)}
    with open_server(published, tmp_path, **environment) as server:
        ran = remote.deploy(
            target, "--from", remote.uri, "--version", second, "--server", server.url
        )
        assert (ran.returncode, server.version()) == (0, second), ran.stderr
        assert remote.deploy(target, "--rollback").returncode == 0
        server.until(lambda: server.version() == first)


def test_a_damaged_version_is_not_switched_to(
    published: Published, remote: Remote, tmp_path: Path
) -> None:
    target, second = tmp_path / "models", published.versions["second"]
    shutil.copytree(published.models, target)
    weights = f"{remote.uri}/{DATASET}/{second}/weights.safetensors"
    kept = remote.s3.cat_file(weights)
    remote.s3.pipe_file(weights, kept[:-1] + bytes([kept[-1] ^ 1]))
    ran = remote.deploy(target, "--from", remote.uri, "--version", second)
    remote.s3.pipe_file(weights, kept)
    assert (ran.returncode, champion(target)) == (1, published.versions["first"])
    assert "sha256 differs" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_server_that_does_not_take_it_gets_the_old_one_back(
    published: Published, remote: Remote, tmp_path: Path
) -> None:
    target, second = tmp_path / "models", published.versions["second"]
    shutil.copytree(published.models, target)
    nobody = "http://127.0.0.1:9"
    ran = remote.deploy(
        target, "--from", remote.uri, "--version", second, "--server", nobody, "--timeout", "1"
    )
    assert (ran.returncode, champion(target)) == (1, published.versions["first"])
    assert "rolled back" in ran.stdout


def test_wrong_usage_is_told(remote: Remote, tmp_path: Path) -> None:
    ran = remote.deploy(tmp_path)
    assert (ran.returncode, "--from" in ran.stderr) == (2, True)
    ran = remote.deploy(tmp_path, "--from", str(tmp_path / "nothing"))
    assert (ran.returncode, "has no champion" in ran.stderr) == (1, True)
