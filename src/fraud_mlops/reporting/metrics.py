"""What is told of the metrics."""

from __future__ import annotations

from fraud_mlops import plots
from fraud_mlops.contract import Contract
from fraud_mlops.lakehouse.partitions import Lakehouse
from fraud_mlops.pipeline.metrics import METRICS
from fraud_mlops.pipeline.monitoring import Monitored
from fraud_mlops.pipeline.outcomes import Outcomes
from fraud_mlops.reporting.told import NEWEST, Facts, Finding, Told, published_partitions
from fraud_mlops.words import counted, share_of

_JUDGED = "average_precision"


def told(lakehouse: Lakehouse, contract: Contract, monitored: Monitored) -> Told:
    figures = {
        f"drift_{report.window}": plots.drift_bars(report.features, contract.drift)
        for report in monitored.drift
    }
    figures["performance"] = plots.performance_over_time(monitored.outcomes.performance)
    return Told(
        published=published_partitions(
            lakehouse, monitored.partitions, METRICS, _by_partition(monitored)
        ),
        findings=(
            _drift(monitored),
            _label_maturity(contract, monitored),
            _performance(contract, monitored),
        ),
        figures=figures,
    )


def _by_partition(monitored: Monitored) -> dict[str, Facts]:
    """Figures that an orchestrator draws over partitions; windows stand in the last one."""
    outcomes = monitored.outcomes
    facts: dict[str, Facts] = {p.value: {} for p in monitored.partitions}
    for period in outcomes.performance:
        told = period.model_dump(exclude={"period", "rows"})
        told["claims"] = period.rows
        told["alert_share"] = period.alerts / period.rows
        told["fraud_rate"] = period.frauds / period.labelled if period.labelled else None
        facts[period.period] |= told
    for value, report in outcomes.drift.items():
        score = report.score.psi if report.score else None
        facts[value] |= {"drifted_share": report.drifted_share, "score_psi": score}
    if outcomes.performance:
        facts[outcomes.performance[-1].period] |= _of_windows(monitored)
    return {value: told | {"model_version": monitored.version} for value, told in facts.items()}


def _of_windows(monitored: Monitored) -> Facts:
    facts: Facts = {"daily_precision_at_budget": monitored.outcomes.daily_precision}
    for report in monitored.drift:
        facts[f"classifier_auc_{report.window}"] = report.classifier_auc
        facts[f"drifted_share_{report.window}"] = report.drifted_share
        facts["classifier_auc"] = report.classifier_auc
    for name, found in monitored.outcomes.later.items():
        facts[f"{name}_after_oot"] = found.value
    return facts


def _newest(monitored: Monitored) -> str | None:
    """Of those that have claims."""
    performance = monitored.outcomes.performance
    return performance[-1].period if performance else None


def _drift(monitored: Monitored) -> Finding:
    """Not measured is not stable: without a reference a person has to look."""
    reports = monitored.drift
    drifted = [report.window for report in reports if report.verdict == "drift"]
    measured = bool(reports) or bool(monitored.outcomes.drift)
    measured |= not monitored.outcomes.performance
    aucs = [r.classifier_auc for r in reports if r.classifier_auc is not None]
    shares = [r.drifted_share for r in reports if r.drifted_share is not None]
    reasons = [f"{r.window}: {reason}" for r in reports for reason in r.reasons]
    if not measured:
        reasons = [f"model {monitored.version} carries no claims of its training to compare with"]
    return Finding(
        "drift",
        passed=measured and not drifted,
        severity="WARN",
        facts={
            NEWEST: _newest(monitored),
            "verdicts": {report.window: report.verdict for report in reports},
            "reasons": reasons,
            "reason": "; ".join(reasons[:3]) or None,
            "classifier_auc": max(aucs, default=None),
            "drifted_share": max(shares, default=None),
        },
    )


def _label_maturity(contract: Contract, monitored: Monitored) -> Finding:
    outcomes, limit = monitored.outcomes, contract.checks.label_maturity
    share = outcomes.known / outcomes.old_enough if outcomes.old_enough else None
    return Finding(
        "label_maturity",
        passed=share is None or share >= limit,
        severity="WARN",
        facts={
            NEWEST: outcomes.matured,
            "reason": _maturity_in_words(outcomes, limit),
            "share": share,
            "limit": limit,
            "old_enough": outcomes.old_enough,
            "labelled": outcomes.known,
        },
    )


def _maturity_in_words(outcomes: Outcomes, limit: float) -> str:
    if not outcomes.old_enough:
        return "no claim is old enough for a label yet"
    return (
        f"{outcomes.known:,} of {counted(outcomes.old_enough, 'claim')} old enough for a label "
        f"have one, {share_of(outcomes.known / outcomes.old_enough)}; "
        f"at least {share_of(limit)} should"
    )


def _performance(contract: Contract, monitored: Monitored) -> Finding:
    """Decayed: what came after the OOT window lies, interval and all, below the OOT interval.

    At the OOT window's fraud rate: average precision falls with the rate, whatever the model does.
    """
    outcomes = monitored.outcomes
    later = outcomes.later.get(_JUDGED)
    promised = monitored.oot.metrics.get(_JUDGED) if monitored.oot else None
    facts: Facts = {
        NEWEST: _newest(monitored),
        "metric": _JUDGED,
        "labelled_claims": outcomes.later_claims,
        "labelled_frauds": outcomes.later_frauds,
        "needed_frauds": contract.checks.performance_frauds,
        "value": later.value if later else None,
        "high": later.high if later else None,
        "oot_value": promised.value if promised else None,
        "oot_low": promised.low if promised else None,
    }
    enough = outcomes.later_frauds >= contract.checks.performance_frauds
    if not enough or later is None or promised is None:
        facts[NEWEST] = None
        facts["reason"] = "too few labelled frauds after the out-of-time window to judge by"
        return Finding("performance", passed=True, severity="WARN", facts=facts)
    passed = later.high >= promised.low
    since = "lies within" if passed else "has fallen below"
    facts["reason"] = (
        f"{_JUDGED} {later.value:.3f} (at most {later.high:.3f}) on {outcomes.later_frauds} frauds "
        f"since, at the fraud rate out of time, {since} what the model promised then, "
        f"{promised.value:.3f} (at least {promised.low:.3f})"
    )
    return Finding("performance", passed=passed, severity="WARN", facts=facts)
