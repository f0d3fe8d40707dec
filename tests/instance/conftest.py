"""Deployments with the project's dagster.yaml, and a PostgreSQL server of the tests' own."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

import dagster_servers  # noqa: E402

_PASSWORD = "correct horse/battery@staple"  # noqa: S105 - with what addresses have to escape


@dataclass(frozen=True)
class Postgres:
    """A running server with an empty database `dagster`."""

    url: str
    programs: Path
    port: int
    password: str = _PASSWORD

    def query(self, sql: str) -> str:
        """The answer as psql prints it, without headers."""
        host = ["-h", "127.0.0.1", "-p", str(self.port), "-U", "dagster", "-d", "dagster"]
        return subprocess.run(
            [str(self.programs / "psql"), *host, "-Atc", sql],
            env=os.environ | {"PGPASSWORD": self.password},
            capture_output=True,
            text=True,
            check=True,
        ).stdout


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A cluster in a folder of its own. PostgreSQL refuses root, so root becomes somebody else."""
    programs = _programs()
    run_as = _somebody() if os.geteuid() == 0 else None
    port = dagster_servers.free_port()
    with tempfile.TemporaryDirectory(prefix="fraud-postgres-", dir="/tmp") as name:
        folder = Path(name)
        (folder / "password").write_text(_PASSWORD)
        if run_as:
            shutil.chown(folder, run_as)
            shutil.chown(folder / "password", run_as)
        cluster = folder / "cluster"
        auth = ["--auth=scram-sha-256", f"--pwfile={folder / 'password'}"]
        _run([programs / "initdb", "-D", cluster, "-U", "dagster", *auth], run_as)
        options = f"-p {port} -c listen_addresses=127.0.0.1 -k {folder} -c fsync=off"
        log = ["-l", folder / "log", "-w", "-o", options]
        control = programs / "pg_ctl"
        try:
            _run([control, "start", "-D", cluster, *log], run_as)
            url = f"postgresql://dagster@127.0.0.1:{port}/dagster"
            server = Postgres(url, programs, port)
            host = ["-h", "127.0.0.1", "-p", str(port), "-U", "dagster"]
            known = os.environ | {"PGPASSWORD": _PASSWORD}
            subprocess.run([programs / "createdb", *host, "dagster"], env=known, check=True)
            yield server
        finally:
            _run([control, "stop", "-D", cluster, "-m", "immediate"], run_as, check=False)


def _programs() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    elsewhere = shutil.which("initdb")
    if found:
        return found[-1].parent
    if elsewhere:
        return Path(elsewhere).resolve().parent
    return _do_without("These tests start a PostgreSQL server: apt-get install postgresql")


def _somebody() -> str:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    return _do_without("PostgreSQL does not run as root: it takes a user `postgres` or `nobody`.")


def _do_without(reason: str) -> NoReturn:
    """A developer may lack a server; where CI is set, everything is there or the tests fail."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def _run(command: list[object], run_as: str | None, *, check: bool = True) -> None:
    done = subprocess.run(
        [str(part) for part in command],
        user=run_as,
        group=pwd.getpwnam(run_as).pw_gid if run_as else None,
        cwd="/",
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    if check and done.returncode:
        pytest.fail(f"{command[0]} failed: {done.stderr}")
