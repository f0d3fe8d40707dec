"""What a person wants to know when a run has ended."""

from __future__ import annotations

from collections.abc import Sequence

from fraud_mlops.claims.report import IngestReport
from fraud_mlops.evaluation.oot import OotReport
from fraud_mlops.lakehouse.partitions import Partition
from fraud_mlops.monitoring.drift import DriftReport
from fraud_mlops.pipeline.monitoring import Monitored
from fraud_mlops.pipeline.plan import RunPlan
from fraud_mlops.pipeline.validation import Validated

_WINDOWS = {"oot": "out of time", "after_oot": "later claims"}
_SHOWN = ("average_precision", "roc_auc", "precision_at_budget", "recall_at_budget")


def closing_words(
    plan: RunPlan,
    ingested: IngestReport,
    validated: Validated,
    scores: Sequence[Partition],
    monitored: Monitored,
) -> str:
    """Verdict, figures, places, and what to do next."""
    report = validated.report
    figures = [
        f"  {name.replace('_', ' '):22} {found.value:.3f}  ({found.low:.3f} to {found.high:.3f})"
        for name in _SHOWN
        if (found := report.metrics.get(name)) is not None
    ]
    if validated.oracle_average_precision is not None:
        figures.append(f"  {'best possible':22} {validated.oracle_average_precision:.3f}")
    dataset = plan.contract.name
    return "\n".join(
        [
            "",
            f"{dataset}: {validated.gate.reason}",
            f"Out of time, {report.rows:,} claims with {report.frauds:,} frauds (95 % interval):",
            *figures,
            *_no_better_than_chance(report),
            *(_drift(measured) for measured in monitored.drift),
            f"Claims  {ingested.kept:,} kept, {ingested.quarantined:,} in quarantine",
            f"Scores  {sum(p.rows for p in scores):,} in {plan.output_uri}/ml_outputs/{dataset}",
            f"Model   {validated.version} in {plan.model_uri}/{dataset}",
            "",
            f"Next:   fraud-mlops scores --dataset {dataset} --alerts",
            f"        python flows/fraud_detection_flow.py card view {plan.run.rpartition('/')[2]}"
            "/validate_oot",
        ]
    )


def _no_better_than_chance(report: OotReport) -> list[str]:
    found = report.metrics.get("roc_auc")
    if found is None or found.low > 0.5:
        return []
    return [
        "Note    these scores may be no better than chance: the interval of ROC-AUC reaches 0.5. "
        "Look for columns that tell more, or take more claims."
    ]


def _drift(measured: DriftReport) -> str:
    why = "" if measured.verdict == "stable" else f": {measured.reasons[0]}"
    return f"Drift   {_WINDOWS[measured.window]}: {measured.verdict}{why}"
