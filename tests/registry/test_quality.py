"""What may be deployed: a champion that keeps its promises, and nothing that was held back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from registry_kit import DATASET, publish

from fraud_mlops.errors import RegistryError
from fraud_mlops.registry.pointers import promote, set_challenger
from fraud_mlops.registry.quality import judge

ROOT = Path(__file__).parents[2]


def interval(value: float, low: float, high: float) -> dict[str, float]:
    return {"value": value, "low": low, "high": high}


GOOD: dict[str, Any] = {
    "metrics": {
        "average_precision": interval(0.6, 0.5, 0.7),
        "roc_auc": interval(0.9, 0.85, 0.95),
        "calibration_error": interval(0.01, 0.005, 0.02),
    },
    "oot": {"report": {"rows": 1000, "frauds": 50}},
    "contract": {"name": DATASET, "version": 1, "checks": {"calibration_error": 0.05}},
}


def lead(models: Path, name: str = "a", **changed: Any) -> str:
    """A champion."""
    version = publish(models, name, **(GOOD | changed))
    promote(str(models), DATASET, version, expected=None, by="ann", reason="the first")
    return version


def test_a_champion_that_keeps_its_promises_may_be_deployed(tmp_path: Path) -> None:
    version = lead(tmp_path)
    gate = judge(str(tmp_path), DATASET)
    assert (gate.verdict, gate.version, gate.deployable) == ("passed", version, True)
    assert gate.summary == (
        f"champion {version} may be deployed, out-of-time average precision 0.600 (0.500 to 0.700)"
    )


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        (
            {"metrics": GOOD["metrics"] | {"average_precision": interval(0.06, 0.04, 0.09)}},
            "average_precision_low is 0.04, asked for is 0.05",
        ),
        (
            {"metrics": GOOD["metrics"] | {"roc_auc": interval(0.6, 0.49, 0.7)}},
            "roc_auc_low is 0.49, asked for is 0.5",
        ),
        ({"metrics": {}}, "roc_auc_low is not known"),
        (
            {"metrics": GOOD["metrics"] | {"calibration_error": interval(0.2, 0.1, 0.3)}},
            "calibration_error is 0.2, asked for is 0.05",
        ),
        (
            {"gate": {"gain": {"gain": interval(-0.2, -0.3, -0.1), "probability": 0.0}}},
            "gain_over_champion_high is -0.1, asked for is 0",
        ),
    ],
)
def test_a_champion_that_breaks_one_must_not_be(
    tmp_path: Path, changed: dict[str, Any], why: str
) -> None:
    lead(tmp_path, **changed)
    gate = judge(str(tmp_path), DATASET)
    assert (gate.verdict, gate.passed) == ("failed", False)
    assert why in gate.summary


def test_damaged_weights_are_not_deployed(tmp_path: Path) -> None:
    version = lead(tmp_path)
    (tmp_path / DATASET / version / "weights.safetensors").write_bytes(b"other")
    gate = judge(str(tmp_path), DATASET)
    assert gate.verdict == "failed"
    assert "weights.safetensors" in gate.summary


def test_losing_to_the_champion_is_no_failure(tmp_path: Path) -> None:
    champion = lead(tmp_path)
    reason = "The challenger does not replace it."
    loser = publish(tmp_path, "b", **(GOOD | {"gate": {"verdict": "hold", "reason": reason}}))
    set_challenger(str(tmp_path), DATASET, loser, by="run", reason=reason)
    gate = judge(str(tmp_path), DATASET, loser)
    assert (gate.verdict, gate.passed, gate.deployable) == ("held", True, False)
    assert gate.summary == f"{loser} is held, champion {champion} stays: {reason}"


def test_a_team_may_ask_for_more(tmp_path: Path) -> None:
    lead(tmp_path)
    assert judge(str(tmp_path), DATASET, least={"average_precision": 0.6}).passed
    assert not judge(str(tmp_path), DATASET, least={"average_precision": 0.61}).passed
    with pytest.raises(RegistryError, match="no metric 'auc'; it has average_precision"):
        judge(str(tmp_path), DATASET, least={"auc": 0.5})


def test_without_a_champion_the_way_to_one_is_named(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="train one first, with python -m fraud_assets"):
        judge(str(tmp_path), DATASET)


def test_the_script_leaves_its_verdict_for_the_next_stage(tmp_path: Path) -> None:
    version = lead(tmp_path / "models")
    folder = tmp_path / "ci"
    folder.mkdir()
    script = [sys.executable, str(ROOT / "scripts" / "quality_gate.py"), "--dataset", DATASET]
    environment = os.environ | {"FRAUD_MODEL_URI": str(tmp_path / "models")}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [*script, "--folder", str(folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, env=environment)

    assert run().returncode == 0
    assert json.loads((folder / "gate.json").read_text())["version"] == version
    assert (folder / "deployable").read_text() == f"{version}\n"
    failed = run("--least", "roc_auc=0.99")
    assert failed.returncode == 1
    assert "NO" in failed.stdout
    assert not (folder / "deployable").exists()


def test_a_build_in_a_new_registry_has_nothing_to_judge(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "scripts" / "quality_gate.py"), "--dataset", DATASET]
    command += ["--model-uri", str(tmp_path)]
    done = subprocess.run([*command, "--folder", str(tmp_path)], capture_output=True, text=True)
    assert (done.returncode, "Nothing to judge" in done.stdout) == (0, True), done.stderr
    assert list(tmp_path.iterdir()) == []
    asked = subprocess.run(command, capture_output=True, text=True)
    assert (asked.returncode, "train one first" in asked.stderr) == (1, True)
