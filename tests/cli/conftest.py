"""A lakehouse as runs leave it, and the command line in front of it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from click.testing import CliRunner, Result

from fraud_mlops.cli import main
from fraud_mlops.lakehouse.partitions import Lakehouse
from fraud_mlops.pipeline.metrics import METRICS
from fraud_mlops.pipeline.outputs import OUTPUTS
from fraud_mlops.registry.pointers import promote
from fraud_mlops.settings import settings

sys.path.append(str(Path(__file__).parents[1] / "registry"))
from registry_kit import publish

DATASET = "motor"


class Shell:
    """`fraud-mlops` with its lakehouse in a folder of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.lake = Lakehouse(str(root))
        self.models = root / "models"

    def __call__(self, *arguments: str) -> Result:
        return CliRunner().invoke(main, arguments)

    def says(self, *arguments: str) -> str:
        result = self(*arguments)
        assert result.exit_code == 0, result.output
        assert result.stderr == ""
        return result.stdout

    def fails(self, *arguments: str) -> str:
        """What a user who made a mistake reads: one message, no trace."""
        result = self(*arguments)
        assert result.exit_code == 1, result.output
        assert isinstance(result.exception, SystemExit)
        assert result.stderr.startswith("Error: ")
        assert "Traceback" not in result.output
        return result.stderr

    def add_scores(self, month: int, count: int, version: str) -> None:
        first = datetime(2024, month, 1, tzinfo=UTC)
        rows = [
            {
                "claim_id": f"C{month}-{i:03}",
                "event_time": first + timedelta(hours=i),
                "score": float(i - count + 3),
                "probability": (i + 1) / (count + 1),
                "alert": i >= count - 2,
                "reasons": [f"amount {i} [typical 3]", "age 90"] if i >= count - 2 else [],
                "model_version": version,
            }
            for i in range(count)
        ]
        self._write("ml_outputs", month, rows, OUTPUTS)

    def add_metrics(self, month: int, version: str, *rows: tuple[Any, ...]) -> None:
        names = ("window", "slice", "metric", "value", "low", "high")
        usual = {"dataset": DATASET, "partition": f"2024-{month:02}", "model_version": version}
        self._write(
            "metrics", month, [usual | dict(zip(names, r, strict=True)) for r in rows], METRICS
        )

    def _write(self, zone: str, month: int, rows: list[dict[str, Any]], schema: pa.Schema) -> None:
        batches = pa.Table.from_pylist(rows, schema=schema).to_batches()
        self.lake.write(zone, DATASET, "month", f"2024-{month:02}", batches, schema)


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    root = tmp_path / "lake"
    for variable in ("FRAUD_MODEL_URI", "FRAUD_DATASETS_DIR"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("LAKEHOUSE_URI", str(root))
    monkeypatch.setenv("COLUMNS", "220")
    monkeypatch.chdir(tmp_path)
    settings.cache_clear()
    yield Shell(root)
    settings.cache_clear()


@pytest.fixture
def ran(shell: Shell) -> Shell:
    """After one run: a champion, two months of scores, their metrics."""
    version = publish(shell.models, "a")
    reason = "The first champion: there was none before it to be held against."
    promote(str(shell.models), DATASET, version, expected=None, by="Flow/1", reason=reason)
    raw = pa.schema([pa.field("claim_id", pa.string())])
    shell._write("raw", 5, [{"claim_id": f"r{i}"} for i in range(1234)], raw)
    for month, count in ((5, 30), (6, 10)):
        shell.add_scores(month, count, version)
        shell.add_metrics(
            month,
            version,
            ("partition", "all", "rows", count, None, None),
            ("partition", "all", "frauds", 0, None, None),
            ("oot", "all", "average_precision", 0.582, 0.442, 0.744),
            ("oot", "region=north", "average_precision", 0.333, None, None),
            ("drift_oot", "feature=amount", "psi", 0.111, None, None),
        )
    return shell
