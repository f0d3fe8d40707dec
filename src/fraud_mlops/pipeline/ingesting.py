"""Claims into the raw zone, and features out of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

import pyarrow.compute as pc

from fraud_mlops.claims import IngestReport
from fraud_mlops.claims import ingest as ingest_claims
from fraud_mlops.claims.raw_zone import RawClaims
from fraud_mlops.claims.schema import require_seasonal
from fraud_mlops.contract import LABEL
from fraud_mlops.features.build import FeatureSet, build_features
from fraud_mlops.lakehouse.partitions import Lakehouse
from fraud_mlops.pipeline.comparable import require_comparable
from fraud_mlops.pipeline.plan import RunPlan
from fraud_mlops.sources import SyntheticSource
from fraud_mlops.spark.choice import on_spark
from fraud_mlops.words import counted


def as_of_reading(plan: RunPlan) -> RunPlan:
    """The plan as of now, when its source is about to be read, unless a time was given.

    A run that is resumed days after it was begun would else take the claims and labels that came
    meanwhile for mistakes. Generated claims end when they end.
    """
    if plan.hindsight or isinstance(plan.contract.source, SyntheticSource):
        return plan
    return plan.model_copy(update={"as_of": datetime.now(UTC)})


def ingest(plan: RunPlan) -> IngestReport:
    """Reads the plan's source into the raw zone, and says what it found."""
    report = ingest_claims(
        plan.contract,
        Lakehouse(plan.output_uri),
        launch_id=plan.launch_id,
        as_of=plan.as_of,
        hindsight=plan.hindsight,
        sample_size=plan.sample_size,
        seed=plan.source_seed,
        run=plan.run,
        partitions=plan.partitions,
    )
    print(
        f"{counted(report.kept, 'claim')}{span(report)}, {report.quarantined:,} in quarantine, "
        f"{counted(report.labels_not_known, 'label')} not known yet{_held_back(report)}"
        f"{_added(report)}"
    )
    for warning in report.warnings:
        print(f"note: {warning}")
    return report


def _held_back(report: IngestReport) -> str:
    held = report.immature_labels
    return f", of which {held:,} held back until their time" if held else ""


def _added(report: IngestReport) -> str:
    return f", {counted(report.labels_added, 'label')} added" if report.labels_added else ""


def span(report: IngestReport) -> str:
    """` from 2024-01-01 to 2024-12-31`; nothing where there is no claim."""
    if report.first_event is None:
        return ""
    return f" from {report.first_event:%F} to {report.last_event:%F}"


def words_of_ingest(plan: RunPlan, ingested: IngestReport) -> str:
    """What an ingest has written, and what to do next."""
    dataset = plan.contract.name
    written = [partition.value for partition in ingested.partitions]
    named = written[0] if len(written) == 1 else f"{written[0]} to {written[-1]}"
    return "\n".join(
        [
            "",
            f"{dataset}: {counted(ingested.kept, 'claim')}, raw partitions {named}",
            f"Claims  {plan.output_uri}/raw/{dataset}",
            *([f"Bad     {ingested.quarantine_uri}"] if ingested.quarantine_uri else []),
            "",
            f"Next:   python flows/training_flow.py run {plan.options}",
            f"        python flows/scoring_flow.py run {plan.options}",
        ]
    )


class Periods(NamedTuple):
    """Claims, known labels and fraud rate of each partition; no rate where no label is known."""

    values: list[str]
    claims: list[int]
    labelled: list[int]
    fraud_rates: list[float | None]


def periods(plan: RunPlan, ingested: IngestReport) -> Periods:
    """What the data card and the report of the raw zone show of each partition."""
    lakehouse = Lakehouse(plan.output_uri)
    found = Periods([], [], [], [])
    for partition in ingested.partitions:
        labels = lakehouse.read([partition], [LABEL]).column(LABEL)
        found.values.append(partition.value)
        found.claims.append(partition.rows)
        found.labelled.append(len(labels) - labels.null_count)
        found.fraud_rates.append(pc.mean(labels).as_py())
    return found


def prepare(plan: RunPlan, raw: RawClaims) -> FeatureSet:
    """Features of all claims in the raw partitions, in windows for training.

    By the plan's engine; the same claims and features by either. Raises FraudMlopsError when the
    champion is damaged, or needs features that the contract no longer has, and for a seasonal
    column that there is none of.
    """
    require_comparable(plan, raw.contract)
    require_seasonal(raw.contract)
    place = raw.contract, Lakehouse(plan.output_uri), raw.partitions
    if on_spark(plan.engine, sum(partition.rows for partition in raw.partitions)):
        from fraud_mlops.spark import features as spark

        features = spark.build_features(*place, launch_id=plan.launch_id, as_of=plan.as_of)
    else:
        features = build_features(*place, launch_id=plan.launch_id, as_of=plan.as_of)
    for name, file in features.windows.items():
        known = f"{file.labelled:,} labelled, {counted(file.frauds, 'fraud')}"
        print(f"{name}: {counted(file.rows, 'claim')}, {known}")
    return features
