"""Choose the winner, and how its scores become probabilities and alerts, on validation alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fraud_mlops.contract import AMOUNT
from fraud_mlops.evaluation.calibration import Calibration, choose_calibration
from fraud_mlops.evaluation.leaderboard import Leaderboard, rank_candidates
from fraud_mlops.evaluation.threshold import Threshold, choose_threshold
from fraud_mlops.features.build import FeatureSet
from fraud_mlops.models.candidates import Candidate
from fraud_mlops.models.training_log import TrainingLog
from fraud_mlops.pipeline.plan import RunPlan
from fraud_mlops.pipeline.progress import Progress
from fraud_mlops.pipeline.reference import REFERENCE, reference_bytes
from fraud_mlops.pipeline.training import (
    Trained,
    failed_row,
    incumbent_row,
    refit,
    validation_claims,
)
from fraud_mlops.pipeline.windows import column_or_none, labels_of

Curves = dict[str, tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Result:
    """One candidate's task: what it trained, or why it could not."""

    candidate: Candidate
    trained: Trained | None
    failure: str | None


@dataclass(frozen=True)
class Decision:
    """How logits become probabilities and alerts."""

    calibration: Calibration
    threshold: Threshold


@dataclass(frozen=True)
class Choice:
    """labels, logits: of the labelled claims of the validation window, logits by candidate."""

    winner: Candidate
    leaderboard: Leaderboard
    decision: Decision
    labels: np.ndarray
    logits: dict[str, np.ndarray]
    losses: dict[str, tuple[float, ...]]


def choose(plan: RunPlan, features: FeatureSet, results: Sequence[Result]) -> Choice:
    """Ranks the candidates beside the champion, and calibrates the best of them.

    The winner's logits come from claims that it was not trained on, and so do calibration and
    threshold. Raises TrainingError when not one candidate could be trained.
    """
    trained = {r.candidate.name: r.trained for r in results if r.trained is not None}
    rows = [
        r.trained.row if r.trained else failed_row(r.candidate, r.failure or "no reason was given")
        for r in results
    ]
    incumbent = incumbent_row(plan, features)
    leaderboard = rank_candidates([*rows, *([incumbent] if incumbent else [])])
    winner = trained[leaderboard.winner]
    claims = validation_claims(features)
    labels, logits = labels_of(claims), winner.validation_logits
    calibration = choose_calibration(logits, labels, seed=plan.seed)
    threshold = choose_threshold(
        logits,
        labels,
        calibration.apply(logits),
        column_or_none(claims, AMOUNT),
        features.contract.alerts,
    )
    return Choice(
        winner=winner.candidate,
        leaderboard=leaderboard,
        decision=Decision(calibration, threshold),
        labels=labels,
        logits={name: t.validation_logits for name, t in trained.items()},
        losses={name: t.log.epoch_losses for name, t in trained.items()},
    )


def refit_winner(
    plan: RunPlan, choice: Choice, features: FeatureSet, progress: Progress
) -> tuple[dict[str, bytes], TrainingLog]:
    """The winner's bundle files after training on train and validation.

    With them the decision, and the claims of training that later ones are compared with.
    """
    model, log = refit(choice.winner, features, progress, threads=plan.threads)
    decision = choice.decision
    model = model.decided(decision.calibration, decision.threshold.value)
    reference = reference_bytes(features, model, threads=log.threads)
    return {**model.to_files(), REFERENCE: reference}, log


def curves(choice: Choice) -> tuple[Curves, Curves]:
    """Precision over recall, and true over false positives, of each candidate, best first."""
    from sklearn.metrics import precision_recall_curve, roc_curve

    recalls, alarms = {}, {}
    for name in (row.name for row in choice.leaderboard.rows if row.name in choice.logits):
        logits = choice.logits[name]
        precision, recall, _ = precision_recall_curve(choice.labels, logits)
        recalls[name] = (recall, precision)
        false, true, _ = roc_curve(choice.labels, logits)
        alarms[name] = (false, true)
    return recalls, alarms
