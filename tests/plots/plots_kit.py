"""What figures are drawn of, and what can be read from one that is drawn."""

from __future__ import annotations

from typing import Any

from fraud_mlops.claims.report import ColumnProfile
from fraud_mlops.evaluation.oot import ReliabilityBin, Slice
from fraud_mlops.monitoring.drift_report import FeatureDrift
from fraud_mlops.monitoring.performance import PeriodPerformance

PNG = b"\x89PNG\r\n\x1a\n"


def title(figure: Any) -> str:
    return " ".join(figure.get_suptitle().split())


def bar_lengths(axes: Any) -> list[float]:
    """Of horizontal bars, from the top down."""
    bars = sorted(axes.patches, key=lambda bar: bar.get_y())
    return [bar.get_width() for bar in bars]


def row_names(axes: Any) -> list[str]:
    return [text.get_text() for text in axes.get_yticklabels()]


def line(axes: Any, name: str) -> Any:
    [found] = [drawn for drawn in axes.get_lines() if drawn.get_label() == name]
    return found


def legend(axes: Any) -> list[str]:
    return [text.get_text() for text in axes.get_legend().get_texts()]


def size(png: bytes) -> tuple[int, int]:
    return int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big")


def column(name: str, missing: float) -> ColumnProfile:
    return ColumnProfile(name=name, kind="number", missing=missing)


def candidate(name: str, ap: float | None, status: str = "trained") -> dict[str, Any]:
    return {"name": name, "family": "tabm", "status": status, "average_precision": ap}


def part(
    value: str,
    auc: float | None,
    rows: int = 500,
    feature: str = "peril",
    ap: float | None = 0.3,
) -> Slice:
    return Slice(
        kind="category",
        feature=feature,
        value=value,
        rows=rows,
        frauds=rows // 10,
        alerts=5,
        average_precision=ap,
        roc_auc=auc,
        precision_of_alerts=None,
        recall_of_alerts=None,
        mean_probability=0.1,
        fraud_rate=0.1,
    )


def reliability_bin(predicted: float, observed: float) -> ReliabilityBin:
    return ReliabilityBin(
        rows=100,
        frauds=int(100 * observed),
        probability_low=predicted,
        probability_high=predicted,
        mean_probability=predicted,
        fraud_rate=observed,
        fraud_rate_low=max(0, observed - 0.05),
        fraud_rate_high=observed + 0.05,
    )


def feature(name: str, psi: float | None, verdict: str = "stable") -> FeatureDrift:
    return FeatureDrift(
        feature=name,
        kind="numeric",
        psi=psi,
        psi_expected=None if psi is None else 0.01,
        psi_noise=None if psi is None else 0.02,
        missing_reference=0,
        missing_current=0,
        verdict=verdict,  # type: ignore[arg-type]
    )


def month(name: str, rows: int, labelled: int, precision: float | None) -> PeriodPerformance:
    return PeriodPerformance(
        period=name,
        rows=rows,
        labelled=labelled,
        frauds=labelled // 10,
        alerts=rows // 20,
        labelled_alerts=labelled // 20,
        precision_of_alerts=precision,
        recall_of_alerts=precision,
        value_detected=None,
        average_precision=precision,
    )
