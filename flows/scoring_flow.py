"""Scores of raw partitions, and what became of them."""

# Metaflow's decorators carry no types; the steps under them are a few calls into typed code.
# mypy: disable-error-code="no-untyped-def, untyped-decorator, misc"

from __future__ import annotations

import flow_environment  # noqa: F401 - sets what Metaflow reads when it is imported

# isort: split

from metaflow import card, current, resources, retry, step  # noqa: TID253 - a flow is Metaflow's

from flow_parameters import Assets, Engine, FraudFlow, PartitionRange
from flow_schedule import scheduled
from flow_task import CARD_SECONDS
from user_errors import explained, main


@scheduled
class ScoringFlow(FraudFlow, PartitionRange, Assets, Engine):
    """Score raw partitions with the champion; measure drift, and performance on known labels.

    python flows/scoring_flow.py run
    python flows/scoring_flow.py run --partition-start 2024-01 --partition-end 2024-03
    python flows/scoring_flow.py run --partition-start 2024-01 --assets metrics
    python flows/scoring_flow.py resume --origin-run-id ID
    """

    @retry(times=2, minutes_between_retries=0)
    @explained
    @step
    def start(self):
        """Pin every input: contract, raw partitions, range of them to score, champion, time."""
        from fraud_mlops.pipeline.plan import plan_run
        from fraud_mlops.pipeline.ranges import as_scored, pin_raw, with_range

        self.plan = plan_run(
            self.dataset,
            run=f"{current.flow_name}/{current.run_id}",
            launch_id=self.launch_id,
            output_uri=self.output_uri,
            model_uri=self.model_uri,
            as_of=self.as_of,
            seed=self.seed,
            candidates=None,
            partition_start=self.partition_start,
            partition_end=self.partition_end,
            assets=self.assets,
            of_assets=["ml_outputs", "metrics"],
            engine=self.engine,
        )
        self.raw = pin_raw(self.plan)
        self.plan = as_scored(with_range(self.plan, self.raw))
        self.next(self.prepare)

    @resources(memory=8000)
    @retry(times=2, minutes_between_retries=0)
    @explained
    @step
    def prepare(self):
        """Features of the range's claims, as of each claim's event time, with all their history."""
        from fraud_mlops.pipeline.ranges import prepare_range

        self.features = prepare_range(self.plan, self.raw)
        self.next(self.score)

    @retry(times=2, minutes_between_retries=0)
    @resources(memory=4000)
    @explained
    @step
    def score(self):
        """Score every claim of the range, unless only metrics are asked for."""
        import flow_reports
        from fraud_mlops.pipeline.leading import pinned_champion
        from fraud_mlops.pipeline.ranges import standing_scores
        from fraud_mlops.pipeline.scoring import publish_state, score

        if self.plan.publishes("ml_outputs"):
            leader = pinned_champion(self.plan)
            self.scores = score(self.plan, self.features, leader)
            publish_state(self.plan, self.raw)
            flow_reports.ml_outputs(self.plan, self.raw, self.scores, leader.version)
        else:
            self.scores = standing_scores(self.plan)
        self.next(self.monitor)

    @card(type="blank", id="drift", timeout=CARD_SECONDS)
    @retry(times=2, minutes_between_retries=0)
    @explained
    @step
    def monitor(self):
        """Measure drift, and performance on matured labels; write metrics."""
        import flow_cards
        import flow_reports
        from fraud_mlops.pipeline.leading import pinned_champion
        from fraud_mlops.pipeline.monitoring import monitor

        self.monitored = None
        if self.plan.publishes("metrics"):
            leader = pinned_champion(self.plan)
            self.monitored = monitor(self.plan, self.features, leader, self.scores)
            flow_reports.metrics(self.plan, self.monitored)
            flow_cards.drift(self.monitored, self.features)
        self.next(self.end)

    @retry(times=2, minutes_between_retries=0)
    @step
    def end(self):
        """Say what came out, and where."""
        import flow_task
        from fraud_mlops.pipeline.closing import words_of_scoring

        card = flow_task.card_command("monitor")
        print(words_of_scoring(self.plan, self.scores, self.monitored, card))


if __name__ == "__main__":
    main(ScoringFlow)
