"""Arguments that no run could end well with are told before its first claim is read."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fraud_mlops.errors import SettingsError
from fraud_mlops.models.candidates import MAX_CANDIDATES, SEEDS
from fraud_mlops.pipeline.plan import RunPlan, plan_run

FLOWS = Path(__file__).parents[2] / "flows"
LINE = "- {{name: line-{}, family: logistic}}\n"


def plan(root: Path, **given: Any) -> RunPlan:
    return plan_run("synthetic_claims", run="Test/1", output_uri=str(root), **given)


@pytest.mark.parametrize("seed", [-1, SEEDS])
@pytest.mark.parametrize("listed", [False, True])
def test_a_seed_that_a_library_would_refuse_later(tmp_path: Path, seed: int, listed: bool) -> None:
    file = tmp_path / "line.yaml"
    file.write_text(LINE.format(1))
    with pytest.raises(SettingsError, match=f"--seed is {seed}; give 0 to 2147483647"):
        plan(tmp_path, seed=seed, candidates_file=str(file) if listed else None)
    assert plan(tmp_path, seed=SEEDS - 1, candidates=6).candidates[5].seed == 4


def test_a_time_that_is_still_to_come_is_refused_for_claims_in_files(tmp_path: Path) -> None:
    """Decisions and claims of the future would count as known, and as features' histories."""
    claims = tmp_path / "mine.yaml"
    claims.write_text(
        "name: mine\nsource: {uri: mine.csv}\nclaim_id: id\nevent_time: {column: at}\n"
        "label: {column: fraud, delay: 30d}\n"
    )
    given = {"run": "Test/1", "output_uri": str(tmp_path)}
    with pytest.raises(SettingsError, match=r"--as-of 2062-06-30 is after now.* Leave it out"):
        plan_run(str(claims), as_of="2062-06-30", **given)
    assert plan_run(str(claims), as_of="2024-06-30", **given).hindsight
    assert plan(tmp_path, as_of="2062-06-30").as_of.year == 2062  # generated, to its own end


def test_more_candidates_than_a_run_is_split_into(tmp_path: Path) -> None:
    assert len(plan(tmp_path, candidates=MAX_CANDIDATES).candidates) == MAX_CANDIDATES
    for count in (0, MAX_CANDIDATES + 1):
        with pytest.raises(SettingsError, match=f"--candidates is {count}; give 1 to 1000"):
            plan(tmp_path, candidates=count)
    file = tmp_path / "many.yaml"
    file.write_text("".join(LINE.format(i) for i in range(MAX_CANDIDATES + 1)))
    with pytest.raises(SettingsError, match=r"many\.yaml: 1001 candidates; give up to 1000"):
        plan(tmp_path, candidates_file=str(file))


@pytest.mark.parametrize("command", ["run", "resume"])
def test_metaflow_splits_a_run_into_as_many_tasks_as_there_may_be_candidates(
    tmp_path: Path, command: str
) -> None:
    """By variables that it reads its options from, so that whoever gives them is heard."""
    name = f"METAFLOW_{command.upper()}_MAX_NUM_SPLITS"
    plain = {key: value for key, value in os.environ.items() if key != name}
    code = f"import flow_environment; print(flow_environment.os.environ[{name!r}])"
    told = subprocess.run(
        [sys.executable, "-c", code], cwd=FLOWS, env=plain, capture_output=True, text=True
    )
    assert told.stdout.split() == [str(MAX_CANDIDATES)]
    refused = subprocess.run(
        [sys.executable, str(FLOWS / "training_flow.py"), command],
        cwd=tmp_path, env=plain | {name: "many"}, capture_output=True, text=True,
    )  # fmt: skip
    assert "'--max-num-splits': many is not a valid integer" in refused.stderr
