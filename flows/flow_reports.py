"""What a step has published, told to whoever launched the run."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from metaflow import current  # noqa: TID253 - this file is part of the flows

from dagster_metaflow.reports import Check, Materialization, write_report
from flow_task import card_command, pathspec, seconds
from fraud_mlops.claims import IngestReport
from fraud_mlops.features.build import FeatureSet
from fraud_mlops.lakehouse.partitions import Lakehouse, Partition
from fraud_mlops.lakehouse.stores import write_bytes
from fraud_mlops.pipeline.ingesting import Periods
from fraud_mlops.pipeline.metrics import METRICS
from fraud_mlops.pipeline.monitoring import Monitored
from fraud_mlops.pipeline.plan import RunPlan
from fraud_mlops.pipeline.scoring import OUTPUTS
from fraud_mlops.pipeline.validation import Validated
from fraud_mlops.plots import to_png
from fraud_mlops.registry.bundle import Manifest
from fraud_mlops.reporting.told import Told


def raw_zone(plan: RunPlan, ingested: IngestReport, periods: Periods) -> None:
    from fraud_mlops.reporting.raw_zone import told

    _report(plan, "raw_zone", told(Lakehouse(plan.output_uri), ingested, periods))


def _report(plan: RunPlan, asset: str, told: Told) -> None:
    common = {
        "run": pathspec(),
        "card": card_command(),
        "plots": _drawn(plan, asset, told.figures),
        "duration_seconds": round(seconds(), 3),
    }
    made = [
        Materialization(
            data_version=part.data_version, partition=part.partition, metadata=part.facts | common
        )
        for part in told.published
    ]
    checks = [
        Check(name=f.name, passed=f.passed, severity=f.severity, metadata=f.facts)
        for f in told.findings
    ]
    key = [plan.contract.name, asset]
    write_report(
        plan.output_uri, current.flow_name, plan.launch_id, key, made, checks, run=pathspec()
    )


def _drawn(plan: RunPlan, asset: str, figures: Mapping[str, Any]) -> dict[str, str]:
    """The figures as PNG files beside the reports; their addresses by name."""
    folder = f"{plan.output_uri}/_reports/{current.flow_name}/{plan.launch_id}"
    addresses = {}
    for name, figure in figures.items():
        addresses[name] = f"{folder}/{asset}-{re.sub(r'[^a-z0-9_]', '_', name)}.png"
        write_bytes(addresses[name], to_png(figure))
    return addresses


def ml_outputs(
    plan: RunPlan, features: FeatureSet, validated: Validated, scores: Sequence[Partition]
) -> None:
    rows = sum(p.rows for p in scores)
    expected = features.windows["oot"].rows
    check = Check(
        name="every_claim_scored",
        passed=rows == expected,
        metadata={"scored": rows, "claims": expected},
    )
    facts = {"model_version": validated.version if validated.promoted else plan.champion}
    _old_report(plan, "ml_outputs", _partitions(scores, _columns(OUTPUTS), facts), [check])


def metrics(plan: RunPlan, monitored: Monitored) -> None:
    checks = [
        Check(
            name=f"drift_{report.window}",
            passed=report.verdict != "drift",
            severity="WARN",
            metadata={"verdict": report.verdict, "reasons": list(report.reasons)},
        )
        for report in monitored.drift
    ]
    made = _partitions(monitored.partitions, _columns(METRICS), {})
    _old_report(plan, "metrics", made, checks)


def model(plan: RunPlan, manifest: Manifest, validated: Validated) -> None:
    facts = {
        "uri": f"{plan.model_uri}/{manifest.dataset}/{manifest.version}",
        "model_version": manifest.version,
        "bytes": sum(file.bytes for file in manifest.files.values()),
        "verdict": validated.gate.verdict,
        "reason": validated.gate.reason,
        "run": _task(),
        **{name: interval["value"] for name, interval in manifest.metrics.items()},
    }
    check = Check(
        name="oot_window_untouched",
        passed=manifest.trained_until <= validated.report.window.start,
        metadata={"trained_until": manifest.trained_until.isoformat()},
    )
    _old_report(
        plan,
        "model_artifact",
        [Materialization(data_version=manifest.version, metadata=facts)],
        [check],
    )


def _partitions(
    partitions: Sequence[Partition], schema: Mapping[str, str], facts: Mapping[str, Any]
) -> list[Materialization]:
    return [
        Materialization(
            data_version=p.data_version,
            partition=p.value,
            metadata={
                "uri": p.uri,
                "rows": p.rows,
                "bytes": p.bytes,
                "schema": dict(schema),
                "run": _task(),
                **facts,
            },
        )
        for p in partitions
    ]


def _columns(schema: Any) -> dict[str, str]:
    return {field.name: str(field.type) for field in schema}


def _task() -> str:
    return f"{current.flow_name}/{current.run_id}/{current.step_name}/{current.task_id}"


def _old_report(
    plan: RunPlan, asset: str, made: Sequence[Materialization], checks: Sequence[Check]
) -> None:
    key = [plan.contract.name, asset]
    write_report(plan.output_uri, current.flow_name, plan.launch_id, key, made, checks, run=_task())
