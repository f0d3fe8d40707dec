"""`models`: what there is, whether it is whole, and which of them leads."""

from __future__ import annotations

import json
import shutil

import pytest
from registry_kit import publish

from fraud_mlops.pipeline.comparable import cannot_score
from fraud_mlops.pipeline.plan import plan_run
from fraud_mlops.registry.pointers import history, set_challenger


@pytest.fixture
def versions(ran) -> list[str]:
    """a leads, b challenges, c stands by."""
    found = [publish(ran.models, name) for name in "abc"]
    set_challenger(str(ran.models), "motor", found[1], by="Flow/2", reason="hold")
    return found


def models(shell, *arguments: str) -> str:
    return shell.says("models", *arguments, "--dataset", "motor")


def test_list_shows_versions_roles_and_figures(ran, versions) -> None:
    text = models(ran, "list")
    roles = {line.split()[0]: line.split()[1] for line in text.splitlines() if "20240301-" in line}
    a, b, c = versions
    assert roles == {a: "champion", b: "challenger", c: "0.500"}
    assert "0.400 to 0.600" in text


def test_a_damaged_manifest_does_not_hide_the_other_versions(ran, versions) -> None:
    a, b, _ = versions
    (ran.models / "motor" / b / "manifest.json").write_text("{")
    text = models(ran, "list")
    assert "damaged: " in text
    assert a in text


def test_an_empty_registry_says_how_to_fill_it(shell) -> None:
    assert "No model of motor" in models(shell, "list")


def test_show_tells_of_the_champion_unless_told_otherwise(ran, versions) -> None:
    a, b, c = versions
    assert a in models(ran, "show")
    text = models(ran, "show", "challenger")
    assert b in text
    assert "FraudDetectionFlow/17" in text
    assert "torch 2.13.0" in text
    assert c in models(ran, "show", c)


def test_show_of_what_is_not_there(ran, shell) -> None:
    assert "no challenger" in ran.fails("models", "show", "challenger", "--dataset", "motor")
    assert "no model version" in ran.fails("models", "show", "best", "--dataset", "motor")
    text = ran.fails("models", "show", "20200101-0123456789ab", "--dataset", "motor")
    assert "fraud-mlops models list" in text


def test_verify_reads_every_file(ran, versions) -> None:
    assert "3 of 3 versions of motor are whole" in models(ran, "verify")
    path = ran.models / "motor" / versions[2] / "weights.safetensors"
    path.write_bytes(path.read_bytes() + b"!")
    result = ran("models", "verify", "--dataset", "motor")
    assert result.exit_code == 1
    assert f"{versions[2]}  DAMAGED: " in result.stdout
    assert "weights.safetensors" in result.stdout
    assert "1 of 3 versions" in result.stderr
    assert "1 of 1 versions" in models(ran, "verify", "champion")


def test_a_champion_that_is_gone_stands_in_the_list(ran, versions) -> None:
    shutil.rmtree(ran.models / "motor" / versions[0])
    (line,) = [line for line in models(ran, "list").splitlines() if versions[0] in line]
    assert "champion" in line
    assert "gone" in line


def test_verify_notices_a_champion_that_is_gone(ran, versions) -> None:
    (ran.models / "motor" / versions[0] / "manifest.json").unlink()
    result = ran("models", "verify", "--dataset", "motor")
    assert result.exit_code == 1
    assert f"{versions[0]}  DAMAGED: " in result.stdout


def champion(shell) -> dict[str, str]:
    return json.loads((shell.models / "motor" / "champion.json").read_text())


def test_promote_and_rollback_say_what_they_did_and_how_to_undo_it(ran, versions) -> None:
    a, b, _ = versions
    text = models(ran, "promote", "challenger", "--by", "ada", "--reason", "field test")
    assert f"the champion is {b}, before it was {a}" in text
    assert (champion(ran)["by"], champion(ran)["reason"]) == ("ada", "field test")
    assert "nothing was moved" in models(ran, "promote", b)
    text = models(ran, "rollback")
    assert f"the champion is {a}, before it was {b}" in text
    assert f"fraud-mlops models promote {b} --dataset motor" in text
    assert champion(ran)["by"]


def test_rollback_beyond_the_first_champion(ran, versions) -> None:
    assert "nothing to go back to" in ran.fails("models", "rollback", "--dataset", "motor")
    assert versions[2] in models(ran, "rollback", "--to", versions[2])


def test_retire_leaves_no_champion_and_says_how_to_undo_it(ran, versions) -> None:
    a, b, _ = versions
    text = models(ran, "retire", "--by", "ada", "--reason", "a column is gone")
    assert f"{a} is retired" in text
    assert not (ran.models / "motor" / "champion.json").exists()
    history = models(ran, "history")
    assert f"{a} (withdrawn)" in history
    assert "a column is gone" in history
    assert f"fraud-mlops models promote {a} --dataset motor" in text
    assert "before it was none" in models(ran, "promote", b)
    assert "nothing to go back to" in ran.fails("models", "rollback", "--dataset", "motor")
    assert a in models(ran, "promote", a)


def test_retire_challenger_leaves_the_champion(ran, versions) -> None:
    lead, second, _ = versions
    assert f"{second} is retired; there is no challenger" in models(ran, "retire", "challenger")
    assert champion(ran)["version"] == lead
    assert f"{second} (withdrawn)" in models(ran, "history")
    assert "no challenger to retire" in ran.fails(
        "models", "retire", "challenger", "--dataset", "motor"
    )


def test_retire_runs_as_a_training_says_it(ran, versions) -> None:
    plan = plan_run("synthetic_claims", run="Test/1", output_uri=str(ran.root))
    contract = plan.contract.model_copy(update={"name": "motor"})
    plan = plan.model_copy(update={"contract": contract, "named": "motor", "champion": versions[0]})
    told = str(cannot_score(plan, ["age"])).rpartition("fraud-mlops ")[2]
    assert f"{versions[0]} is retired" in ran.says(*told.split())
    assert "retired by hand" in models(ran, "history")


def test_a_damaged_version_is_not_promoted(ran, versions) -> None:
    path = ran.models / "motor" / versions[1] / "network.json"
    path.write_bytes(b"[]")
    before = champion(ran)
    text = ran.fails("models", "promote", versions[1], "--dataset", "motor")
    assert "network.json" in text
    assert champion(ran) == before


def test_history_tells_who_moved_what_and_why(ran, versions) -> None:
    models(ran, "promote", versions[1], "--by", "ada", "--reason", "field test")
    lines = models(ran, "history").splitlines()
    shown = [line for line in lines if "20240301-" in line]
    assert len(shown) == len(history(str(ran.models), "motor")) == 4
    withdrawn, promoted = shown[-2:]
    assert f"{versions[1]} (withdrawn)" in withdrawn
    assert "it is the champion" in withdrawn
    assert "field test" in promoted
    assert "ada" in promoted


def test_a_registry_elsewhere_is_named_with_an_option(ran, versions, tmp_path) -> None:
    version = publish(tmp_path / "other", "d")
    text = ran.says("models", "list", "--dataset", "motor", "--model-uri", str(tmp_path / "other"))
    assert version in text
    assert versions[0] not in text
