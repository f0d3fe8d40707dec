"""Pictures of what a BI user sees say no more than the views do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from plots_kit import line, title

from fraud_mlops.plots.bi import alert_funnel, claims_and_alerts, promised_and_kept, stages_of


def kept(metric: str, verdict: str) -> dict[str, Any]:
    """A row of BI_MODEL_COMPARISON."""
    interval = {"VALUE": 0.5, "LOW": 0.4, "HIGH": 0.6}
    found = {
        f"{when}_{name}": value for when in ("OOT", "LATER") for name, value in interval.items()
    }
    return {**found, "METRIC": metric, "VERDICT": verdict, "MODEL_VERSION": "m1"}


@pytest.mark.parametrize(
    ("verdicts", "told"),
    [
        (("holds", "not judged"), "nothing has decayed"),
        (("decayed", "holds"), "average precision has decayed"),
        (("decayed", "decayed"), "average precision, roc auc have decayed"),
        (("not judged", "not judged"), "nothing could be judged"),
    ],
)
def test_a_title_says_what_became_of_a_model(verdicts: tuple[str, str], told: str) -> None:
    names = ("average_precision", "roc_auc")
    rows = [kept(name, verdict) for name, verdict in zip(names, verdicts, strict=True)]
    assert told in title(promised_and_kept(rows))


@pytest.mark.parametrize(
    ("labelled", "told"),
    [(20, "1 frauds caught by 20 alerts that have a label"), (None, "1 frauds caught")],
)
def test_a_stage_that_is_not_known_of_every_period_is_no_smaller_one(
    labelled: int | None, told: str
) -> None:
    stages = [("claims scored", 100), ("alerts", 30), ("with a label", labelled), ("caught", 1)]
    figure = alert_funnel(stages)
    assert title(figure) == told
    texts = {note.get_text() for note in figure.axes[0].texts}
    assert ("not known of every period" in texts) == (labelled is None)


def kpi(month: str, *, in_sample: bool) -> dict[str, Any]:
    """A row of BI_DAILY_KPIS."""
    shares = ("PRECISION_OF_ALERTS", "RECALL_OF_ALERTS", "VALUE_DETECTED", "FRAUD_RATE")
    counts = {"CLAIMS": 100, "ALERTS": 10, "ALERTS_PER_DAY": 0.3, "ALERT_SHARE": 0.1}
    told = {"PARTITION_KEY": month, "IN_SAMPLE": in_sample, "LABELLED_SHARE": 1.0}
    return {**told, **counts, **dict.fromkeys(shares, 0.5)}


def test_periods_that_the_model_may_have_learnt_from_are_counted_and_not_judged() -> None:
    rows = [kpi("2024-03", in_sample=True), kpi("2024-04", in_sample=False)]
    figure = claims_and_alerts(rows)
    assert title(figure).startswith("200 claims, 20 alerts")
    _, quality, rates = figure.axes
    for name in ("precision of alerts", "recall of alerts", "value detected"):
        assert np.isnan(line(quality, name).get_ydata()).tolist() == [True, False]
    assert not np.isnan(line(rates, "fraud rate").get_ydata()).any()


def test_a_funnel_is_of_periods_that_the_model_cannot_have_learnt_from() -> None:
    rows = [
        {"STAGE": stage, "CLAIMS": claims, "IN_SAMPLE": in_sample}
        for stage, claims in (("claims scored", 100), ("alerts", 10), ("frauds caught", None))
        for in_sample in (True, False, False)
    ]
    assert stages_of(rows) == [("claims scored", 200), ("alerts", 20), ("frauds caught", None)]
