"""The whole deployment on this machine, once for all tests here."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "tests" / "api"))

import api_kit  # noqa: E402
from composed import COMPOSE, Composed  # noqa: E402
from deployment_kit import Production  # noqa: E402
from issuer import Issuer, issuer, make_certificate  # noqa: E402

PORTS = {
    "postgres:5432": 0, "code:4000": 0, "webserver:3000": 0, "viewer:3001": 0, "api:8080": 0,
    "metaflow:8081": 0, "gateway:8443": 0,
}  # fmt: skip
KEYS = "docker compose run --rm admin python -m api.keys add --file /keys/keys.json --id desk"


@pytest.fixture(scope="session")
def production() -> Iterator[Production]:
    for program in ("apache2", "pg_ctlcluster"):
        if not shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin"):
            reason = "apt-get install postgresql apache2 libapache2-mod-auth-openidc"
            pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    # PostgreSQL's user has to get through, and sockets have short names. In memory, where that has
    # a place: databases are thousands of files.
    places = ("/dev/shm", "/tmp")  # noqa: S108 - a folder of our own is made there
    place = next(path for path in places if os.access(path, os.W_OK))
    with tempfile.TemporaryDirectory(prefix="fraud-compose-", dir=place) as name:
        folder = Path(name)
        folder.chmod(0o755)
        given = folder / "given"
        variables = {"PATH": os.environ["PATH"], "SECRETS": str(given)}
        subprocess.run([COMPOSE / "secrets.sh"], env=variables, check=True, capture_output=True)
        (given / "oidc_client_secret").write_text("the-client-s3cret")
        certificate, key = make_certificate(given / "tls")
        with issuer(certificate, key) as provider:
            composed = _composed(folder, given, provider)
            lake = folder / "volumes" / "data" / "lakehouse"
            lake.mkdir(parents=True)
            published = api_kit.make_published(lake)
            try:
                made = Production(composed, provider, published, certificate, given, "")
                shown = made.shell(f"{KEYS} 2>/dev/null").strip()
                made.shell("docker compose up -d --wait")
                yield Production(composed, provider, published, certificate, given, shown)
            finally:
                composed.stop(sig=signal.SIGKILL)


def _composed(folder: Path, given: Path, provider: Issuer) -> Composed:
    lines = (COMPOSE / "example.env").read_text().splitlines()
    variables = dict(line.split("=", 1) for line in lines if line and line[0] != "#")
    variables |= {"DAGSTER_HOST": "127.0.0.1", "VIEWER_HOST": "127.0.0.2", "API_HOST": "127.0.0.3"}
    variables |= {"OIDC_ISSUER": provider.url, "OIDC_JWKS_URI": f"{provider.url}/jwks"}
    variables |= {"SECRETS": str(given), "TLS_FOLDER": str(given / "tls")}
    # No build of Metaflow's service can be had from the registries that CI has.
    variables |= {"METAFLOW_DEFAULT_METADATA": "local"}
    variables |= {"FRAUD_DATASETS": "/data/lakehouse/served_claims.yaml"}
    variables |= {"FRAUD_API_DATASET": api_kit.DATASET}
    variables["OIDC_CA_BUNDLE"] = str(given / "tls" / "tls.crt")
    home = folder / "home"
    (home / "storage").mkdir(parents=True)
    for name in ("dagster.yaml", "infra/docker/workspace.yaml"):
        shutil.copy(ROOT / name, home)
    ports = {address: api_kit.free_port() for address in PORTS}
    programs = folder / "bin"
    programs.mkdir()
    postgres = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1]
    path = [programs, Path(sys.executable).parent, postgres, "/usr/sbin", "/usr/bin", "/bin"]
    composed = Composed(folder, variables, ports, ":".join(map(str, path)), ["metaflow"])
    docker = programs / "docker"
    file = composed.save()
    program = Path(__file__).with_name("docker_compose.py")
    docker.write_text(f'#!/bin/sh\nexec {sys.executable} {program} {file} "$@"\n')
    docker.chmod(0o755)
    return composed
