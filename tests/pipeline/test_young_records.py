"""Records that are young: histories that still grow, and seasons not seen before, are no drift."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
import yaml
from click.testing import CliRunner
from run_kit import Run, planned

from fraud_mlops.catalog import load
from fraud_mlops.cli import main
from fraud_mlops.features.build import window_batches
from fraud_mlops.features.windows import entity_feature_names
from fraud_mlops.models.fraud_model import FraudModel
from fraud_mlops.monitoring.drift_report import DriftReport
from fraud_mlops.pipeline.closing import closing_words
from fraud_mlops.pipeline.monitoring import Monitored, monitor
from fraud_mlops.pipeline.reference import (
    drift_from,
    not_whole,
    read_reference,
    reference_bytes,
    training_scores,
    yardstick,
)
from fraud_mlops.registry.bundle import load_bundle
from fraud_mlops.registry.pointers import read_pointer

NAME = "young_claims"
SEASONAL = ("peril",)
BEGIN = datetime(2022, 1, 1, tzinfo=UTC)
A_MONTH = timedelta(days=365 / 12)


def contract(folder: Path, months: int, *, drift: bool) -> str:
    """The demo's claims, that many months of them, split by shares; drift in the last fifth."""
    made = load("synthetic_claims").model_dump(mode="json", exclude={"split"}, exclude_none=True)
    end = BEGIN + months * A_MONTH
    source = {**made["source"], "start": f"{BEGIN:%F}", "end": f"{end:%F}"}
    source.pop("drift_from")
    if drift:
        source["drift_from"] = f"{end - 0.2 * months * A_MONTH:%F}"
    path = folder / f"{NAME}.yaml"
    split = {"train": 0.45, "validation": 0.3, "oot": 0.25}
    path.write_text(yaml.safe_dump({**made, "name": NAME, "source": source, "split": split}))
    return str(path)


def trained(folder: Path, months: int, seed: int, *, drift: bool = False) -> Run:
    given = {"sample_size": 1000 * months, "seed": seed}
    return Run(planned(folder, "1", "good", dataset=contract(folder, months, drift=drift), **given))


def measured(run: Run) -> Monitored:
    return monitor(run.plan, run.features, run.leader, run.score())


def movers(report: DriftReport) -> set[str]:
    return {f.feature for f in report.features if f.verdict in ("warn", "drift")}


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("months", [6, 9, 12])
def test_claims_that_do_not_drift_are_not_told_as_drifted(
    tmp_path: Path, months: int, seed: int
) -> None:
    run = trained(tmp_path, months, seed)
    monitored = measured(run)
    histories = entity_feature_names(run.features.contract)
    assert [report.window for report in monitored.drift] == ["oot", "after_oot"]
    for report in monitored.drift:
        assert report.score is not None
        assert report.score.verdict == "stable"
        assert not movers(report), report.reasons
        assert report.verdict == "stable", report.reasons
        # With the season the perils themselves are others.
        assert report.apart == len(histories) + len(SEASONAL)
        assert "Not judged" in report.reasons[-1]
    said = closing_words(run.plan, run.ingested, run.validated, [], monitored, "")
    apart = f"{report.apart} of {len(report.features)} features, of histories or seasons not whole"
    assert apart in said


@pytest.mark.parametrize("months", [6, 9, 12])
def test_claims_that_drift_are_told_by_what_is_judged(tmp_path: Path, months: int) -> None:
    """The generator's drift moves channels and prices; it is mild."""
    report = measured(trained(tmp_path, months, 1, drift=True)).drift[-1]
    assert report.window == "after_oot"
    assert report.verdict != "stable"
    assert "channel" in movers(report)


def test_a_seasonal_column_is_judged_once_training_has_a_year_of_claims(young: Run) -> None:
    assert young.features.contract.drift.seasonal == SEASONAL
    assert "peril" in marked(young, timedelta(360))
    assert "peril" not in marked(young, timedelta(366))


def test_what_moves_the_score_is_drift_also_of_young_records(young: Run) -> None:
    reference = read_reference(young.validated.files)
    assert reference is not None
    claims = pa.Table.from_batches(window_batches(young.features, "oot"))
    amounts = pa.array(claims["amount"].to_numpy() * 20)
    dearer = claims.set_column(claims.column_names.index("amount"), "amount", amounts)
    model = FraudModel.from_files(young.validated.files)
    found = drift_from(yardstick(reference, model), young.features, model, dearer, window="oot")
    assert found.verdict == "drift"
    assert found.score is not None
    assert found.score.verdict == "drift"


@pytest.fixture(scope="module")
def young(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return trained(tmp_path_factory.mktemp("lake"), 12, 5)


@pytest.mark.parametrize(
    ("days", "apart"),
    [
        (365 + 121, set()),
        (365 + 119, {"fraud_lift_90d"}),
        (365 + 89, {"fraud_lift_90d", "claims_90d", "days_since_last"}),
        (365 + 59, {"fraud_lift_90d", "fraud_lift_30d", "claims_90d", "days_since_last"}),
    ],
)
def test_a_history_is_judged_once_training_has_a_year_of_it(
    young: Run, days: int, apart: set[str]
) -> None:
    """Feature by feature: one that looks back less is whole sooner."""
    told = {"fraud_lift_90d", "fraud_lift_30d", "claims_90d", "claims_30d", "days_since_last"}
    found = marked(young, timedelta(days))
    assert {name for name in told if f"provider_{name}" in found} == apart


def test_scores_are_held_against_those_of_training_where_its_histories_are_whole(
    young: Run,
) -> None:
    reference = read_reference(young.validated.files)
    assert reference is not None
    assert training_scores(reference) is None
    whole = training_scores(reference.replace_schema_metadata())
    assert whole is not None
    assert len(whole) == reference.num_rows


def test_claims_before_the_training_window_are_history_too(young: Run) -> None:
    assert marked(young, timedelta(366)) > set()
    assert marked(young, timedelta(366), records=timedelta(366 + 120)) == set()


def marked(run: Run, training: timedelta, *, records: timedelta | None = None) -> frozenset[str]:
    """Of the run's model, had training and records reached back so far before training's end."""
    split = run.features.split
    begin = split.train.end - training
    train = split.train.model_copy(update={"start": begin})
    claims = split.train.end - (records or training)
    features = run.features.model_copy(
        update={"split": split.model_copy(update={"train": train}), "records_from": claims}
    )
    model = FraudModel.from_files(run.validated.files)
    reference = read_reference({"reference.parquet": reference_bytes(features, model)})
    assert reference is not None
    return not_whole(reference)


def test_the_mark_outlives_an_erasure_of_claims_from_the_sample(young: Run) -> None:
    before = read_reference(young.validated.files)
    assert before is not None
    young.publish()
    raw = young.lake.read(young.ingested.partitions, ["amount", "policyholder"])
    person = raw["policyholder"][raw["amount"].to_pylist().index(before["amount"][0].as_py())]
    root, contract = young.plan.output_uri, young.plan.named
    command = ["erase", "--dataset", contract, "--output-uri", root, "--yes"]
    result = CliRunner().invoke(main, [*command, "--value", person.as_py()])
    assert result.exit_code == 0, result.output
    pointer = read_pointer(young.plan.model_uri, NAME, "champion")
    assert pointer is not None
    after = read_reference(load_bundle(young.plan.model_uri, NAME, pointer.version).files)
    assert after is not None
    assert after.num_rows < before.num_rows
    assert not_whole(after) == not_whole(before) > set()


def test_a_month_is_told_of_once_something_has_changed_and_not_before(tmp_path: Path) -> None:
    """All claims of an agent share its history, and histories follow the season: most months were
    told as moving where nothing had changed."""
    same, other = tmp_path / "same", tmp_path / "other"
    for folder in (same, other):
        folder.mkdir()
    calm = measured(trained(same, 36, 3)).outcomes.drift
    assert len(calm) > 8
    assert sum(report.verdict != "stable" for report in calm.values()) <= 1
    changed = measured(trained(other, 36, 3, drift=True)).outcomes.drift
    begin = "2024-06"  # at four fifths
    before = [report.verdict for value, report in changed.items() if value < begin]
    assert before == ["stable"] * len(before)
    assert all("channel" in movers(report) for value, report in changed.items() if value >= begin)
