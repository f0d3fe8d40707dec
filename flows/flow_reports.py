"""What a run has published, told to whoever launched it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from metaflow import current  # noqa: TID253 - this file is part of the flows

from dagster_metaflow.reports import Check, Materialization, write_report
from fraud_mlops.claims import IngestReport, raw_schema
from fraud_mlops.features.build import FeatureSet
from fraud_mlops.lakehouse.partitions import Partition
from fraud_mlops.pipeline.metrics import METRICS
from fraud_mlops.pipeline.monitoring import Monitored
from fraud_mlops.pipeline.plan import RunPlan
from fraud_mlops.pipeline.scoring import OUTPUTS
from fraud_mlops.pipeline.validation import Validated
from fraud_mlops.registry.bundle import Manifest


def raw(plan: RunPlan, ingested: IngestReport) -> None:
    bad = ingested.quarantined / ingested.read
    facts = {"contract_version": plan.contract.version, "quarantined": ingested.quarantined}
    check = Check(
        name="contract",
        passed=True,
        metadata={"read": ingested.read, "bad_share": bad, "reasons": ingested.reasons},
    )
    schema = _columns(raw_schema(ingested.contract))
    _report(plan, "raw", _partitions(ingested.partitions, schema, facts), [check])


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
    _report(plan, "ml_outputs", _partitions(scores, _columns(OUTPUTS), facts), [check])


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
    _report(plan, "metrics", made, checks)


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
    _report(
        plan, "model", [Materialization(data_version=manifest.version, metadata=facts)], [check]
    )


def dagster_run_id() -> str | None:
    """Of the Dagster run that launched this one: it says so in a tag."""
    prefix = "dagster_run_id:"
    found = [tag.removeprefix(prefix) for tag in current.tags if tag.startswith(prefix)]
    return found[0] if found else None


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


def _report(
    plan: RunPlan, asset: str, made: Sequence[Materialization], checks: Sequence[Check]
) -> None:
    key = [plan.contract.name, asset]
    write_report(plan.output_uri, current.flow_name, plan.launch_id, key, made, checks, run=_task())
