"""A champion that alerts nobody says so, and one that alerts too many."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from run_kit import Run, planned

from fraud_mlops.catalog import load
from fraud_mlops.claims.raw_zone import RawZone
from fraud_mlops.contract import Contract
from fraud_mlops.lakehouse.partitions import Lakehouse
from fraud_mlops.limits import Alerts
from fraud_mlops.pipeline.closing import words_of_training
from fraud_mlops.pipeline.outputs import OUTPUTS
from fraud_mlops.reporting.ml_outputs import told
from fraud_mlops.words import share_of


def outputs(alerts: int, claims: int) -> pa.Table:
    day = datetime(2024, 1, 1, tzinfo=UTC)
    rows = [
        {
            "claim_id": f"c{n}",
            "event_time": day + timedelta(minutes=n),
            "score": 0.0,
            "probability": 0.5,
            "alert": n < alerts,
            "reasons": [],
            "model_version": "v",
        }
        for n in range(claims)
    ]
    return pa.Table.from_pylist(rows, OUTPUTS)


@pytest.mark.parametrize(
    ("alerts", "claims", "given", "passed"),
    [
        (0, 1000, {}, False),
        (1, 1000, {}, True),
        (0, 1000, {"review_cost": 50.0}, True),
        (0, 100, {}, True),
        (1, 1, {}, True),
        (2, 3, {}, True),
        (3, 3, {}, False),
        (10, 100, {}, True),
        (20, 100, {}, False),
        (700, 10_000, {}, False),
    ],
    ids=[
        *("nobody", "somebody", "by costs", "nobody by chance", "one", "few by chance"),
        *("all of few", "some by chance", "too many", "a little too many of many"),
    ],
)
def test_alerts_beyond_chance_and_scores_without_one_are_looked_at(
    tmp_path: Path, alerts: int, claims: int, given: dict[str, Any], *, passed: bool
) -> None:
    contract: Contract = load("synthetic_claims")
    contract = contract.model_copy(update={"alerts": Alerts(budget=0.05, **given)})
    lake = Lakehouse(str(tmp_path))
    table = outputs(alerts, claims)
    place = "ml_outputs", contract.name, contract.partition, "2024-01"
    scores = (lake.write(*place, table.to_batches(), OUTPUTS),)
    raw = RawZone(contract=contract, partitions=scores, truths={})
    findings = {found.name: found for found in told(lake, raw, scores, "v").findings}
    assert findings["alert_budget"].passed == passed
    assert findings["alert_budget"].severity == "WARN"
    told_as_chance = "by chance" in str(findings["alert_budget"].facts["reason"])
    assert told_as_chance == (passed and alerts > 0.0625 * claims)


def test_no_alert_by_costs_is_told_with_the_cost(tmp_path: Path) -> None:
    contract: Contract = load("synthetic_claims")
    contract = contract.model_copy(update={"alerts": Alerts(budget=0.05, review_cost=1e6)})
    lake = Lakehouse(str(tmp_path))
    place = "ml_outputs", contract.name, contract.partition, "2024-01"
    scores = (lake.write(*place, outputs(0, 1000).to_batches(), OUTPUTS),)
    raw = RawZone(contract=contract, partitions=scores, truths={})
    facts = {f.name: f for f in told(lake, raw, scores, "v").findings}["alert_budget"].facts
    assert facts["reason"] == (
        "not one alert on 1,000 claims, where the budget allows 50 alerts: none is worth a review "
        "at alerts.review_cost = 1,000,000.00"
    )


def test_the_alerts_are_told_in_words_and_of_the_newest_month_that_has_claims(
    tmp_path: Path,
) -> None:
    contract: Contract = load("synthetic_claims")
    contract = contract.model_copy(update={"alerts": Alerts(budget=0.05)})
    lake = Lakehouse(str(tmp_path))
    place = "ml_outputs", contract.name, contract.partition
    months = {"2024-01": outputs(90, 1000), "2024-02": outputs(0, 0)}
    scores = tuple(
        lake.write(*place, month, table.to_batches(), OUTPUTS) for month, table in months.items()
    )
    raw = RawZone(contract=contract, partitions=scores, truths={})
    facts = {found.name: found for found in told(lake, raw, scores, "v").findings}[
        "alert_budget"
    ].facts
    assert facts["newest_partition"] == "2024-01"
    assert facts["reason"].startswith("90 alerts on 1,000 claims, 9%; the budget is 5%, and ")


def test_a_training_says_so_in_its_last_words(tmp_path: Path) -> None:
    run = Run(planned(tmp_path, "1", "good"))
    threshold = run.choice.decision.threshold
    assert threshold.silent is None
    words = words_of_training(run.plan, run.validated, "card", threshold.silent)
    assert "alerted" not in words
    words = words_of_training(run.plan, run.validated, "card", "no claim will be alerted: why")
    assert "Note    no claim will be alerted: why." in words


def test_what_does_not_hold_out_of_time_is_said_in_the_last_words(tmp_path: Path) -> None:
    """The network that is published is another than the one that threshold and calibration are of;
    without Dagster nobody sees its checks."""
    run = Run(planned(tmp_path, "1", "good"))
    report = run.validated.report
    error = report.metrics["calibration_error"].model_copy(update={"value": 0.071})
    off = report.model_copy(
        update={
            "alert_share": 0.155,
            "metrics": report.metrics | {"calibration_error": error},
        }
    )
    words = words_of_training(run.plan, replace(run.validated, report=off), "card")
    budget = run.plan.contract.alerts.budget
    alerted = f"of claims out of time {share_of(0.155)} are alerted"
    assert f"{alerted}, and the budget is {share_of(budget)}." in words
    assert "off by 0.071 on average out of time (calibration error), more than" in words
    kept = error.model_copy(update={"value": 0.01})
    fine = report.model_copy(
        update={"alert_share": 0.001, "metrics": report.metrics | {"calibration_error": kept}}
    )
    assert "Note" not in words_of_training(run.plan, replace(run.validated, report=fine), "card")
