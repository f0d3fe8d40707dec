"""A shell in which nothing is set, and what the doctor says in it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from fraud_mlops.cli import main
from fraud_mlops.settings import settings

for kit in ("stores", "databricks", "warehouse"):
    sys.path.append(str(Path(__file__).parents[1] / kit))

OURS = (
    "FRAUD_",
    "LAKEHOUSE_",
    "AZURE_",
    "AWS_",
    "SNOWFLAKE_",
    "DATABRICKS_",
    "DAGSTER_",
    "METAFLOW_",
)
Set = Callable[..., None]
Doctor = Callable[..., tuple[int, dict[str, dict[str, Any]]]]


@pytest.fixture(autouse=True)
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Set]:
    """Sets variables, of which none is set before but where the lakehouse is."""
    import os

    for name in [name for name in os.environ if name.startswith(OURS)]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)

    def put(**variables: str) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        settings.cache_clear()

    put(LAKEHOUSE_URI=str(tmp_path / "lake"), METAFLOW_HOME=str(tmp_path / "metaflow"))
    yield put
    settings.cache_clear()


@pytest.fixture
def doctor() -> Doctor:
    """`fraud-mlops doctor --json`: its exit code, and its findings by name."""

    def call(*arguments: str) -> tuple[int, dict[str, dict[str, Any]]]:
        done = CliRunner().invoke(main, ["doctor", "--json", *arguments])
        assert isinstance(done.exception, SystemExit | None), done.exception
        return done.exit_code, {found["name"]: found for found in json.loads(done.stdout)}

    return call
