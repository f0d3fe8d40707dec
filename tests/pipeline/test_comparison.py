"""What a challenger is compared on, and when nothing can be said."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from click.testing import CliRunner
from run_kit import DATASET, Run, planned

from fraud_mlops.claims import IngestReport
from fraud_mlops.cli import main
from fraud_mlops.errors import BundleError, FraudMlopsError
from fraud_mlops.features.build import FeatureSet
from fraud_mlops.models.fraud_model import FraudModel
from fraud_mlops.pipeline.against import threshold_of
from fraud_mlops.pipeline.closing import closing_words, words_of_training
from fraud_mlops.pipeline.ingesting import prepare
from fraud_mlops.pipeline.monitoring import Monitored
from fraud_mlops.pipeline.outcomes import Outcomes
from fraud_mlops.pipeline.plan import RunPlan, plan_run
from fraud_mlops.pipeline.publishing import keep_bundle
from fraud_mlops.pipeline.validation import oot_claims, validate
from fraud_mlops.registry.bundle import bundle_version
from fraud_mlops.registry.pointers import read_pointer
from fraud_mlops.words import share_of

NOTHING = Outcomes(
    performance=(), drift={}, daily_precision=None, old_enough=0, known=0, later_claims=0,
    later_frauds=0, later={},
)  # fmt: skip


@pytest.fixture(scope="module")
def led(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run whose model leads."""
    run = Run(planned(tmp_path_factory.mktemp("lake"), "1", "good"))
    run.publish()
    return run


def next_run(led: Run, launch_id: str, *, days: int) -> tuple[RunPlan, FeatureSet]:
    """The same claims, that many days after the first of the OOT window has had time for a label.

    It lasts half a year, so that most of its claims are too young then.
    """
    pointer = read_pointer(led.plan.model_uri, DATASET, "champion")
    assert pointer is not None
    ripe = led.features.split.oot.start + led.features.contract.label.delay
    now = {"as_of": ripe + timedelta(days), "launch_id": launch_id, "champion": pointer.version}
    plan = led.plan.model_copy(update=now)
    return plan, prepare(plan, led.ingested)


def asking(features: FeatureSet, share: float) -> FeatureSet:
    contract = features.contract
    checks = contract.checks.model_copy(update={"label_maturity": share})
    changed = contract.model_copy(update={"checks": checks})
    return features.model_copy(update={"contract": changed})


def test_claims_too_young_for_a_label_say_nothing_against_those_that_have_one(led: Run) -> None:
    plan, features = next_run(led, "young", days=60)
    validated = validate(plan, features, led.ingested, led.validated.files)
    window = features.windows["oot"]
    assert window.labelled < 0.7 * window.rows
    assert window.labelled == validated.maturity.labelled < validated.maturity.old_enough
    assert validated.maturity.enough


def test_the_champion_stays_where_too_few_have_the_label_they_are_old_enough_for(led: Run) -> None:
    plan, features = next_run(led, "few", days=60)
    share = validate(plan, features, led.ingested, led.validated.files).maturity.share
    demanding = asking(features, share + 0.01)
    gate = validate(plan, demanding, led.ingested, challenger(led)).gate
    assert gate.verdict == "hold"
    assert gate.gain is None
    assert f"{share:.0%} have one" in gate.reason


def test_a_contract_without_a_feature_of_the_champion_is_told_before_anything_is_trained(
    led: Run,
) -> None:
    pointer = read_pointer(led.plan.model_uri, DATASET, "champion")
    assert pointer is not None
    plan = led.plan.model_copy(update={"champion": pointer.version, "launch_id": "lost"})
    assert led.ingested.contract.numeric
    kept = led.ingested.contract.model_copy(update={"numeric": ()})
    with pytest.raises(FraudMlopsError, match="models retire --dataset synthetic_claims"):
        prepare(plan, led.ingested.model_copy(update={"contract": kept}))


def test_a_champion_whose_files_are_gone_is_told_with_the_ways_out(led: Run) -> None:
    plan = led.plan.model_copy(update={"champion": "20240101-0123456789ab", "launch_id": "gone"})
    with pytest.raises(BundleError, match="promote another version, or retire it") as told:
        prepare(plan, led.ingested)
    assert f"models retire {plan.options}" in str(told.value)


def test_claims_that_the_champion_has_learnt_from_say_nothing(led: Run, tmp_path: Path) -> None:
    """An earlier training may have had later windows, as of dates that have been moved since."""
    split = led.features.split
    until = split.oot.start + timedelta(days=60)
    longer = split.validation.model_copy(update={"end": until})
    learnt = led.features.model_copy(
        update={"split": split.model_copy(update={"validation": longer})}
    )
    version = bundle_version(led.validated.files, until)
    plan = led.plan.model_copy(update={"model_uri": str(tmp_path)})
    other = replace(led.validated, version=version)
    keep_bundle(plan, led.ingested, learnt, led.choice, led.log, other)
    plan = plan.model_copy(update={"champion": version})
    gate = validate(plan, led.features, led.ingested, led.validated.files).gate
    claims = oot_claims(led.features)
    later = pc.greater_equal(claims["event_time"], pa.scalar(until, pa.timestamp("us", "UTC")))
    frauds = pc.sum(claims["label"].filter(later)).as_py()
    assert 0 < frauds < pc.sum(claims["label"]).as_py()
    assert f"{frauds} out-of-time frauds since {until:%F}, until when the champion" in gate.reason


def of_a_sample(run: Run) -> IngestReport:
    return run.ingested.model_copy(update={"sample": "600 of 6,000 rows"})


def test_a_champion_of_all_claims_is_not_replaced_by_a_model_of_a_sample(
    led: Run, tmp_path: Path
) -> None:
    """Its lakehouse may be one of its own, and the registry shared."""
    shutil.copytree(led.plan.model_uri, tmp_path / "models")
    place = {"model_uri": str(tmp_path / "models"), "champion": led.validated.version}
    plan = led.plan.model_copy(update=place)
    other = challenger(led)
    validated = validate(plan, led.features, of_a_sample(led), other)
    assert validated.gate.verdict == "hold"
    assert "a sample (600 of 6,000 rows), and the champion of all claims" in validated.gate.reason
    assert validate(plan, led.features, led.ingested, other).gate.gain is not None
    made = led.features, led.choice, led.log, validated
    assert keep_bundle(plan, of_a_sample(led), *made).sample == "600 of 6,000 rows"


def test_a_champion_that_may_be_of_a_sample_without_saying_so_can_be_retired(
    led: Run, tmp_path: Path
) -> None:
    """As those of earlier releases, whose manifests have no such word."""
    shutil.copytree(led.plan.model_uri, models := tmp_path / "models")
    place = {"model_uri": str(models), "champion": led.validated.version}
    held = validate(
        led.plan.model_copy(update=place), led.features, of_a_sample(led), challenger(led)
    ).gate
    assert held.verdict == "hold"
    assert "A champion of an earlier release counts as of all claims" in held.reason
    command = f"models retire --dataset {DATASET}"
    assert f"fraud-mlops {command} takes it back" in held.reason
    told = CliRunner().invoke(main, [*command.split(), "--model-uri", str(models)])
    assert told.exit_code == 0, told.output
    found = plan_run(DATASET, run="Test/2", output_uri=led.plan.output_uri, model_uri=str(models))
    assert found.champion is None
    plan = led.plan.model_copy(update=place | {"champion": None})
    assert validate(plan, led.features, of_a_sample(led), challenger(led)).gate.verdict == "first"


def test_a_champion_of_a_sample_is_challenged_by_another(led: Run, tmp_path: Path) -> None:
    plan = led.plan.model_copy(update={"model_uri": str(tmp_path), "champion": None})
    keep_bundle(plan, of_a_sample(led), led.features, led.choice, led.log, led.validated)
    plan = plan.model_copy(update={"champion": led.validated.version})
    assert validate(plan, led.features, of_a_sample(led), challenger(led)).gate.gain is not None


def with_budget(features: FeatureSet, budget: float) -> FeatureSet:
    contract = features.contract
    alerts = contract.alerts.model_copy(update={"budget": budget})
    changed = contract.model_copy(update={"alerts": alerts})
    return features.model_copy(update={"contract": changed})


def test_a_changed_alert_budget_comes_with_a_challenger_that_ranks_as_well(led: Run) -> None:
    """The threshold lies in the bundle, so that nothing else than another champion brings it."""
    plan, features = next_run(led, "budget", days=200)
    assert validate(plan, features, led.ingested, challenger(led)).gate.verdict == "hold"
    before = features.contract.alerts.budget
    gate = validate(plan, with_budget(features, 0.02), led.ingested, challenger(led)).gate
    assert gate.verdict == "promote"
    assert f": the alert budget is 2% now, {share_of(before)} before, and on" in gate.reason


def test_words_of_a_run_that_holds_say_which_model_they_are_of(led: Run) -> None:
    plan, features = next_run(led, "words", days=200)
    held = validate(plan, features, led.ingested, challenger(led))
    assert held.standing is not None
    alerts_all = replace(held, standing=replace(held.standing, alert_share=0.5))
    lines = words_of_training(plan, alerts_all, "card").splitlines()
    assert any("(95 % interval), of the challenger:" in line for line in lines)
    assert f"Note    {plan.champion}, which scores: of claims out of time 50% are alerted" in [
        line.partition(", and")[0] for line in lines
    ]
    own = f"Model   {held.version} in {plan.model_uri}/{DATASET}, the challenger"
    assert own in lines
    nothing = Monitored(version="", oot=None, drift=(), outcomes=NOTHING, partitions=())
    whole = closing_words(plan, led.ingested, held, [], nothing, "card")
    assert f"ml_outputs/{DATASET}, by {plan.champion}\n" in whole


def test_a_champion_that_holds_with_the_old_budget_is_told_with_the_command(led: Run) -> None:
    plan, features = next_run(led, "old", days=60)  # too early for every label
    features = with_budget(asking(features, 1.0), 0.02)
    held = validate(plan, features, led.ingested, challenger(led))
    assert held.gate.verdict == "hold"
    assert held.standing is not None
    words = words_of_training(plan, held, "card")
    assert f"Note    {plan.champion}, which scores: the alert budget is 2% now, " in words
    alerted = share_of(held.standing.alert_share)
    assert f"of before: of claims out of time it alerts {alerted}." in words
    assert f"fraud-mlops models promote challenger {plan.options}\n" in words


def challenger(run: Run) -> dict[str, bytes]:
    model = FraudModel.from_files(run.validated.files)
    return model.decided(model.calibration, threshold_of(model) + 1).to_files()


def test_a_damaged_champion_is_told_before_anything_is_trained(led: Run, tmp_path: Path) -> None:
    pointer = read_pointer(led.plan.model_uri, DATASET, "champion")
    assert pointer is not None
    shutil.copytree(led.plan.model_uri, tmp_path / "models")
    weights = tmp_path / "models" / DATASET / pointer.version / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    plan = led.plan.model_copy(
        update={"champion": pointer.version, "model_uri": str(tmp_path / "models")}
    )
    with pytest.raises(BundleError, match=r"weights\.safetensors: is not the file .* roll back"):
        prepare(plan, led.ingested)
