"""From claims to a scored, validated champion, in one run."""

# Metaflow's decorators carry no types; the steps under them are a few calls into typed code.
# mypy: disable-error-code="no-untyped-def, untyped-decorator, misc"

from __future__ import annotations

import flow_environment  # noqa: F401 - sets what Metaflow reads when it is imported

# isort: split

from metaflow import (  # noqa: TID253 - a flow is Metaflow's
    card,
    current,
    resources,
    retry,
    step,
)

from dagster_metaflow.reports import tell
from flow_parameters import SampleSize
from flow_task import CARD_SECONDS
from flow_training import TrainingSteps
from user_errors import explained, main


class FraudDetectionFlow(TrainingSteps, SampleSize):
    """Ingest claims, train candidates in parallel, validate out of time, score, monitor, publish.

    python flows/fraud_detection_flow.py run --sample-size 20000
    python flows/fraud_detection_flow.py run --dataset vehicle_claims
    python flows/fraud_detection_flow.py resume --origin-run-id ID
    """

    @retry(times=2, minutes_between_retries=0)
    @explained
    @step
    def start(self):
        """Pin every input: contract, candidates, champion, time."""
        from fraud_mlops.pipeline.plan import plan_run

        self.plan = plan_run(
            self.dataset,
            run=f"{current.flow_name}/{current.run_id}",
            launch_id=self.launch_id,
            output_uri=self.output_uri,
            model_uri=self.model_uri,
            as_of=self.as_of,
            sample_size=self.sample_size,
            seed=self.seed,
            candidates=self.candidates,
            candidates_file=self.candidates_file,
            engine=self.engine,
        )
        self.next(self.ingest)

    @card(type="blank", id="data", timeout=CARD_SECONDS)
    @retry(times=2, minutes_between_retries=0)
    @explained
    @step
    def ingest(self):
        """Read or generate claims, quarantine what breaks the contract, write raw partitions."""
        import flow_cards
        import flow_reports
        from fraud_mlops.pipeline.ingesting import as_of_reading, ingest, periods

        self.plan = as_of_reading(self.plan)
        self.raw = ingest(self.plan)
        self.periods = periods(self.plan, self.raw)
        flow_reports.raw_zone(self.plan, self.raw, self.periods)
        flow_cards.data(self.raw, self.periods)
        self.next(self.prepare)

    @card(type="blank", id="oot", timeout=CARD_SECONDS)
    @resources(memory=8000)
    @retry(times=2, minutes_between_retries=0)
    @explained
    @step
    def validate_oot(self):
        """Judge it on the out-of-time window, against the champion."""
        import flow_cards
        from fraud_mlops.pipeline.validation import validate

        self.validated = validate(self.plan, self.features, self.raw, self.model_files)
        tell(self.validated.gate.reason)
        flow_cards.out_of_time(self.validated, self.features, self.choice.decision)
        self.next(self.score)

    @retry(times=2, minutes_between_retries=0)
    @resources(memory=4000)
    @explained
    @step
    def score(self):
        """Write the bundle; score every claim from the OOT window on with the champion to be."""
        import flow_reports
        import flow_task
        from fraud_mlops.pipeline.leading import leader_to_be
        from fraud_mlops.pipeline.publishing import keep_bundle
        from fraud_mlops.pipeline.scoring import publish_state, score

        leader = leader_to_be(self.plan, self.features, self.validated)
        self.manifest = keep_bundle(
            self.plan,
            self.raw,
            self.features,
            self.choice,
            self.refit_log,
            self.validated,
            dagster_run_id=flow_task.dagster_run_id(),
        )
        self.scores = score(self.plan, self.features, leader)
        publish_state(self.plan, self.raw)
        flow_reports.ml_outputs(self.plan, self.raw, self.scores, leader.version)
        self.next(self.monitor)

    @card(type="blank", id="drift", timeout=CARD_SECONDS)
    @retry(times=2, minutes_between_retries=0)
    @explained
    @step
    def monitor(self):
        """Measure drift, and performance on matured labels; write metrics."""
        import flow_cards
        import flow_reports
        from fraud_mlops.pipeline.leading import leader_to_be
        from fraud_mlops.pipeline.monitoring import monitor

        leader = leader_to_be(self.plan, self.features, self.validated)
        self.monitored = monitor(self.plan, self.features, leader, self.scores)
        flow_reports.metrics(self.plan, self.monitored)
        flow_cards.drift(self.monitored, self.features)
        self.next(self.publish)

    @retry(times=2, minutes_between_retries=0)
    @explained
    @step
    def publish(self):
        """Move the champion pointer if the gate said so."""
        import flow_reports
        from fraud_mlops.pipeline.publishing import publish
        from fraud_mlops.reporting.model_artifact import Training

        leading = publish(self.plan, self.validated)
        flow_reports.model_artifact(
            Training(
                self.plan,
                self.features,
                self.choice,
                self.refit_log,
                self.validated,
                self.manifest,
                leading,
            )
        )
        self.next(self.end)

    @retry(times=2, minutes_between_retries=0)
    @step
    def end(self):
        """Say what came out, and where."""
        import flow_task
        from fraud_mlops.pipeline.closing import closing_words

        card = flow_task.card_command("validate_oot")
        judged, scored = self.validated, self.scores
        silent = self.choice.decision.threshold.silent if judged.promoted else None
        print(closing_words(self.plan, self.raw, judged, scored, self.monitored, card, silent))


if __name__ == "__main__":
    main(FraudDetectionFlow)
