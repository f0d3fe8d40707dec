"""Train one candidate, and fit the winner again on all that may be learnt from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fraud_mlops.contract import EVENT_TIME, LABEL_TIME
from fraud_mlops.errors import FraudMlopsError
from fraud_mlops.evaluation.leaderboard import LeaderboardRow
from fraud_mlops.evaluation.metrics import evaluate
from fraud_mlops.features.build import FeatureSet
from fraud_mlops.features.preprocessing import Preprocessor
from fraud_mlops.models.candidates import Candidate
from fraud_mlops.models.slots import cpu_slot
from fraud_mlops.models.training_log import TrainingLog
from fraud_mlops.pipeline.judging import logits_of
from fraud_mlops.pipeline.plan import RunPlan
from fraud_mlops.pipeline.progress import Progress
from fraud_mlops.pipeline.windows import days_before, labelled, labels_of
from fraud_mlops.registry.bundle import load_bundle
from fraud_mlops.settings import settings
from fraud_mlops.words import counted

if TYPE_CHECKING:
    from fraud_mlops.models.fraud_model import FraudModel

CANDIDATE_THREADS = 1
"""A candidate's networks are small: cores are better spent on candidates side by side."""


@dataclass(frozen=True)
class Trained:
    """A network after training.

    files: the model as bundle files, without calibration or threshold.
    validation_logits: float32 [n], in the order of the labelled claims of the validation window.
    """

    candidate: Candidate
    files: dict[str, bytes]
    log: TrainingLog
    row: LeaderboardRow
    validation_logits: np.ndarray


def training_claims(features: FeatureSet) -> pa.Table:
    """What a candidate may learn from before it is judged on the validation window."""
    return labelled(features, "train", known_before=features.split.validation.start)


def validation_claims(features: FeatureSet) -> pa.Table:
    """What candidates are judged on before the out-of-time window begins."""
    return labelled(features, "validation", known_before=features.split.oot.start)


def train_candidate(candidate: Candidate, features: FeatureSet, progress: Progress) -> Trained:
    """Trains on the train window and measures on the validation window.

    Holds one of the machine's cores while it trains, and waits for one while there is none.
    Raises TrainingError when the candidate cannot be trained.
    """
    from fraud_mlops.models.runtime import cpu_threads

    claims, judged = training_claims(features), validation_claims(features)
    with (
        cpu_slot(CANDIDATE_THREADS, settings().threads, progress=progress) as threads,
        cpu_threads(threads),
    ):
        model, log = fit(candidate, claims, features, threads, progress)
        logits = model.logits(judged)
    row = LeaderboardRow(
        name=candidate.name,
        family=candidate.family,
        status="trained",
        metrics=_measured(features, judged, logits, model.calibrated(logits)),
        train_seconds=log.seconds,
        rows_per_second=log.samples_per_second,
        params=candidate.params.model_dump(mode="json"),
        seed=candidate.seed,
    )
    return Trained(candidate, model.to_files(), log, row, logits)


def fit(
    candidate: Candidate,
    claims: pa.Table,
    features: FeatureSet,
    threads: int,
    progress: Progress,
    *,
    planned_for: int | None = None,
) -> tuple[FraudModel, TrainingLog]:
    from fraud_mlops.models.fraud_model import FraudModel, TypicalClaim
    from fraud_mlops.models.training import train

    preprocessor = Preprocessor.fit(claims, features.numeric, features.categorical)
    end = claims.column(EVENT_TIME)[-1].as_py()
    network, log = train(
        candidate,
        preprocessor.transform(claims),
        labels_of(claims),
        preprocessor.cardinalities,
        threads=threads,
        device=settings().device,
        progress=progress,
        ages=days_before(claims, EVENT_TIME, end),
        planned_for=planned_for,
    )
    typical = TypicalClaim.of(claims, features.numeric, features.categorical)
    last = {"last_event": _latest(claims, EVENT_TIME), "last_label": _latest(claims, LABEL_TIME)}
    return FraudModel(candidate, preprocessor, network, typical), log.model_copy(update=last)


def _latest(claims: pa.Table, column: str) -> datetime:
    moment: datetime = pc.max(claims.column(column)).as_py()
    return moment.astimezone(UTC)


def _measured(
    features: FeatureSet, claims: pa.Table, logits: np.ndarray, probabilities: np.ndarray
) -> dict[str, float]:
    budget = features.contract.alerts.budget
    return evaluate(labels_of(claims), logits, budget=budget, probabilities=probabilities)


def failed_row(candidate: Candidate, error: str) -> LeaderboardRow:
    """A candidate that could not be trained, with what it said."""
    return LeaderboardRow(
        name=candidate.name,
        family=candidate.family,
        status="failed",
        error=error.strip(),
        params=candidate.params.model_dump(mode="json"),
        seed=candidate.seed,
    )


def incumbent_row(plan: RunPlan, features: FeatureSet) -> LeaderboardRow | None:
    """The champion on the same validation window; None where there is no champion.

    It is marked in_sample, and not ranked, when it was trained on claims of that window.
    """
    if plan.champion is None:
        return None
    from fraud_mlops.models.fraud_model import FraudModel

    try:
        bundle = load_bundle(plan.model_uri, plan.contract.name, plan.champion)
        model = FraudModel.from_files(bundle.files)
        claims = validation_claims(features)
        _require_features(model, claims)
        logits = logits_of(model, claims, threads=plan.threads_here)
    except FraudMlopsError as error:
        return LeaderboardRow(
            name=plan.champion, family="champion", status="failed", error=str(error)
        )
    return LeaderboardRow(
        name=plan.champion,
        family=model.candidate.family,
        status="incumbent",
        metrics=_measured(features, claims, logits, model.calibrated(logits)),
        params=model.candidate.params.model_dump(mode="json"),
        seed=model.candidate.seed,
        in_sample=bundle.manifest.trained_until > features.split.validation.start,
    )


def _require_features(model: FraudModel, claims: pa.Table) -> None:
    if missing := [name for name in model.features if name not in claims.column_names]:
        raise FraudMlopsError(f"needs features that the contract no longer has: {missing}")


def refit(
    winner: Candidate, features: FeatureSet, progress: Progress, *, threads: int
) -> tuple[FraudModel, TrainingLog]:
    """The winner trained again on train and validation: as recent as it may be before OOT.

    By the recipe that was judged: as many epochs, in batches of the same size. threads: by which
    it is trained; on a machine of fewer by all of those, which makes another model and is said.
    """
    oot = features.split.oot.start
    taught = labelled(features, "train", known_before=oot)
    claims = pa.concat_tables([taught, validation_claims(features)])
    # What was judged has learnt from the claims of the train window that were known earlier.
    begins = pa.scalar(features.split.validation.start, pa.timestamp("us", "UTC"))
    judged = pc.sum(pc.less(taught.column(LABEL_TIME), begins)).as_py()
    with cpu_slot(threads, settings().threads, progress=progress) as held:
        if held < threads:
            progress(
                f"trained again by {counted(held, 'thread')}, all that there are here, and not by "
                f"the {threads} that the run began with: its bytes will be others"
            )
        return fit(winner, claims, features, held, progress, planned_for=judged)
