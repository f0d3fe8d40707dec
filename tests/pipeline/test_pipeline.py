"""What the steps of a flow call, one after the other in one process, and what holds between."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch  # noqa: TID253 -- counts its threads
from click.testing import CliRunner
from run_kit import DATASET, Run, planned, silent

from fraud_mlops.cli import main
from fraud_mlops.errors import LakehouseError, RegistryError, SplitError
from fraud_mlops.features.build import read_window
from fraud_mlops.lakehouse.partitions import Lakehouse
from fraud_mlops.models.candidates import Candidate
from fraud_mlops.models.fraud_model import FraudModel
from fraud_mlops.models.params import LogisticParams
from fraud_mlops.monitoring.drift import DRIFT_VERDICTS
from fraud_mlops.pipeline import validation
from fraud_mlops.pipeline.closing import closing_words
from fraud_mlops.pipeline.leading import pinned_champion
from fraud_mlops.pipeline.metrics import METRICS
from fraud_mlops.pipeline.monitoring import monitor
from fraud_mlops.pipeline.outputs import OUTPUTS
from fraud_mlops.pipeline.plan import plan_run
from fraud_mlops.pipeline.publishing import publish
from fraud_mlops.pipeline.ranges import (
    as_scored,
    pin_raw,
    prepare_range,
    standing_scores,
    with_range,
)
from fraud_mlops.pipeline.reference import read_reference, reference_bytes
from fraud_mlops.pipeline.scoring import score
from fraud_mlops.pipeline.training import (
    refit,
    train_candidate,
    training_claims,
    validation_claims,
)
from fraud_mlops.pipeline.validation import Validated, oot_claims
from fraud_mlops.pipeline.windows import thinned
from fraud_mlops.registry.lineage import resolved_version
from fraud_mlops.registry.pointers import promote, read_pointer
from fraud_mlops.settings import settings


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The first run of a dataset: nothing is published yet."""
    return Run(planned(tmp_path_factory.mktemp("lake"), "1", "poor", "good"))


def begins(claims: pa.Table) -> object:
    return pc.min(claims["event_time"]).as_py()


def ends(claims: pa.Table) -> object:
    return pc.max(claims["event_time"]).as_py()


def test_nothing_is_learnt_from_a_label_that_was_unknown_at_the_time(first: Run) -> None:
    split = first.features.split
    for claims, judged_from in (
        (training_claims(first.features), split.validation.start),
        (validation_claims(first.features), split.oot.start),
    ):
        assert pc.max(claims["label_time"]).as_py() < judged_from
        assert ends(claims) < judged_from - first.features.contract.label.delay + timedelta(1)


def test_the_windows_follow_each_other_with_the_label_delay_between(first: Run) -> None:
    train, valid = training_claims(first.features), validation_claims(first.features)
    delay = first.features.contract.label.delay
    assert ends(train) + delay <= begins(valid)
    assert ends(valid) + delay <= begins(oot_claims(first.features))


def test_the_winner_is_the_best_on_the_validation_window(first: Run) -> None:
    rows = {row.name: row for row in first.choice.leaderboard.rows}
    assert first.choice.winner.name == "good"
    assert rows["good"].metrics["average_precision"] > rows["poor"].metrics["average_precision"]


@pytest.fixture
def threads_seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Of each judging; before it PyTorch has three, whatever machine this is."""
    seen: list[int] = []
    judge = FraudModel.logits

    def watched(model: FraudModel, *claims: pa.Table) -> np.ndarray:
        seen.append(torch.get_num_threads())
        return judge(model, *claims)

    monkeypatch.setattr(FraudModel, "logits", watched)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield seen
    assert torch.get_num_threads() == 3
    torch.set_num_threads(before)


def test_a_candidate_is_judged_on_the_core_it_was_trained_on(
    first: Run, threads_seen: list[int]
) -> None:
    """Candidates side by side, each on all cores, would be several times as slow."""
    train_candidate(first.plan.candidates[0], first.features, silent)
    assert threads_seen == [1]


def test_no_step_judges_by_more_threads_than_the_project_may_use(
    first: Run, threads_seen: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FRAUD_THREADS", "2")
    settings.cache_clear()
    try:
        files = first.validated.files
        validated = validation.validate(first.plan, first.features, first.ingested, files)
        reference_bytes(first.features, FraudModel.from_files(validated.files))
        assert threads_seen == [2, 2]
    finally:
        settings.cache_clear()


def test_alerts_keep_to_the_budget(first: Run) -> None:
    budget = first.features.contract.alerts.budget
    logits, labels = first.choice.logits["good"], first.choice.labels
    alerted = (logits >= first.choice.decision.threshold.value).mean()
    assert 0.5 * budget < alerted <= budget
    assert len(labels) == len(logits)


def test_every_claim_since_the_oot_window_is_scored_once_and_again_alike(first: Run) -> None:
    once = first.score()
    again = first.score()
    assert [p.data_version for p in once] == [p.data_version for p in again]
    scores = first.lake.read(once)
    assert scores.schema.equals(OUTPUTS, check_metadata=False)
    assert scores.num_rows == first.features.windows["oot"].rows
    assert len(set(scores["claim_id"].to_pylist())) == scores.num_rows


def test_metrics_stand_in_the_partitions_that_were_scored(first: Run) -> None:
    scores = first.score()
    monitored = monitor(first.plan, first.features, first.leader, scores)
    assert [p.value for p in monitored.partitions] == [p.value for p in scores]
    metrics = first.lake.read(monitored.partitions)
    assert metrics.schema.equals(METRICS, check_metadata=False)
    assert [p.period for p in monitored.outcomes.performance] == [p.value for p in scores]
    assert sum(p.rows for p in monitored.outcomes.performance) == first.features.windows["oot"].rows
    words = closing_words(
        first.plan, first.ingested, first.validated, scores, monitored, "card view 1/oot"
    )
    assert "card view 1/oot" in words
    assert first.validated.version in words


def test_metrics_carry_the_verdicts_on_drift_and_the_limits_they_were_found_by(first: Run) -> None:
    monitored = monitor(first.plan, first.features, first.leader, first.score())
    rows = first.lake.read(monitored.partitions).to_pylist()
    found = {
        (r["partition"], r["window"], r["slice"], r["metric"]): r["value"]
        for r in rows
        if r["window"].startswith("drift_")
    }
    limits = first.features.contract.drift
    assert monitored.outcomes.drift
    for value, report in monitored.outcomes.drift.items():
        window = (value, f"drift_{report.window}")
        told = [found.get((*window, "all", name)) for name in ("psi_warn", "psi_alert")]
        assert told == [limits.psi_warn, limits.psi_alert]
        for feature in report.features:
            number = found.get((*window, f"feature={feature.feature}", "verdict"))
            assert number == DRIFT_VERDICTS.get(feature.verdict)
        judged = any(feature.verdict in DRIFT_VERDICTS for feature in report.features)
        assert found.get((*window, "all", "verdict")) == (
            DRIFT_VERDICTS[report.verdict] if judged else None
        )


def test_scores_that_may_be_chance_are_told(first: Run) -> None:
    scores = first.score()
    monitored = monitor(first.plan, first.features, first.leader, scores)
    metrics = dict(first.validated.report.metrics)
    metrics["roc_auc"] = metrics["roc_auc"].model_copy(update={"low": 0.48})
    report = first.validated.report.model_copy(update={"metrics": metrics})
    by_chance = replace(first.validated, report=report)

    def words(validated: Validated) -> str:
        return closing_words(first.plan, first.ingested, validated, scores, monitored, "")

    assert "no better than chance" in words(by_chance)
    assert "no better than chance" not in words(first.validated)


def test_a_model_carries_claims_of_its_training_with_full_histories_and_no_person(
    first: Run,
) -> None:
    contract, features = first.features.contract, first.features
    warm = timedelta(max(contract.windows)) + contract.label.delay
    since = pa.scalar(features.split.train.start + warm, pa.timestamp("us", "UTC"))
    train = read_window(features, "train")
    late = train.filter(pc.greater_equal(train["event_time"], since))
    reference = read_reference(first.validated.files)
    assert reference is not None
    assert reference.num_rows == late.num_rows < train.num_rows
    assert set(reference.column_names) == {*features.numeric, *features.categorical, "model_score"}
    assert reference["amount"].to_pylist() == late["amount"].to_pylist()


def test_drift_needs_no_training_data_but_what_the_model_carries(first: Run) -> None:
    monitored = monitor(first.plan, first.features, first.leader, first.score())
    assert {report.window for report in monitored.drift} == {"oot", "after_oot"}
    without = replace(first.leader, reference=None)
    assert monitor(first.plan, first.features, without, first.score()).drift == ()


def test_scores_of_another_run_are_not_taken_for_ones_own(first: Run, tmp_path: Path) -> None:
    scores = first.score()
    other = scores[0]
    rows = first.lake.read([other])
    changed = pc.replace_substring(rows["claim_id"], "CLM", "XXX").combine_chunks()
    foreign = rows.set_column(0, OUTPUTS.field(0), changed)
    lake = Lakehouse(str(tmp_path))
    place = (other.zone, other.dataset, other.key, other.value)
    stranger = lake.write(*place, foreign.to_batches(), OUTPUTS)
    with pytest.raises(LakehouseError, match="another run has scored"):
        monitor(first.plan, first.features, first.leader, [stranger, *scores[1:]])


def test_more_claims_than_are_judged_are_thinned_over_the_whole_window(
    first: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = oot_claims(first.features)
    monkeypatch.setattr(validation, "MAX_JUDGED_CLAIMS", 500)
    some = oot_claims(first.features)
    assert 250 < some.num_rows < 500  # later claims and unknown labels are not judged
    assert set(some["claim_id"].to_pylist()) < set(every["claim_id"].to_pylist())
    assert ends(some) - begins(some) > 0.9 * (ends(every) - begins(every))


@pytest.mark.parametrize("limit", [1, 7, 1000, 10**9])
def test_thinning_takes_as_many_as_it_says_evenly(first: Run, limit: int) -> None:
    total = first.features.windows["train"].rows
    taken = pa.Table.from_batches(thinned(first.features, "train", limit))
    assert taken.num_rows == min(limit, total)
    if 1 < taken.num_rows < total:
        gaps = np.diff(taken["event_time"].to_numpy().astype("int64"))
        assert gaps.max() < 20 * gaps.mean()


def test_the_winner_is_trained_again_by_the_recipe_that_was_judged(first: Run) -> None:
    """More claims would leave fewer epochs of the samples that a training may see."""
    endless = Candidate(name="endless", params=LogisticParams(epochs=1000, batch_size=65_536))
    judged = train_candidate(endless, first.features, silent).log
    _, again = refit(endless, first.features, silent)
    assert again.epochs == judged.epochs < 1000
    assert again.samples > judged.samples


def test_an_oot_window_without_a_label_is_told_with_its_dates(first: Run) -> None:
    split = first.features.split
    moment = split.oot.model_copy(update={"end": split.oot.start + timedelta(microseconds=1)})
    features = first.features.model_copy(update={"split": split.model_copy(update={"oot": moment})})
    with pytest.raises(SplitError, match=f"{split.oot.start:%F}"):
        oot_claims(features)


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


def test_reasons_name_a_personal_column_without_its_value(first: Run, tmp_path: Path) -> None:
    contract = first.features.contract
    own = ["amount", *(contract.numeric or ()), *(contract.categorical or ())]
    marked = contract.model_copy(update={"personal": tuple(own)})
    features = first.features.model_copy(update={"contract": marked})
    plan = first.plan.model_copy(update={"output_uri": str(tmp_path)})
    rows = Lakehouse(str(tmp_path)).read(score(plan, features, first.leader))
    texts = set(rows["reasons"].combine_chunks().flatten().to_pylist())
    names = {name.replace("_", " ") for name in own}
    told = {text for text in texts if any(text.startswith(f"{name} ") for name in names)}
    assert told
    assert told <= {f"{name} raises the score" for name in names}
    assert texts - told, "histories are told as ever"


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


def test_the_threads_and_the_device_of_a_training_stand_in_its_manifest(first: Run) -> None:
    told = first.keep().candidate
    assert (told["threads"], told["device"]) == (settings().threads, first.log.device)


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
