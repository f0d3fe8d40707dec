"""That the out-of-time window has taught nothing is measured, not taken from the split."""

from __future__ import annotations

from datetime import UTC, timedelta

import pyarrow.compute as pc
import pytest
from run_kit import Run, planned, silent

from fraud_mlops.features.build import FeatureSet, read_window
from fraud_mlops.models.training_log import TrainingLog
from fraud_mlops.pipeline.training import refit
from fraud_mlops.reporting.model_artifact import Training, told
from fraud_mlops.reporting.told import Finding


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run(planned(tmp_path_factory.mktemp("lake"), "1", "good"))


def trained(run: Run, refitted: TrainingLog) -> Training:
    kept = run.keep()
    made = run.features, run.choice, refitted, run.validated
    return Training(run.plan, *made, kept, kept.version)


def untouched(run: Run, refitted: TrainingLog) -> Finding:
    found = told(trained(run, refitted)).findings
    return next(finding for finding in found if finding.name == "oot_window_untouched")


def test_what_a_training_warns_of_is_told_in_words_with_the_model_it_is_of(run: Run) -> None:
    made = trained(run, run.log)
    facts = {finding.name: finding.facts for finding in told(made).findings}
    model = f"out of time of {made.manifest.version}, which leads; "
    assert model in facts["calibration"]["reason"]
    assert facts["calibration"]["reason"].startswith("calibration error 0.")
    assert model in facts["oot_average_precision"]["reason"]
    assert "by chance it is the fraud rate, 0." in facts["oot_average_precision"]["reason"]


def later_window(features: FeatureSet) -> FeatureSet:
    """As if the out-of-time window began 60 days later than it does."""
    split = features.split
    start = split.oot.start + timedelta(days=60)
    oot = split.oot.model_copy(update={"start": start})
    return features.model_copy(update={"split": split.model_copy(update={"oot": oot})})


def test_a_training_notes_the_latest_claim_and_label_that_it_was_given(run: Run) -> None:
    start = run.features.split.oot.start
    windows = [read_window(run.features, name) for name in ("train", "validation")]
    known = [w.filter(pc.less(w.column("label_time"), start)) for w in windows]
    assert run.log.last_event == max(pc.max(w.column("event_time")).as_py() for w in known)
    assert run.log.last_label == max(pc.max(w.column("label_time")).as_py() for w in known)
    assert run.log.last_label.tzinfo is UTC
    assert untouched(run, run.log).passed


def test_a_training_that_was_given_labels_of_the_window_fails_the_check(run: Run) -> None:
    _, log = refit(run.choice.winner, later_window(run.features), silent, threads=1)
    found = untouched(run, log)
    assert not found.passed
    assert found.severity == "ERROR"
    assert found.facts["last_label"] >= found.facts["oot_start"]


def test_a_training_that_notes_nothing_fails_it_too(run: Run) -> None:
    assert not untouched(run, run.log.model_copy(update={"last_event": None})).passed
