"""An erasure that finds nothing says what it has looked through: not here, or mistyped?"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from person_kit import DATASET, fill

from fraud_mlops.cli import main
from fraud_mlops.lakehouse.partitions import Lakehouse


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "landing").mkdir()
    fill(str(tmp_path / "lake"), tmp_path / "landing")
    return str(tmp_path / "lake")


def looked(root: str, *options: str) -> tuple[dict[str, tuple[str, ...]], str]:
    """The table, by place, and all that was said."""
    command = ["erase", "--dataset", DATASET, "--output-uri", root, "--dry-run", *options]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    table = result.stdout.partition("looked through")[2]
    lines = (re.split(r"\s{2,}", line.strip()) for line in table.splitlines())
    return {name: tuple(rest) for name, *rest in lines if rest}, result.stdout


def test_a_value_that_nobody_has_is_told_with_all_that_was_looked_through(root: str) -> None:
    table, said = looked(root, "--value", "p-7")
    assert table["raw"] == ("3", "120", "policyholder")
    assert table["entity_state"] == ("1", "120", "policyholder")
    assert table["ml_outputs"] == ("3", "120", "nothing: no claim id is known")
    assert table["quarantine"] == ("2", "policyholder and claim ids")
    assert table["models"] == ("2", "rows of raw, slices")
    assert table["warehouse"] == ("0", "slices of the value")
    assert (
        "Nothing matched: none of 120 claims in raw is of this policyholder. If something" in said
    )
    assert "p-7" not in said


def test_a_claim_that_is_nowhere_is_told_with_all_that_was_looked_through(root: str) -> None:
    table, said = looked(root, "--value", "p-7", "--claim", "C-nowhere")
    assert table["ml_outputs"] == ("3", "120", "1 claim id")
    assert table["prediction_log"] == ("2", "1 claim id")
    assert "is of this policyholder, nor was anything found by the 1 given claim." in said


def test_a_damaged_partition_is_counted(root: str) -> None:
    Path(Lakehouse(root).listed("ml_outputs", DATASET)[0].uri).write_bytes(b"PAR1 cut")
    table, _ = looked(root, "--value", "p-7")
    assert table["ml_outputs"] == ("3", "80", "nothing: no claim id is known")
