"""What is told of drift."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, FiniteFloat

Verdict = Literal["stable", "warn", "drift", "not judged"]
DRIFT_VERDICTS = {"stable": 0, "warn": 1, "drift": 2}
"""Verdicts as the metrics zone has them, where values are numbers; what is not judged has none."""


class _Report(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FeatureDrift(_Report):
    """One feature in training and in new claims.

    psi: population stability index over deciles of training, or over categories, with missing as
    a bin of its own. psi_expected: its mean by chance alone. psi_noise: what it rarely exceeds
    when nothing has changed, by chance and by what training moved itself from one stretch of time
    to the others. Chance shrinks as claims grow. ks: Kolmogorov-Smirnov statistic of a number. js:
    Jensen-Shannon distance (base 2) of a category. missing_*: shares. None where not defined.
    verdict: `not whole` is that of a feature that is told and not judged.
    """

    feature: str
    kind: Literal["numeric", "categorical"]
    psi: FiniteFloat | None
    psi_expected: FiniteFloat | None
    psi_noise: FiniteFloat | None
    ks: FiniteFloat | None = None
    js: FiniteFloat | None = None
    missing_reference: FiniteFloat | None
    missing_current: FiniteFloat | None
    verdict: Literal["stable", "warn", "drift", "too few rows", "not whole"]


class DriftReport(_Report):
    """A window of new claims against the training window.

    window: name of the new claims' window. score: drift of the model's score, if given.
    classifier_auc: ROC-AUC of a classifier that tells training claims from new ones; None with
    too few claims. drifted_share: of the features that are judged; None without any. reasons: for
    the verdict, in sentences.
    """

    window: str
    rows_reference: int
    rows_current: int
    features: tuple[FeatureDrift, ...]
    score: FeatureDrift | None
    classifier_auc: FiniteFloat | None
    drifted_share: FiniteFloat | None
    verdict: Verdict
    reasons: tuple[str, ...]

    @property
    def apart(self) -> int:
        """How many of the features stand outside the verdict."""
        return sum(feature.verdict == "not whole" for feature in self.features)
