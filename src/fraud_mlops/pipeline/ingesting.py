"""Claims into the raw zone, and features out of it."""

from __future__ import annotations

from typing import NamedTuple

import pyarrow.compute as pc

from fraud_mlops.claims import IngestReport
from fraud_mlops.claims import ingest as ingest_claims
from fraud_mlops.contract import LABEL
from fraud_mlops.features.build import FeatureSet, build_features
from fraud_mlops.lakehouse.partitions import Lakehouse
from fraud_mlops.pipeline.plan import RunPlan


def ingest(plan: RunPlan) -> IngestReport:
    """Reads the plan's source into the raw zone, and says what it found."""
    report = ingest_claims(
        plan.contract,
        Lakehouse(plan.output_uri),
        launch_id=plan.launch_id,
        as_of=plan.as_of,
        sample_size=plan.sample_size,
        seed=plan.source_seed,
        run=plan.run,
    )
    print(
        f"{report.kept:,} claims from {report.first_event:%F} to {report.last_event:%F}, "
        f"{report.quarantined:,} in quarantine, {report.immature_labels:,} labels not known yet"
    )
    for warning in report.warnings:
        print(f"note: {warning}")
    return report


class Periods(NamedTuple):
    """Claims and fraud rate of each partition; the rate is None where no label is known."""

    values: list[str]
    claims: list[int]
    fraud_rates: list[float | None]


def periods(plan: RunPlan, ingested: IngestReport) -> Periods:
    """What the data card shows over time."""
    lakehouse = Lakehouse(plan.output_uri)
    rates = [
        pc.mean(lakehouse.read([partition], [LABEL]).column(LABEL)).as_py()
        for partition in ingested.partitions
    ]
    values = [partition.value for partition in ingested.partitions]
    return Periods(values, [partition.rows for partition in ingested.partitions], rates)


def prepare(plan: RunPlan, ingested: IngestReport) -> FeatureSet:
    """Builds the features of the partitions that this run has written."""
    features = build_features(
        ingested.contract,
        Lakehouse(plan.output_uri),
        ingested.partitions,
        launch_id=plan.launch_id,
        as_of=plan.as_of,
    )
    for name, file in features.windows.items():
        print(f"{name}: {file.rows:,} claims, {file.labelled:,} labelled, {file.frauds:,} frauds")
    return features
