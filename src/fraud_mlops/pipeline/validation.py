"""Judge the refitted winner on the out-of-time window, against the champion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fraud_mlops.claims.raw_zone import RawClaims
from fraud_mlops.contract import AMOUNT, CLAIM_ID, EVENT_TIME, LABEL, Contract, DateSplit
from fraud_mlops.errors import SplitError
from fraud_mlops.evaluation.gate import GateDecision
from fraud_mlops.evaluation.metrics import evaluate
from fraud_mlops.evaluation.oot import OotReport, validate_oot
from fraud_mlops.features.build import FeatureSet, window_batches
from fraud_mlops.lakehouse.periods import partition_value
from fraud_mlops.moments import TICK
from fraud_mlops.pipeline.against import Standing, held_against, threshold_of
from fraud_mlops.pipeline.judging import logits_of
from fraud_mlops.pipeline.plan import RunPlan
from fraud_mlops.pipeline.windows import column_or_none, labels_of, thinned
from fraud_mlops.registry.bundle import bundle_version
from fraud_mlops.registry.going_back import taken_back

MAX_JUDGED_CLAIMS = 1_000_000
"""More than that would narrow the intervals little, and memory would grow with the claims."""


@dataclass(frozen=True)
class Maturity:
    """Claims of the OOT window whose label delay is over, and those of them with a label."""

    old_enough: int
    labelled: int
    limit: float

    @property
    def share(self) -> float:
        return self.labelled / self.old_enough if self.old_enough else 0.0

    @property
    def enough(self) -> bool:
        """Whether more is judged than what was quickly decided."""
        return self.share >= self.limit


@dataclass(frozen=True)
class Validated:
    """What the out-of-time window says.

    files: the winner's bundle files, with calibration and threshold.
    standing: how the champion before does on the same claims, where there is one.
    maturity: of the window's labels. oracle_average_precision: of the true probabilities, where
    they are known: the ceiling.
    labels, logits: of the window's labelled claims, for plots.
    """

    version: str
    files: dict[str, bytes]
    report: OotReport
    gate: GateDecision
    maturity: Maturity
    oracle_average_precision: float | None
    labels: np.ndarray
    logits: np.ndarray
    standing: Standing | None = None  # also of a run that an earlier release began

    @property
    def promoted(self) -> bool:
        return self.gate.verdict != "hold"

    @property
    def challenges(self) -> bool:
        """Whether another model than this one scores, or none."""
        led = self.standing.version if self.standing else None
        return not self.promoted and self.version != led


def validate(
    plan: RunPlan, features: FeatureSet, raw: RawClaims, files: Mapping[str, bytes]
) -> Validated:
    """Bootstrap intervals, slices and the gate on the labelled claims of the OOT window.

    files: the winner's, with calibration and threshold. Raises SplitError when the window holds
    no fraud or no genuine claim.
    """
    from fraud_mlops.models.fraud_model import FraudModel

    model = FraudModel.from_files(files)
    contract, window = features.contract, features.split.oot
    claims = oot_claims(features)
    labels = labels_of(claims)
    logits = logits_of(model, claims, threads=plan.threads_here)
    probabilities = model.calibrated(logits)
    report = validate_oot(
        labels,
        logits,
        probabilities,
        times=claims.column(EVENT_TIME).to_numpy(zero_copy_only=False),
        categories={name: _values(claims.column(name)) for name in features.categorical},
        amounts=column_or_none(claims, AMOUNT),
        threshold=threshold_of(model),
        budget=contract.alerts.budget,
        window=window,
        seed=plan.seed,
    )
    maturity = label_maturity(features, plan.as_of)
    version = bundle_version(files, features.split.validation.end)
    again = _again(contract) if version == plan.champion else _taken_back(plan, version)
    doubt = again or _doubt(maturity)
    gate, standing = held_against(plan, contract, claims, logits, doubt, raw.sample)
    return Validated(
        version=version,
        files=dict(files),
        report=report,
        gate=gate,
        standing=standing,
        maturity=maturity,
        oracle_average_precision=_oracle(raw.truths, claims, labels, contract),
        labels=labels,
        logits=logits,
    )


def oot_claims(features: FeatureSet) -> pa.Table:
    """The labelled claims of the OOT window, without those after its end.

    Of a window with more than MAX_JUDGED_CLAIMS, that many, spread evenly over it.
    """
    window = features.split.oot
    end = pa.scalar(window.end, pa.timestamp("us", "UTC"))
    kept = []
    for batch in thinned(features, "oot", MAX_JUDGED_CLAIMS):
        inside = pc.less(batch.column(EVENT_TIME), end)
        kept.append(batch.filter(pc.and_(pc.is_valid(batch.column(LABEL)), inside)))
    claims = pa.Table.from_batches(kept) if kept else None
    frauds = pc.sum(claims.column(LABEL)).as_py() or 0 if claims else 0
    if claims is None or not 0 < frauds < claims.num_rows:
        raise SplitError(
            f"{features.contract.name}: the out-of-time window from {window.start:%F} to "
            f"{window.end:%F} has {claims.num_rows if claims else 0:,} labelled claims, {frauds:,} "
            "of them fraud; both fraud and genuine claims are needed. Move split.oot, or take "
            "more claims."
        )
    return claims


def label_maturity(features: FeatureSet, as_of: datetime) -> Maturity:
    """Younger claims count neither way: nobody can have decided them yet."""
    contract = features.contract
    end = min(features.split.oot.end, as_of - contract.label.delay + TICK)
    moment = pa.scalar(end, pa.timestamp("us", "UTC"))
    rows = labelled = 0
    for batch in window_batches(features, "oot", columns=[EVENT_TIME, LABEL]):
        label = batch.filter(pc.less(batch.column(EVENT_TIME), moment)).column(LABEL)
        rows += len(label)
        labelled += len(label) - label.null_count
    return Maturity(rows, labelled, contract.checks.label_maturity)


def _again(contract: Contract) -> str:
    by_dates = isinstance(contract.split, DateSplit)
    why = ", since the dates of its split have not moved" if by_dates else ""
    return f"this training has made the same model again{why}"


def _taken_back(plan: RunPlan, version: str) -> str | None:
    """Whoever took the version back knew more of it than these claims say."""
    move = taken_back(plan.model_uri, plan.contract.name, version)
    if move is None:
        return None
    return (
        f"this training has made {version} again, which was taken back for {move.version} on "
        f"{move.since:%F %H:%M} UTC by {move.by} ({move.reason.rstrip('.')}). "
        f"fraud-mlops models promote {version} {plan.options} has it lead again, no training does"
    )


def _doubt(maturity: Maturity) -> str | None:
    if maturity.enough:
        return None
    return (
        f"of the out-of-time claims old enough for a label {maturity.share:.0%} have one, and "
        f"checks.label_maturity asks for {maturity.limit:.0%}"
    )


def _values(column: pa.ChunkedArray) -> np.ndarray:
    return np.asarray(column.to_pandas().to_numpy(dtype=object, na_value=None))


def _oracle(
    truths: Mapping[str, str], claims: pa.Table, labels: np.ndarray, contract: Contract
) -> float | None:
    """None unless the truth of every claim is known; an id alone may name claims of two seeds."""
    if not truths:
        return None
    from fraud_mlops.synthetic.truth import true_probabilities

    values = partition_value(claims.column(EVENT_TIME), contract.partition)
    truth = np.full(claims.num_rows, np.nan)
    for uri in sorted(set(truths.values())):
        own = [value for value, at in truths.items() if at == uri]
        found = pc.is_in(values, value_set=pa.array(own, pa.string()))
        there = found.to_numpy(zero_copy_only=False)
        if there.any():
            truth[there] = true_probabilities(uri, claims.column(CLAIM_ID).filter(there))
    if np.isnan(truth).any():
        return None
    budget = contract.alerts.budget
    return evaluate(labels, truth, budget=budget)["average_precision"]
