"""What is told of a model: how good it is, what it is made of, and what it won against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fraud_mlops import plots
from fraud_mlops.evaluation.leaderboard import LeaderboardRow
from fraud_mlops.features.build import FeatureSet
from fraud_mlops.models.training_log import TrainingLog
from fraud_mlops.pipeline.choosing import Choice, curves
from fraud_mlops.pipeline.plan import RunPlan
from fraud_mlops.pipeline.validation import Validated
from fraud_mlops.registry.bundle import Manifest
from fraud_mlops.reporting.told import SAMPLE_ROWS, Facts, Finding, Published, Told


@dataclass(frozen=True)
class Training:
    """Everything a run knows of the model it has published.

    leading: the version that leads now, which may be another; None where none does.
    """

    plan: RunPlan
    features: FeatureSet
    choice: Choice
    refitted: TrainingLog
    validated: Validated
    manifest: Manifest
    leading: str | None


def told(run: Training) -> Told:
    report = run.validated.report
    recall, _ = curves(run.choice)
    prevalence = float(run.choice.labels.mean())
    facts = _metrics(run.validated) | _place(run) | _experiment(run)
    # What is downstream is made with the model that leads: a challenger changes nothing there, also
    # where the champion was withdrawn meanwhile.
    version = run.leading or run.plan.champion or run.manifest.version
    return Told(
        published=(Published(data_version=version, facts=facts),),
        findings=(
            _untouched(run),
            _label_maturity(run.validated),
            _average_precision(run),
            _calibration(run),
        ),
        figures={
            "leaderboard": plots.leaderboard_bars([bar(r) for r in run.choice.leaderboard.rows]),
            "precision_recall": plots.precision_recall_curves(recall, prevalence),
            "calibration": plots.reliability(report.reliability),
        },
    )


def bar(row: LeaderboardRow) -> dict[str, Any]:
    """A row as `plots.leaderboard_bars` takes it."""
    return {
        "name": row.name,
        "family": row.family,
        "status": row.status,
        "average_precision": row.metrics.get("average_precision"),
    }


def _place(run: Training) -> Facts:
    manifest, features, gate = run.manifest, run.features, run.validated.gate
    windows = features.windows
    return {
        "uri": f"{run.plan.model_uri}/{manifest.dataset}/{manifest.version}",
        "rows": windows["train"].labelled + windows["validation"].labelled,
        "bytes": sum(file.bytes for file in manifest.files.values()),
        "schema": dict.fromkeys(features.numeric, "number")
        | dict.fromkeys(features.categorical, "category"),
        "sample": [_candidate(row) for row in run.choice.leaderboard.rows[:SAMPLE_ROWS]],
        "model_version": manifest.version,
        "trained_until": manifest.trained_until.isoformat(),
        "verdict": gate.verdict,
        "reason": gate.reason,
        "promoted": run.validated.promoted,
        "champion_before": run.plan.champion,
        "champion": run.leading,
        "raw_partitions": len(manifest.data_versions),
    }


def _candidate(row: LeaderboardRow) -> Facts:
    names = ("average_precision", "roc_auc", "precision_at_budget", "calibration_error")
    return {
        "rank": row.rank,
        "name": row.name,
        "family": row.family,
        "status": row.status,
        **{name: row.metrics.get(name) for name in names},
        "train_seconds": row.train_seconds,
    }


def _experiment(run: Training) -> Facts:
    rows = run.choice.leaderboard.rows
    winner = next(
        row for row in rows if row.status == "trained" and row.name == run.choice.winner.name
    )
    return {
        "winner": winner.name,
        "family": winner.family,
        "hyper_parameters": winner.params,
        "seed": winner.seed,
        "train_seconds": winner.train_seconds,
        "rows_per_second": winner.rows_per_second,
        "candidates_trained": sum(row.status == "trained" for row in rows),
        "candidates_failed": sum(row.status == "failed" for row in rows),
        **{f"validation_{name}": value for name, value in winner.metrics.items()},
    }


def _metrics(validated: Validated) -> Facts:
    """Out of time, as plain numbers under their own names, so that they can be drawn over runs."""
    report = validated.report
    facts: Facts = {}
    for name, interval in report.metrics.items():
        facts |= {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}
    best = validated.oracle_average_precision
    return facts | {
        "alert_share": report.alert_share,
        "fraud_rate": report.frauds / report.rows,
        "oot_claims": report.rows,
        "oot_frauds": report.frauds,
        "precision_of_alerts": report.precision_of_alerts,
        "recall_of_alerts": report.recall_of_alerts,
        "value_detected": report.value_detected,
        **({"oracle_average_precision": best} if best is not None else {}),
    }


def _untouched(run: Training) -> Finding:
    """By the claims that the model was given, whatever the split says that it should be."""
    start = run.validated.report.window.start
    last = {"last_event": run.refitted.last_event, "last_label": run.refitted.last_label}
    return Finding(
        "oot_window_untouched",
        passed=all(moment is not None and moment < start for moment in last.values()),
        facts={
            "oot_start": start.isoformat(),
            **{name: moment.isoformat() if moment else None for name, moment in last.items()},
        },
    )


def _label_maturity(validated: Validated) -> Finding:
    """What is judged must not be the quickly decided only.

    Where too few have a label the champion stays; a first model leads all the same.
    """
    found = validated.maturity
    return Finding(
        "label_maturity",
        passed=found.enough,
        facts={
            "share": found.share,
            "limit": found.limit,
            "old_enough": found.old_enough,
            "labelled": found.labelled,
        },
    )


def _named(run: Training) -> str:
    """A model that does not lead harms nobody yet, and whoever hears of it should know."""
    version = run.manifest.version
    return f"{version}, which {'leads' if version == run.leading else 'does not lead'}"


def _average_precision(run: Training) -> Finding:
    report = run.validated.report
    found, rate = report.metrics["average_precision"], report.frauds / report.rows
    return Finding(
        "oot_average_precision",
        passed=found.low > rate,
        severity="WARN",
        facts={
            "reason": f"average precision {found.value:.3f} (at least {found.low:.3f}) out of time "
            f"of {_named(run)}; by chance it is the fraud rate, {rate:.3f}",
            "value": found.value,
            "low": found.low,
            "high": found.high,
            "base_rate": rate,
        },
    )


def _calibration(run: Training) -> Finding:
    limit = run.features.contract.checks.calibration_error
    found = run.validated.report.metrics["calibration_error"]
    return Finding(
        "calibration",
        passed=found.value <= limit,
        severity="WARN",
        facts={
            "reason": f"calibration error {found.value:.4f} out of time of {_named(run)}; "
            f"at most {limit:g} should be",
            "calibration_error": found.value,
            "limit": limit,
            "method": run.choice.decision.calibration.kind,
        },
    )
