"""Limits of a dataset contract: what may be alerted, what stops a run, what is told of one."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, PositiveInt, model_validator

from fraud_mlops.fields import Part, Share


class Alerts(Part):
    """How many claims the team can look into, or what a look costs."""

    budget: Share = 0.05
    """Share of claims that may be alerted."""
    review_cost: Annotated[float, Field(gt=0)] | None = None
    """Cost of one review in the amount's currency; with it the threshold minimises cost."""


class Quality(Part):
    max_bad_share: Annotated[float, Field(ge=0, le=1)] = 0.05
    min_amount: float | None = 0.0


class Gate(Part):
    """A challenger replaces the champion when P(gain > min_gain) >= confidence, OOT, paired; where
    `alerts` have changed since the champion learnt, when it is not worse."""

    confidence: Share = 0.95
    min_gain: float = 0.0
    resamples: PositiveInt = 500


class Checks(Part):
    """Limits of what is told about an asset; none of them stops a run."""

    label_maturity: Annotated[float, Field(ge=0, le=1)] = 0.8
    """Least share of claims old enough for a label that have one."""
    calibration_error: Annotated[float, Field(ge=0, le=1)] = 0.05
    """Greatest mean distance of probability and fraud rate, out of time."""
    budget_tolerance: Annotated[float, Field(ge=0)] = 0.25
    """Alerts may exceed the budget by this share of it; a threshold cannot know what comes. Beyond
    that, more than chance does has to be."""
    performance_frauds: PositiveInt = 30
    """With fewer labelled frauds performance is not said to have decayed."""


class Drift(Part):
    """Verdict limits: at or above `warn` a feature is said to move, at `alert` to have drifted."""

    psi_warn: Annotated[float, Field(gt=0)] = 0.1
    psi_alert: Annotated[float, Field(gt=0)] = 0.25
    missing_alert: Share = 0.1
    classifier_alert: Annotated[float, Field(ge=0.5, le=1)] = 0.7
    """ROC-AUC of a classifier that tells training rows from new rows."""
    share_alert: Share = 0.3
    """Share of drifted features that makes the whole drift."""
    seasonal: tuple[str, ...] = ()
    """Feature columns that go with the season, judged once training holds a year of claims."""

    @model_validator(mode="after")
    def _warns_before_it_alerts(self) -> Self:
        if self.psi_warn > self.psi_alert:
            raise ValueError(
                f"psi_warn {self.psi_warn} must not be above psi_alert {self.psi_alert}"
            )
        return self
