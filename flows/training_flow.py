"""From the raw zone to a validated champion."""

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
from flow_task import CARD_SECONDS
from flow_training import TrainingSteps
from user_errors import explained, main


class TrainingFlow(TrainingSteps):
    """Train candidates on the raw zone in parallel, validate the best out of time, publish it.

    python flows/training_flow.py run
    python flows/training_flow.py run --candidates 8
    python flows/training_flow.py resume --origin-run-id ID
    """

    @retry(times=2, minutes_between_retries=0)
    @explained
    @step
    def start(self):
        """Pin every input: contract, raw partitions, candidates, champion, time."""
        from fraud_mlops.pipeline.plan import plan_run
        from fraud_mlops.pipeline.ranges import pin_raw

        self.plan = plan_run(
            self.dataset,
            run=f"{current.flow_name}/{current.run_id}",
            launch_id=self.launch_id,
            output_uri=self.output_uri,
            model_uri=self.model_uri,
            as_of=self.as_of,
            seed=self.seed,
            candidates=self.candidates,
            candidates_file=self.candidates_file,
            of_assets=["model_artifact"],
            engine=self.engine,
        )
        self.raw = pin_raw(self.plan)
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
        self.next(self.publish)

    @retry(times=2, minutes_between_retries=0)
    @explained
    @step
    def publish(self):
        """Write the bundle, and move the champion pointer if the gate said so."""
        import flow_reports
        import flow_task
        from fraud_mlops.pipeline.publishing import keep_bundle, publish
        from fraud_mlops.reporting.model_artifact import Training

        self.manifest = keep_bundle(
            self.plan,
            self.raw,
            self.features,
            self.choice,
            self.refit_log,
            self.validated,
            dagster_run_id=flow_task.dagster_run_id(),
        )
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
        from fraud_mlops.pipeline.closing import words_of_training

        card = flow_task.card_command("validate_oot")
        silent = self.choice.decision.threshold.silent if self.validated.promoted else None
        print(words_of_training(self.plan, self.validated, card, silent))


if __name__ == "__main__":
    main(TrainingFlow)
