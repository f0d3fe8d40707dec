"""Scores, metrics and words of a run, and what its model carries."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from run_kit import Run

from fraud_mlops.errors import LakehouseError
from fraud_mlops.features.build import read_window
from fraud_mlops.lakehouse.partitions import Lakehouse
from fraud_mlops.monitoring.drift_report import DRIFT_VERDICTS
from fraud_mlops.pipeline.closing import closing_words
from fraud_mlops.pipeline.metrics import METRICS
from fraud_mlops.pipeline.monitoring import monitor
from fraud_mlops.pipeline.outputs import OUTPUTS
from fraud_mlops.pipeline.reference import drift_from, read_reference
from fraud_mlops.pipeline.scoring import score
from fraud_mlops.pipeline.validation import Validated
from fraud_mlops.reporting.metrics import told


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


def test_too_few_claims_to_judge_drift_are_no_stable_ones(first: Run) -> None:
    scores = first.score()
    monitored = monitor(first.plan, first.features, first.leader, scores)
    yardstick = first.leader.yardstick
    assert yardstick is not None
    few = read_window(first.features, "oot")[:5]
    report = drift_from(yardstick, first.features, first.leader.model, few, window="after_oot")
    monitored = replace(monitored, drift=(report,))
    words = closing_words(first.plan, first.ingested, first.validated, scores, monitored, "")
    assert "later claims" in words
    assert ": not judged: Too few claims: " in words
    assert "stable" not in words
    findings = told(first.lake, first.features.contract, monitored).findings
    found = {f.name: f for f in findings}["drift"]
    assert found.passed
    assert found.facts["verdicts"] == {"after_oot": "not judged"}
    assert found.facts["drifted_share"] is None


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
