"""The champion that a run's model is held against, on the claims that this is judged on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import ValidationError

from fraud_mlops.contract import EVENT_TIME, Contract
from fraud_mlops.evaluation.gate import GateDecision, decide
from fraud_mlops.evaluation.metrics import evaluate
from fraud_mlops.limits import Alerts
from fraud_mlops.pipeline.comparable import cannot_score
from fraud_mlops.pipeline.judging import logits_of
from fraud_mlops.pipeline.plan import RunPlan
from fraud_mlops.pipeline.windows import labels_of
from fraud_mlops.registry.bundle import Bundle, Manifest, load_bundle
from fraud_mlops.words import share_of

if TYPE_CHECKING:
    from fraud_mlops.models.fraud_model import FraudModel


@dataclass(frozen=True)
class Standing:
    """What the champion's threshold and calibration do with the claims, and its manifest says.

    renewed: in words, what is other in the contract's `alerts` since its threshold was chosen.
    silent: of the threshold, why it alerts nobody.
    """

    version: str
    alert_share: float
    calibration_error: float
    renewed: str | None
    silent: str | None


def held_against(
    plan: RunPlan,
    contract: Contract,
    claims: pa.Table,
    logits: np.ndarray,
    doubt: str | None,
    sample: str | None,
) -> tuple[GateDecision, Standing | None]:
    """The gate, against the champion that the run pinned, on claims that it has not learnt from
    either; and how that champion stands on all of them, None where there is none.

    logits: the run's own model's. sample: of which rows the claims are, where they are not all.
    Raises FraudMlopsError for a champion that cannot score these claims.
    """
    labels = labels_of(claims)
    against: np.ndarray | None = None
    since: datetime | None = None
    standing: Standing | None = None
    if plan.champion is not None:
        bundle = load_bundle(plan.model_uri, contract.name, plan.champion)
        model = _champion(plan, bundle, claims)
        against = logits_of(model, claims, threads=plan.threads_here)
        standing = _standing(bundle.manifest, model, against, labels, contract)
        doubt = doubt or _of_a_sample(plan, sample, bundle.manifest.sample)
        learnt = pa.scalar(bundle.manifest.trained_until, pa.timestamp("us", "UTC"))
        fresh = pc.greater_equal(claims.column(EVENT_TIME), learnt).to_numpy()
        if not fresh.all():
            since = bundle.manifest.trained_until
            labels, logits, against = labels[fresh], logits[fresh], against[fresh]
    gate = decide(
        labels,
        logits,
        against,
        champion_version=plan.champion,
        gate=contract.gate,
        seed=plan.seed,
        doubt=doubt,
        since=since,
        renewed=standing.renewed if standing else None,
    )
    return gate, standing


def threshold_of(model: FraudModel) -> float:
    if model.threshold is None:
        raise TypeError("the model has no threshold yet")
    return model.threshold


def _champion(plan: RunPlan, bundle: Bundle, claims: pa.Table) -> FraudModel:
    from fraud_mlops.models.fraud_model import FraudModel

    model = FraudModel.from_files(bundle.files)
    if missing := [name for name in model.features if name not in claims.column_names]:
        raise cannot_score(plan, missing)
    return model


def _standing(
    manifest: Manifest, model: FraudModel, logits: np.ndarray, labels: np.ndarray, now: Contract
) -> Standing:
    found = evaluate(
        labels, logits, budget=now.alerts.budget, probabilities=model.calibrated(logits)
    )
    return Standing(
        version=manifest.version,
        alert_share=float((logits >= threshold_of(model)).mean()),
        calibration_error=found["calibration_error"],
        renewed=_renewed(manifest.contract, now.alerts),
        silent=manifest.threshold.get("silent"),
    )


def _renewed(learnt: Mapping[str, Any], now: Alerts) -> str | None:
    """learnt: the contract of the champion's training; None, too, where it is of another release
    and cannot tell."""
    try:
        before = Alerts.model_validate(learnt.get("alerts"))
    except ValidationError:
        return None
    told = []
    if now.budget != before.budget:
        told.append(
            f"the alert budget is {share_of(now.budget)} now, {share_of(before.budget)} before"
        )
    if now.review_cost != before.review_cost:
        told.append(f"a review costs {_cost(now)} now, {_cost(before)} before")
    return ", and ".join(told) or None


def _cost(alerts: Alerts) -> str:
    return "nothing that is counted" if alerts.review_cost is None else f"{alerts.review_cost:g}"


def _of_a_sample(plan: RunPlan, challenger: str | None, champion: str | None) -> str | None:
    """Figures of few claims would say little of one that has learnt from all, and its alerts.

    champion: None, too, of an earlier release, which did not say.
    """
    if challenger is None or champion is not None:
        return None
    return (
        f"the challenger is of a sample ({challenger}), and the champion of all claims. Train it "
        "without --sample-size, or keep such models by themselves: --model-uri FOLDER. A champion "
        "of an earlier release counts as of all claims, since those did not say; if it is of a "
        f"sample too, fraud-mlops models retire --dataset {plan.contract.name} takes it back (with "
        "--model-uri where this run has a registry of its own), and the next model is the first, "
        "held against nobody"
    )
