"""What a person wants to know when a run has ended."""

from __future__ import annotations

from collections.abc import Sequence

from fraud_mlops.claims.report import IngestReport
from fraud_mlops.contract import Contract
from fraud_mlops.evaluation.oot import OotReport
from fraud_mlops.lakehouse.partitions import Partition
from fraud_mlops.monitoring.drift_report import DriftReport
from fraud_mlops.pipeline.monitoring import Monitored
from fraud_mlops.pipeline.plan import RunPlan
from fraud_mlops.pipeline.validation import Validated
from fraud_mlops.words import counted, share_of

_WINDOWS = {"oot": "out of time", "after_oot": "later claims"}
_SHOWN = ("average_precision", "roc_auc", "precision_at_budget", "recall_at_budget")


def closing_words(
    plan: RunPlan,
    ingested: IngestReport,
    validated: Validated,
    scores: Sequence[Partition],
    monitored: Monitored,
    card: str,
    silent: str | None = None,
) -> str:
    """Verdict, figures, places, and what to do next.

    card: the command that shows it. silent: of the threshold, why it alerts nobody.
    """
    return "\n".join(
        [
            *_judged(plan, validated),
            *_nobody(silent),
            *_of_the_champion(plan, validated),
            *(_drift(measured) for measured in monitored.drift),
            f"Claims  {ingested.kept:,} kept, {ingested.quarantined:,} in quarantine",
            _scored(plan, scores, validated.version if validated.promoted else plan.champion),
            _model(plan, validated),
            "",
            _next_scores(plan),
            _next_card(card),
        ]
    )


def words_of_training(
    plan: RunPlan, validated: Validated, card: str, silent: str | None = None
) -> str:
    """What a training has come to, and what to do next. card, silent: as of `closing_words`."""
    return "\n".join(
        [
            *_judged(plan, validated),
            *_nobody(silent),
            *_of_the_champion(plan, validated),
            _model(plan, validated),
            "",
            f"Next:   python flows/scoring_flow.py run {plan.options}",
            _next_card(card),
        ]
    )


def words_of_scoring(
    plan: RunPlan, scores: Sequence[Partition], monitored: Monitored | None, card: str
) -> str:
    """What a scoring has written, and what to do next. card: the command that shows it."""
    wanted = plan.partitions
    named = f", {wanted.first} to {wanted.last}" if wanted else ""
    return "\n".join(
        [
            "",
            f"{plan.contract.name}: {counted(len(scores), 'partition')}{named}, by {plan.champion}",
            *(_drift(measured) for measured in (monitored.drift if monitored else ())),
            _scored(plan, scores, plan.champion),
            "",
            _next_scores(plan),
            *([_next_card(card)] if monitored else []),
        ]
    )


def _judged(plan: RunPlan, validated: Validated) -> list[str]:
    report = validated.report
    figures = [
        f"  {name.replace('_', ' '):22} {found.value:.3f}  ({found.low:.3f} to {found.high:.3f})"
        for name in _SHOWN
        if (found := report.metrics.get(name)) is not None
    ]
    if validated.oracle_average_precision is not None:
        figures.append(f"  {'best possible':22} {validated.oracle_average_precision:.3f}")
    whose = ", of the challenger" if validated.challenges else ""
    return [
        "",
        f"{plan.contract.name}: {validated.gate.reason}",
        f"Out of time, {counted(report.rows, 'claim')} with {counted(report.frauds, 'fraud')} "
        f"(95 % interval){whose}:",
        *figures,
        *_notes(validated, [*_no_better_than_chance(report), *unkept(plan.contract, report)]),
    ]


def _notes(validated: Validated, notes: Sequence[str]) -> list[str]:
    """Of the model that was judged, which is named where another one scores."""
    whose = f"{validated.version}, the challenger: " if validated.challenges else ""
    return [f"Note    {whose}{note}" for note in notes]


def _of_the_champion(plan: RunPlan, validated: Validated) -> list[str]:
    """Where it goes on scoring: what its threshold does with these claims, and whether it is of
    the alerts that the contract asks for now."""
    champion = validated.standing
    if champion is None or not validated.challenges:
        return []
    contract, alerted = plan.contract, share_of(champion.alert_share)
    if champion.renewed:
        notes = [
            f"{champion.renewed}, and its threshold is of before: of claims out of time it alerts "
            f"{alerted}. That of the challenger is new; to have it lead in spite of the verdict: "
            f"fraud-mlops models promote challenger {plan.options}"
        ]
    else:
        notes = _unkept(contract, champion.alert_share, champion.calibration_error)
        notes += [f"{champion.silent}."] if champion.silent else []
    return [f"Note    {champion.version}, which scores: {note}" for note in notes]


def _scored(plan: RunPlan, scores: Sequence[Partition], version: str | None) -> str:
    rows = sum(partition.rows for partition in scores)
    return f"Scores  {rows:,} in {plan.output_uri}/ml_outputs/{plan.contract.name}, by {version}"


def _model(plan: RunPlan, validated: Validated) -> str:
    role = ", the challenger" if validated.challenges else ""
    return f"Model   {validated.version} in {plan.model_uri}/{plan.contract.name}{role}"


def _next_scores(plan: RunPlan) -> str:
    return f"Next:   fraud-mlops scores {plan.lake_options} --alerts"


def _next_card(command: str) -> str:
    return f"        {command}"


def _nobody(silent: str | None) -> list[str]:
    return [f"Note    {silent}."] if silent else []


def _no_better_than_chance(report: OotReport) -> list[str]:
    found = report.metrics.get("roc_auc")
    if found is None or found.low > 0.5:
        return []
    return [
        "these scores may be no better than chance: the interval of ROC-AUC reaches 0.5. "
        "Look for columns that tell more, or take more claims."
    ]


def unkept(contract: Contract, report: OotReport) -> list[str]:
    """What of threshold and calibration, chosen on validation claims, does not hold out of time.

    Both are of the network that was judged; the one that is published has learnt from those too.
    """
    return _unkept(contract, report.alert_share, report.metrics["calibration_error"].value)


def _unkept(contract: Contract, alert_share: float, error: float) -> list[str]:
    checks, budget = contract.checks, contract.alerts.budget
    told = []
    if alert_share > budget * (1 + checks.budget_tolerance):
        told.append(
            f"of claims out of time {share_of(alert_share)} are alerted, and the budget is "
            f"{share_of(budget)}. Take the first of the ranking, a smaller alerts.budget, or more "
            "claims to train on."
        )
    if error > checks.calibration_error:
        told.append(
            f"probabilities are off by {error:.3f} on average out of time (calibration error), "
            f"more than checks.calibration_error = {checks.calibration_error:g}: they rank claims, "
            "and are not to be taken at their word."
        )
    return told


def _drift(measured: DriftReport) -> str:
    why = "" if measured.verdict == "stable" else f": {measured.reasons[0]}"
    of = f"{measured.apart} of {len(measured.features)} features"
    apart = f" ({of}, of histories or seasons not whole, are not judged)" if measured.apart else ""
    return f"Drift   {_WINDOWS[measured.window]}{apart}: {measured.verdict}{why}"
