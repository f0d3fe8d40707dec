"""Each task is a process of its own: what it does not need, it does not wait for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

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


def test_threads_of_a_flow_do_not_spin_while_they_wait() -> None:
    """Said before anything has loaded OpenMP, which reads it once."""
    told = "print(flow_environment.os.environ['OMP_WAIT_POLICY'], 'torch' in sys.modules)"
    code = f"import sys, flow_environment; {told}"
    plain = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=FLOWS, env=plain, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["PASSIVE", "False"]
