"""Cards: what people would rather look at than read, put together from the library's plots."""

from __future__ import annotations

from typing import Any

from metaflow import current  # noqa: TID253 - this file is part of the flows
from metaflow.cards import Image, Markdown, Table  # noqa: TID253 - likewise

from fraud_mlops import plots
from fraud_mlops.claims import IngestReport
from fraud_mlops.features.build import FeatureSet
from fraud_mlops.pipeline.choosing import Choice, Decision, curves
from fraud_mlops.pipeline.closing import unkept
from fraud_mlops.pipeline.ingesting import Periods, span
from fraud_mlops.pipeline.monitoring import Monitored
from fraud_mlops.pipeline.validation import Validated
from fraud_mlops.reporting.model_artifact import bar

_SHOWN_SLICES = 40
_SHOWN_FEATURES = 15
_VERDICTS = {
    "first": "a first champion",
    "promote": "a new champion",
    "hold": "the champion stays",
}


def data(report: IngestReport, periods: Periods) -> None:
    """Claims over time, what is missing, what is in quarantine."""
    rate = "unknown" if report.fraud_rate is None else f"{report.fraud_rate:.2%}"
    facts = [
        ["claims kept", f"{report.kept:,} of {report.read:,}"],
        ["in quarantine", f"{report.quarantined:,}"],
        ["from, to", span(report).removeprefix(" from ") or "no claims"],
        ["fraud rate of labelled claims", rate],
        ["labels not known yet", f"{report.labels_not_known:,}"],
        ["of these, held back until their time", f"{report.immature_labels:,}"],
        ["labels added by later records", f"{report.labels_added:,}"],
        ["quarantine file", report.quarantine_uri or "none"],
    ]
    _show(
        "data",
        Markdown(f"# Claims: {report.contract.name}"),
        Markdown(report.contract.description),
        Table(facts),
        *[Markdown(f"- {_safe(warning)}") for warning in report.warnings],
        _image(plots.claims_over_time(periods.values, periods.claims, periods.fraud_rates)),
        _image(plots.quarantine_reasons(report.reasons)),
        _image(plots.missing_values(report.columns)),
    )


def leaderboard(choice: Choice, features: FeatureSet) -> None:
    """Who won on the validation window, and by how much."""
    rows = choice.leaderboard.rows
    names = (
        "average_precision",
        "roc_auc",
        "recall_at_1pct_fpr",
        "recall_at_5pct_fpr",
        "precision_at_budget",
        "brier",
        "calibration_error",
    )
    table = [
        [
            str(row.rank or "-"),
            row.name,
            row.family,
            *(_figure(row.metrics.get(name)) for name in names),
            _figure(row.train_seconds, ".1f"),
            _figure(row.rows_per_second, ",.0f"),
            _safe(row.error or row.status),
        ]
        for row in rows
    ]
    heads = ["rank", "candidate", "family", *(n.replace("_", " ") for n in names)]
    window = features.split.validation
    prevalence = float(choice.labels.mean())
    recall, false_alarms = curves(choice)
    _show(
        "leaderboard",
        Markdown(f"# Leaderboard: {choice.leaderboard.winner} won"),
        Markdown(
            f"Chosen by average precision on the validation window, {window.start:%F} to "
            f"{window.end:%F}: {len(choice.labels):,} claims, {int(choice.labels.sum()):,} frauds. "
            "The OOT window had no say."
        ),
        Table(table, headers=[*heads, "train s", "rows/s", "status"]),
        _image(plots.leaderboard_bars([bar(row) for row in rows])),
        _image(plots.precision_recall_curves(recall, prevalence)),
        _image(plots.roc_curves(false_alarms)),
        _image(plots.loss_curves(choice.losses)),
    )


def out_of_time(validated: Validated, features: FeatureSet, decision: Decision) -> None:
    """How good the winner is where it has never been."""
    report = validated.report
    window = features.split.oot
    months = [part for part in report.slices if part.kind == "month"]
    parts = plots.weakest_first([part for part in report.slices if part.kind == "category"])
    intervals = {k: (v.value, v.low, v.high) for k, v in report.metrics.items()}
    fraud = validated.labels == 1
    table = [
        [
            f"{_safe(part.feature)} = {_safe(part.value)}",
            f"{part.rows:,}",
            f"{part.frauds:,}",
            _figure(part.fraud_rate, ".2%"),
            _figure(part.roc_auc),
            _figure(part.average_precision),
            _figure(part.precision_of_alerts),
            _figure(part.recall_of_alerts),
        ]
        for part in parts[:_SHOWN_SLICES]
    ]
    heads = ["slice", "claims", "frauds", "fraud rate", "ROC-AUC", "AP", "precision", "recall"]
    more = len(parts) - len(table)
    _show(
        "oot",
        Markdown(f"# Out of time: {_VERDICTS[validated.gate.verdict]}"),
        Markdown(_safe(validated.gate.reason)),
        Markdown(
            f"{window.start:%F} to {window.end:%F}: {report.rows:,} labelled claims, "
            f"{report.frauds:,} frauds; {report.alerts:,} alerts ({report.alert_share:.1%})."
            + _ceiling(validated)
        ),
        *([Markdown(f"**Note:** {silent}.")] if (silent := decision.threshold.silent) else []),
        *(Markdown(f"**Note:** {note}") for note in unkept(features.contract, report)),
        _image(plots.metric_intervals(intervals)),
        _image(plots.reliability(report.reliability)),
        _image(
            plots.score_histogram(
                validated.logits[~fraud], validated.logits[fraud], decision.threshold.value
            )
        ),
        _image(
            plots.by_month(
                [m.value for m in months],
                [m.average_precision for m in months],
                [m.precision_of_alerts for m in months],
                [m.fraud_rate for m in months],
            )
        ),
        _image(plots.slice_forest(parts, report.metrics["roc_auc"].value)),
        Table(table, headers=heads),
        *([Markdown(f"{more:,} more slices are in the manifest.")] if more else []),
    )


def _ceiling(validated: Validated) -> str:
    best = validated.oracle_average_precision
    if best is None:
        return ""
    share = validated.report.metrics["average_precision"].value / best
    return f" The best possible average precision is {best:.3f}; this is {share:.0%} of it."


def drift(monitored: Monitored, features: FeatureSet) -> None:
    """What has moved since training."""
    components: list[Any] = [Markdown("# Drift against the training window")]
    for report in monitored.drift:
        components += [
            Markdown(f"## {report.window}: {report.verdict}"),
            *[Markdown(f"- {_safe(reason)}") for reason in report.reasons],
            _image(plots.drift_bars(report.features, features.contract.drift)),
        ]
        order = sorted(report.features, key=lambda f: (f.verdict == "not whole", -(f.psi or 0)))
        moved = order[:_SHOWN_FEATURES]
        rows = [
            [
                _safe(f.feature),
                f.kind,
                _figure(f.psi),
                _figure(f.ks),
                _figure(f.js),
                _figure(f.missing_reference, ".1%"),
                _figure(f.missing_current, ".1%"),
                f.verdict,
            ]
            for f in ([report.score] if report.score else []) + moved
        ]
        heads = ["feature", "kind", "PSI", "KS", "JS", "missing, training", "missing, now"]
        components.append(Table(rows, headers=[*heads, "verdict"]))
    components += [
        Markdown("## Performance on labels known by now"),
        _image(plots.performance_over_time(monitored.outcomes.performance)),
    ]
    _show("drift", *components)


def _show(card: str, *components: Any) -> None:
    current.card[card].extend(components)


def _image(figure: Any) -> Image:
    return Image(plots.to_png(figure))


def _figure(value: float | None, form: str = ".3f") -> str:
    return "-" if value is None else format(value, form)


def _safe(text: str) -> str:
    """Values from the data must not become markup."""
    return text.replace("<", "&lt;").replace(">", "&gt;")
