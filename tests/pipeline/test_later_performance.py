"""By what came after the out-of-time window a model is judged, whatever a run scores of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from run_kit import DATASET, Run, planned

from fraud_mlops.pipeline.leading import pinned_champion
from fraud_mlops.pipeline.monitoring import Monitored, monitor
from fraud_mlops.pipeline.outcomes import Outcomes
from fraud_mlops.pipeline.plan import plan_run
from fraud_mlops.pipeline.ranges import pin_raw, prepare_range, with_range
from fraud_mlops.pipeline.scoring import score
from fraud_mlops.reporting.metrics import told


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Outcomes]:
    """All that there is has been scored by the champion, in one run."""
    run = Run(planned(tmp_path_factory.mktemp("lake"), "1", "good"))
    outcomes = monitor(run.plan, run.features, run.leader, run.score()).outcomes
    run.publish()
    return run, outcomes


def scored_again(root: Path | str, first: str, last: str, version: str | None = None) -> Monitored:
    plan = plan_run(DATASET, run=f"ScoringFlow/{first}", output_uri=str(root), candidates=None,
                    partition_start=first, partition_end=last)  # fmt: skip
    raw = pin_raw(plan)
    plan = with_range(plan, raw)
    leader = pinned_champion(plan)
    features = prepare_range(plan, raw)
    leader = replace(leader, version=version or leader.version)
    return monitor(plan, features, leader, score(plan, features, leader))


@pytest.mark.parametrize("months", [("2024-08", "2024-08"), ("2024-10", "2024-10")])
def test_a_run_that_scores_some_months_again_judges_by_all(
    whole: tuple[Run, Outcomes], months: tuple[str, str]
) -> None:
    run, before = whole
    after = scored_again(run.plan.output_uri, *months).outcomes
    assert before.later_frauds > 10
    assert (after.later_claims, after.later_frauds) == (before.later_claims, before.later_frauds)
    for name, found in before.later.items():
        assert after.later[name].value == pytest.approx(found.value, abs=1e-6)


def test_scores_of_another_model_are_not_its_own(whole: tuple[Run, Outcomes]) -> None:
    run, before = whole
    alone = scored_again(run.plan.output_uri, "2024-10", "2024-10", version="another").outcomes
    assert 0 < alone.later_claims < before.later_claims


def test_days_that_the_model_has_learnt_from_are_in_no_daily_precision(
    whole: tuple[Run, Outcomes],
) -> None:
    """They would lift it, and it is drawn over runs."""
    run, _ = whole
    root, until = run.plan.output_uri, run.features.split.validation.end
    assert f"{until:%F}" == "2024-03-01"
    assert scored_again(root, "2024-01", "2024-02").outcomes.daily_precision is None
    new = scored_again(root, "2024-03", "2024-03").outcomes.daily_precision
    assert new is not None
    assert scored_again(root, "2024-01", "2024-03").outcomes.daily_precision == new


def test_the_check_says_why(whole: tuple[Run, Outcomes]) -> None:
    run, _ = whole
    monitored = scored_again(run.plan.output_uri, "2024-10", "2024-10")
    few = run.plan.contract.checks.model_copy(update={"performance_frauds": 5})
    contract = run.plan.contract.model_copy(update={"checks": few})
    findings = {f.name: f for f in told(run.lake, contract, monitored).findings}
    assert "frauds since, at the fraud rate out of time" in findings["performance"].facts["reason"]
    assert "average_precision" in findings["performance"].facts["reason"]
    rows = run.lake.read(monitored.partitions).to_pylist()
    maturity = findings["label_maturity"].facts
    assert maturity["newest_partition"] == "2024-10"
    assert "old enough for a label have one" in maturity["reason"]
    kept = {row["metric"]: row["value"] for row in rows if row["window"] == "after_oot"}
    assert kept["labelled_frauds"] == monitored.outcomes.later_frauds
    assert kept["needed_frauds"] == run.plan.contract.checks.performance_frauds
