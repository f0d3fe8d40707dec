"""What became of the scored claims: drift against training, performance on matured labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

import pyarrow as pa
import pyarrow.compute as pc

from fraud_mlops.contract import EVENT_TIME
from fraud_mlops.evaluation.oot import OotReport
from fraud_mlops.features.build import FeatureSet
from fraud_mlops.features.feature_set import scored_batches
from fraud_mlops.features.split import Split
from fraud_mlops.lakehouse.partitions import Lakehouse, Partition
from fraud_mlops.maintenance.predictions import tidy_predictions
from fraud_mlops.monitoring.drift_report import DriftReport
from fraud_mlops.pipeline.leading import Leader
from fraud_mlops.pipeline.metrics import METRICS, metric_table
from fraud_mlops.pipeline.outcomes import Outcomes, follow
from fraud_mlops.pipeline.plan import RunPlan
from fraud_mlops.pipeline.reference import drift_from
from fraud_mlops.pipeline.windows import thin
from fraud_mlops.settings import settings

DRIFT_CLAIMS = 100_000
"""Claims that drift as a whole is measured on, spread evenly over all that were scored."""


@dataclass(frozen=True)
class Monitored:
    """version: of the model that scored; oot: how good it was out of time.

    drift: of the OOT window, and of what came after it, where claims of them were scored.
    """

    version: str
    oot: OotReport | None
    drift: tuple[DriftReport, ...]
    outcomes: Outcomes
    partitions: tuple[Partition, ...]


def monitor(
    plan: RunPlan, features: FeatureSet, leader: Leader, scores: Sequence[Partition]
) -> Monitored:
    """Measures drift and performance, and writes the metrics zone, a partition a scored one.

    scores: the ml_outputs partitions of the claims that `features` scores, by the leader.
    """
    lakehouse = Lakehouse(plan.output_uri)
    if leader.reference is None:
        print(f"note: {leader.version} carries no claims of its training, so that drift cannot be")
        print("      measured; models trained from now on do")
    drift = tuple(_drift(plan, features, leader))
    outcomes = follow(features, lakehouse, scores, leader, as_of=plan.as_of)
    for path in outcomes.unreadable:
        print(f"note: prediction log: {path} cannot be read, and is left out; remove it, or put")
        print("      the whole file in its place")
    rows = metric_table(
        features.contract,
        leader,
        drift,
        outcomes,
        [partition.value for partition in scores],
    )
    metadata = {"run": plan.run, "launch_id": plan.launch_id, "model_version": leader.version}
    dataset, key = features.contract.name, features.contract.partition
    written = [
        lakehouse.write("metrics", dataset, key, value, table.to_batches(), METRICS, metadata)
        for value, table in rows.items()
    ]
    _tidy(lakehouse, dataset)
    return Monitored(leader.version, leader.oot, drift, outcomes, tuple(written))


def _tidy(lakehouse: Lakehouse, dataset: str) -> None:
    """The log of what the API answered, now that it has been read."""
    keep = timedelta(days=settings().prediction_days)
    for done in tidy_predictions(lakehouse, dataset, keep=keep):
        what = f"{done.files} files are one" if done.rows else "removed, past its retention"
        print(f"prediction log of {done.day}: {what}")


def _drift(plan: RunPlan, features: FeatureSet, leader: Leader) -> Iterator[DriftReport]:
    if leader.yardstick is None or not features.scored_rows:
        return
    some = thin(scored_batches(features), features.scored_rows, DRIFT_CLAIMS)
    scored = pa.Table.from_batches(some)
    for name, claims in _windows(leader.split, scored):
        yield drift_from(
            leader.yardstick, features, leader.model, claims, window=name, seed=plan.seed
        )


def _windows(split: Split, claims: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    """The OOT window, and what came after it, if anything did; not what was learnt from."""
    times = claims.column(EVENT_TIME)
    start, end = (pa.scalar(t, times.type) for t in (split.oot.start, split.oot.end))
    inside = pc.and_(pc.greater_equal(times, start), pc.less(times, end))
    for name, chosen in (("oot", inside), ("after_oot", pc.greater_equal(times, end))):
        found = claims.filter(chosen)
        if found.num_rows:
            yield name, found
