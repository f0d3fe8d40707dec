"""What a run learns from and is judged on, by its windows."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from run_kit import Run, silent

from fraud_mlops.errors import SplitError
from fraud_mlops.models.candidates import Candidate
from fraud_mlops.models.params import LogisticParams
from fraud_mlops.pipeline import validation
from fraud_mlops.pipeline.training import refit, train_candidate, training_claims, validation_claims
from fraud_mlops.pipeline.validation import oot_claims
from fraud_mlops.pipeline.windows import thinned


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


def test_alerts_keep_to_the_budget(first: Run) -> None:
    budget = first.features.contract.alerts.budget
    logits, labels = first.choice.logits["good"], first.choice.labels
    alerted = (logits >= first.choice.decision.threshold.value).mean()
    assert 0.5 * budget < alerted <= budget
    assert len(labels) == len(logits)


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
    _, again = refit(endless, first.features, silent, threads=1)
    assert again.epochs == judged.epochs < 1000
    assert again.samples > judged.samples


def test_an_oot_window_without_a_label_is_told_with_its_dates(first: Run) -> None:
    split = first.features.split
    moment = split.oot.model_copy(update={"end": split.oot.start + timedelta(microseconds=1)})
    features = first.features.model_copy(update={"split": split.model_copy(update={"oot": moment})})
    with pytest.raises(SplitError, match=f"{split.oot.start:%F}"):
        oot_claims(features)
