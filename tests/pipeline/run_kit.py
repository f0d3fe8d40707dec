"""A run up to validation, in one process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fraud_mlops.claims import IngestReport
from fraud_mlops.features.build import FeatureSet
from fraud_mlops.lakehouse.partitions import Lakehouse, Partition
from fraud_mlops.models.candidates import Candidate
from fraud_mlops.models.params import LogisticParams
from fraud_mlops.pipeline.choosing import Choice, Result, choose, refit_winner
from fraud_mlops.pipeline.ingesting import ingest, prepare
from fraud_mlops.pipeline.leading import Leader, leader_to_be
from fraud_mlops.pipeline.plan import RunPlan, plan_run
from fraud_mlops.pipeline.publishing import keep_bundle, publish
from fraud_mlops.pipeline.scoring import score
from fraud_mlops.pipeline.training import train_candidate
from fraud_mlops.pipeline.validation import Validated, validate
from fraud_mlops.registry.bundle import Manifest
from fraud_mlops.reporting.model_artifact import Training

DATASET = "synthetic_claims"
EPOCHS = {"good": 8, "poor": 1}


def silent(_: str) -> None:
    """Progress is for people."""


def planned(root: Path, run: str, *names: str, dataset: str = DATASET, **given: Any) -> RunPlan:
    given = {"sample_size": 6000, "seed": 7} | given
    plan = plan_run(dataset, run=f"Test/{run}", output_uri=str(root), **given)
    rates = {"good": 0.05, "poor": 1e-6}
    candidates = tuple(
        Candidate(name=n, params=LogisticParams(epochs=EPOCHS[n], learning_rate=rates[n]))
        for n in names
    )
    return plan.model_copy(update={"candidates": candidates})


class Run:
    """One run up to validation; scoring and publishing are left to the tests."""

    def __init__(self, plan: RunPlan) -> None:
        self.plan = plan
        self.ingested: IngestReport = ingest(plan)
        self.features: FeatureSet = prepare(plan, self.ingested)
        results = [
            Result(c, train_candidate(c, self.features, silent), None) for c in plan.candidates
        ]
        self.choice: Choice = choose(plan, self.features, results)
        files, self.log = refit_winner(plan, self.choice, self.features, silent)
        self.validated: Validated = validate(plan, self.features, self.ingested, files)

    @property
    def leader(self) -> Leader:
        return leader_to_be(self.plan, self.features, self.validated)

    def score(self) -> tuple[Partition, ...]:
        return score(self.plan, self.features, self.leader)

    def keep(self) -> Manifest:
        made = self.features, self.choice, self.log, self.validated
        return keep_bundle(self.plan, self.ingested, *made)

    def publish(self) -> Training:
        """What is known of the model then."""
        kept = self.keep()
        leading = publish(self.plan, self.validated)
        made = self.features, self.choice, self.log, self.validated
        return Training(self.plan, *made, kept, leading)

    @property
    def lake(self) -> Lakehouse:
        return Lakehouse(self.plan.output_uri)
