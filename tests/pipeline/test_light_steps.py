"""Each task is a process of its own: what it does not need, it does not wait for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FLOWS = Path(__file__).parents[2] / "flows"
STEPS = (
    *("flow_cards", "flow_reports", "fraud_mlops.reporting.model_artifact"),
    *(f"fraud_mlops.pipeline.{name}" for name in ("ingesting", "choosing", "training")),
    *(f"fraud_mlops.pipeline.{name}" for name in ("validation", "leading", "monitoring")),
    *(f"fraud_mlops.pipeline.{name}" for name in ("publishing", "closing")),
)


def test_no_step_loads_pytorch_before_it_computes_with_a_network() -> None:
    loaded = "sorted({'torch', 'sklearn'} & set(sys.modules))"
    code = f"import sys, {', '.join(STEPS)}; print({loaded})"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=FLOWS, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, ["3000", "False"]),
        ({"GOMP_SPINCOUNT": "7"}, ["7", "False"]),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, ["None", "False"]),
    ],
    ids=["by default", "their number is set", "their policy is set"],
)
def test_threads_of_a_flow_do_not_spin_for_long_while_they_wait(
    given: dict[str, str], told: list[str]
) -> None:
    """Said before anything has loaded OpenMP, which reads it once."""
    code = (
        "import os, sys, flow_environment; "
        "print(os.environ.get('GOMP_SPINCOUNT'), 'torch' in sys.modules)"
    )
    plain = {n: v for n, v in os.environ.items() if n not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    command, known = [sys.executable, "-c", code], plain | given
    done = subprocess.run(command, cwd=FLOWS, env=known, capture_output=True, text=True, check=True)
    assert done.stdout.split() == told
