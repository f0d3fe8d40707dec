"""Pictures of what a BI user sees say no more than the views do."""

from __future__ import annotations

from typing import Any

import pytest
from plots_kit import title

from fraud_mlops.plots.bi import alert_funnel, promised_and_kept


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
