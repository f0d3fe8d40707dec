"""What an operator reads when Dagster cannot load the code location for a mistake of theirs."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        (
            "FRAUD_DATASETS",
            "/nowhere/claims.yaml",
            "fraud_mlops.errors.ContractError: /nowhere/claims.yaml: no such contract file",
        ),
        ("LAKEHOUSE_URI", "s3://ada:secret@bucket/lake", "fraud_mlops.errors.LakehouseError: "),
    ],
)
def test_a_mistake_is_told_in_its_own_words_last_and_nothing_of_the_way_to_it(
    variable: str, value: str, told: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import fraud_assets.definitions"],
        env={name: v for name, v in os.environ.items() if name != "FRAUD_MODEL_URI"}
        | {variable: value},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(told)
    assert "secret" not in done.stderr
    assert "fraud_mlops/" not in done.stderr, "no frame of the library"
    assert "During handling" not in done.stderr
