"""What a step has published, told to whoever launched the run."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from metaflow import current  # noqa: TID253 - this file is part of the flows

from dagster_metaflow.reports import Check, Materialization, reports_folder, write_report
from flow_task import card_command, pathspec, seconds
from fraud_mlops.lakehouse.partitions import Lakehouse
from fraud_mlops.lakehouse.stores import write_bytes
from fraud_mlops.plots import to_png
from fraud_mlops.reporting.told import Told

if TYPE_CHECKING:
    from fraud_mlops.claims import IngestReport
    from fraud_mlops.claims.raw_zone import RawClaims
    from fraud_mlops.lakehouse.partitions import Partition
    from fraud_mlops.pipeline.ingesting import Periods
    from fraud_mlops.pipeline.monitoring import Monitored
    from fraud_mlops.pipeline.plan import RunPlan
    from fraud_mlops.reporting.model_artifact import Training


def raw_zone(plan: RunPlan, ingested: IngestReport, periods: Periods) -> None:
    from fraud_mlops.reporting.raw_zone import told

    _report(plan, "raw_zone", told(Lakehouse(plan.output_uri), ingested, periods), "ingest")


def model_artifact(run: Training) -> None:
    from fraud_mlops.reporting.model_artifact import told

    _report(run.plan, "model_artifact", told(run), "validate_oot")


def ml_outputs(
    plan: RunPlan, raw: RawClaims, scores: Sequence[Partition], model_version: str
) -> None:
    from fraud_mlops.reporting.ml_outputs import told

    lakehouse = Lakehouse(plan.output_uri)
    _report(plan, "ml_outputs", told(lakehouse, raw, scores, model_version), "monitor")


def metrics(plan: RunPlan, monitored: Monitored) -> None:
    from fraud_mlops.reporting.metrics import told

    _report(plan, "metrics", told(Lakehouse(plan.output_uri), plan.contract, monitored), "monitor")


def _report(plan: RunPlan, asset: str, told: Told, card_step: str) -> None:
    """card_step: the step of the same flow with the card that shows the asset."""
    common = {
        "run": pathspec(),
        "card": card_command(card_step),
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
    folder = reports_folder(plan.output_uri, current.flow_name, plan.launch_id)
    addresses = {}
    for name, figure in figures.items():
        addresses[name] = f"{folder}/{asset}-{re.sub(r'[^a-z0-9_]', '_', name)}.png"
        write_bytes(addresses[name], to_png(figure))
    return addresses
