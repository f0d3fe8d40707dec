"""Champion and challenger from one run to the next, and runs that overtake each other."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.compute as pc
import pytest
from click.testing import CliRunner
from run_kit import DATASET, Run, planned

from fraud_mlops.cli import main
from fraud_mlops.errors import RegistryError
from fraud_mlops.lakehouse.partitions import Lakehouse
from fraud_mlops.pipeline.leading import pinned_champion
from fraud_mlops.pipeline.monitoring import monitor
from fraud_mlops.pipeline.plan import plan_run
from fraud_mlops.pipeline.publishing import publish
from fraud_mlops.pipeline.ranges import (
    as_scored,
    pin_raw,
    prepare_range,
    standing_scores,
    with_range,
)
from fraud_mlops.pipeline.reference import read_reference
from fraud_mlops.registry.bundle import load_bundle
from fraud_mlops.registry.going_back import rollback
from fraud_mlops.registry.lineage import resolved_version
from fraud_mlops.registry.pointers import promote, read_pointer, withdraw
from fraud_mlops.reporting.model_artifact import told


@pytest.fixture
def lake(tmp_path: Path) -> Callable[[str, str], Run]:
    return lambda run, candidate: Run(planned(tmp_path, run, candidate))


def test_a_champion_stays_until_a_better_one_comes(lake: Callable[[str, str], Run]) -> None:
    good = lake("1", "good")
    good.score()
    good.publish()
    poor = lake("2", "poor")
    assert poor.validated.gate.verdict == "hold"
    scored = {v for p in [poor.lake.read(poor.score())] for v in p["model_version"].to_pylist()}
    assert scored == {good.validated.version}
    poor.publish()
    models = poor.plan.model_uri
    champion, challenger = (read_pointer(models, DATASET, n) for n in ("champion", "challenger"))
    assert champion is not None
    assert champion.version == good.validated.version
    assert challenger is not None
    assert challenger.version == poor.validated.version
    beside = [row for row in poor.choice.leaderboard.rows if row.status == "incumbent"]
    assert [row.name for row in beside] == [good.validated.version]


def test_a_training_tells_which_model_leads_and_not_which_it_has_made(
    lake: Callable[[str, str], Run],
) -> None:
    """By the data version Dagster knows whether the champion has moved."""
    good = lake("1", "good")
    (first,) = told(good.publish()).published
    poor = lake("2", "poor")
    (second,) = told(poor.publish()).published
    assert first.data_version == second.data_version == good.validated.version
    assert second.facts["champion"] == good.validated.version
    assert second.facts["model_version"] == poor.validated.version
    promote(
        poor.plan.model_uri, DATASET, poor.validated.version,
        expected=good.validated.version, by="ada", reason="a trial",
    )  # fmt: skip
    (again,) = told(poor.publish()).published
    assert again.data_version == poor.validated.version, "somebody moved it meanwhile"


def test_a_champion_withdrawn_during_a_training_that_holds_does_not_have_its_model_told(
    lake: Callable[[str, str], Run],
) -> None:
    good = lake("1", "good")
    good.publish()
    poor = lake("2", "poor")
    led = good.validated.version
    withdraw(poor.plan.model_uri, DATASET, led, by="ada", reason="not to be trusted")
    (published,) = told(poor.publish()).published
    assert published.facts["champion"] is None
    assert published.data_version == led


def test_the_champion_come_out_once_more_is_told_as_the_same_model(
    lake: Callable[[str, str], Run],
) -> None:
    led = lake("1", "good")
    led.publish()
    again = lake("2", "good").validated
    assert again.version == led.validated.version
    assert again.gate.verdict == "hold"
    assert again.gate.reason == (
        f"Champion {again.version} stays: this training has made the same model again, since the "
        "dates of its split have not moved."
    )


def test_a_training_does_not_undo_a_rollback(lake: Callable[[str, str], Run]) -> None:
    poor = lake("1", "poor")
    poor.publish()
    good = lake("2", "good")
    good.publish()
    models, version = good.plan.model_uri, good.validated.version
    rollback(models, DATASET, by="ada", reason="alerts of one broker only")
    again = lake("3", "good")
    again.publish()
    assert again.validated.version == version
    reason = again.validated.gate.reason
    assert reason.startswith(f"Champion {poor.validated.version} stays: this training has made ")
    assert f"{version} again, which was taken back for {poor.validated.version} on 2" in reason
    assert "by ada (alerts of one broker only). fraud-mlops models promote" in reason
    assert f"models promote {version} {again.plan.options} has it lead again" in reason
    pointers = {role: read_pointer(models, DATASET, role) for role in ("champion", "challenger")}
    assert {role: found and found.version for role, found in pointers.items()} == {
        "champion": poor.validated.version,
        "challenger": version,
    }


def test_a_retired_champion_whose_files_were_damaged_is_made_whole_and_leads_again(
    lake: Callable[[str, str], Run],
) -> None:
    """Without a champion the next model is the first, whichever it is."""
    good = lake("1", "good")
    good.publish()
    models, version = good.plan.model_uri, good.validated.version
    (Path(models) / DATASET / version / "network.json").write_bytes(b"{")
    withdraw(models, DATASET, version, by="ada", reason="damaged")
    again = lake("2", "good")
    assert again.validated.gate.verdict == "first"
    again.score()
    again.publish()
    assert load_bundle(models, DATASET, version).manifest.version == version
    champion = read_pointer(models, DATASET, "champion")
    assert champion is not None
    assert champion.version == version


def test_a_model_that_was_rolled_back_from_is_the_first_where_none_leads(
    lake: Callable[[str, str], Run],
) -> None:
    poor = lake("1", "poor")
    poor.publish()
    good = lake("2", "good")
    good.publish()
    models, version = good.plan.model_uri, poor.validated.version
    rollback(models, DATASET, by="ada", reason="alerts of one broker only")
    withdraw(models, DATASET, version, by="ada", reason="cannot rank")
    again = lake("3", "good")
    assert again.validated.version == good.validated.version
    assert again.validated.gate.verdict == "first"


def test_a_champion_that_was_moved_meanwhile_is_not_overwritten(
    lake: Callable[[str, str], Run],
) -> None:
    slow, quick = lake("1", "good"), lake("2", "poor")
    quick.publish()
    with pytest.raises(RegistryError, match=r"scoring_flow\.py run --dataset synthetic_claims"):
        slow.publish()
    pointer = read_pointer(slow.plan.model_uri, DATASET, "champion")
    assert pointer is not None
    assert pointer.version == quick.validated.version
    promote(
        slow.plan.model_uri, DATASET, slow.validated.version,
        expected=quick.validated.version, by="a person", reason="seen and approved",
    )  # fmt: skip


def test_a_run_that_has_lost_leaves_the_scores_of_the_champion(
    lake: Callable[[str, str], Run],
) -> None:
    slow, quick = lake("1", "good"), lake("2", "poor")
    quick.score()
    quick.publish()
    with pytest.raises(RegistryError, match=r"scoring_flow\.py run --dataset synthetic_claims"):
        slow.score()
    standing = slow.lake.partitions("ml_outputs", DATASET)
    assert standing
    assert {slow.lake.metadata(p)["model_version"] for p in standing} == {quick.validated.version}
    assert quick.score() == tuple(standing)  # once more, where its own model leads already


def test_metrics_of_scores_are_measured_after_an_erasure_from_the_model_that_made_them(
    first: Run, tmp_path: Path
) -> None:
    """Twice: the version that scored has another name since, and another one still."""
    first.keep()
    first.score()
    root = str(shutil.copytree(first.plan.output_uri, tmp_path / "lake"))
    place = {"output_uri": root, "model_uri": f"{root}/models"}
    publish(first.plan.model_copy(update=place), first.validated)
    lake, scored_with = Lakehouse(root), first.validated.version
    for turn in (1, 2):
        command = ["erase", "--dataset", DATASET, "--output-uri", root, "--yes"]
        result = CliRunner().invoke(main, [*command, "--value", someone_learnt_from(first, turn)])
        assert result.exit_code == 0, result.output
    plan = plan_run(DATASET, run="ScoringFlow/2", output_uri=root, candidates=None,
                    assets="metrics", of_assets=["ml_outputs", "metrics"])  # fmt: skip
    assert plan.champion != scored_with
    raw = pin_raw(plan)
    measured = as_scored(with_range(plan, raw))
    leader = pinned_champion(measured)
    assert leader.version == plan.champion
    assert scored_with in leader.former
    scores = standing_scores(measured)
    assert set(lake.read(scores)["model_version"].to_pylist()) == {scored_with}
    monitored = monitor(measured, prepare_range(measured, raw), leader, scores)
    assert set(lake.read(monitored.partitions)["model_version"].to_pylist()) == {leader.version}
    assert resolved_version(plan.model_uri, DATASET, scored_with) == leader.version


def someone_learnt_from(run: Run, place: int) -> str:
    """A policyholder with a claim in the model's sample; another one for each place."""
    sample = read_reference(run.validated.files)
    assert sample is not None
    amount = sample["amount"].to_pylist()[-100 * place]
    raw = run.lake.read(run.ingested.partitions, ["amount", "policyholder"])
    (found,) = raw.filter(pc.equal(raw["amount"], amount))["policyholder"].to_pylist()[:1]
    return str(found)
