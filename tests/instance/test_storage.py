"""Where Dagster's history is kept: SQLite, or PostgreSQL by two variables and the same file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster_servers
import psutil
import pytest

ROOT = Path(__file__).parents[2]
LOCATION = ROOT / "tests" / "launch" / "toy_location.py"


def test_a_run_goes_through_and_is_kept_in_postgres(postgres: Any, tmp_path: Path) -> None:
    variables = {
        "DAGSTER_POSTGRES_URL": postgres.url,
        "DAGSTER_POSTGRES_PASSWORD": postgres.password,
    }
    with dagster_servers.dagster(tmp_path / "home", LOCATION, environment=variables) as servers:
        done = launch(servers.url, "claims_job")
        assert done.returncode == 0, done.stdout + done.stderr
        commands = str([process.info for process in psutil.process_iter(["cmdline"])])
        info = servers.query("{ instance { info } }")["instance"]["info"]
    assert postgres.query("select pipeline_name, status from runs") == "claims_job|SUCCESS\n"
    assert int(postgres.query("select count(*) from event_logs")) > 10
    assert not list((tmp_path / "home").rglob("*.db"))
    logs = "".join(path.read_text() for path in (tmp_path / "home").glob("*.log"))
    for place in (commands, info, logs):
        assert postgres.password not in place
        assert "battery" not in place


def test_without_a_variable_history_is_kept_in_sqlite(tmp_path: Path) -> None:
    with dagster_servers.dagster(tmp_path, LOCATION) as servers:
        done = launch(servers.url, "quick_job")
        assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "history" / "runs.db").exists()


def test_an_address_with_a_password_is_refused_and_not_repeated(tmp_path: Path) -> None:
    said = refused(tmp_path, "postgresql://dagster:hunter2@127.0.0.1:5432/dagster")
    assert "move it to DAGSTER_POSTGRES_PASSWORD" in said
    assert "hunter2" not in said


@pytest.mark.parametrize(
    "url", ["nonsense", "mysql://db/dagster", "postgresql://db:x/d", "postgresql://db"]
)
def test_what_is_no_address_shows_one(tmp_path: Path, url: str) -> None:
    assert "postgresql://dagster@db.example.org:5432/dagster" in refused(tmp_path, url)


def test_a_password_without_a_server_is_no_reason_to_use_sqlite(tmp_path: Path) -> None:
    assert "DAGSTER_POSTGRES_URL is not" in refused(tmp_path, "")


def test_a_server_that_does_not_answer_is_named(tmp_path: Path) -> None:
    said = refused(tmp_path, "postgresql://dagster@127.0.0.1:9/dagster")
    assert "PostgreSQL at 127.0.0.1:9/dagster (DAGSTER_POSTGRES_URL) cannot be used" in said
    assert "Connection refused" in said


def test_a_wrong_password_is_said_and_not_repeated(postgres: Any, tmp_path: Path) -> None:
    said = refused(tmp_path, postgres.url, "swordfish")
    assert "password authentication failed" in said
    assert "swordfish" not in said


def launch(url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "fraud_assets.launch", *arguments, "--url", url]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


def refused(home: Path, url: str, password: str = "hunter3") -> str:  # noqa: S107
    """What `dagster instance info` says: a last line of error, and no trace."""
    (home / "dagster.yaml").write_text((ROOT / "dagster.yaml").read_text())
    done = subprocess.run(
        [str(Path(sys.executable).with_name("dagster")), "instance", "info"],
        env=os.environ
        | {
            "DAGSTER_HOME": str(home),
            "PYTHONPATH": str(ROOT),
            "DAGSTER_POSTGRES_URL": url,
            "DAGSTER_POSTGRES_PASSWORD": password,
        },
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert password not in done.stderr + done.stdout
    assert done.stderr.strip().splitlines()[-1].startswith("Error: ")
    return done.stderr
