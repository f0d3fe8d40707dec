"""Claims into the raw zone, by partition."""

# Metaflow's decorators carry no types; the steps under them are a few calls into typed code.
# mypy: disable-error-code="no-untyped-def, untyped-decorator, misc"

from __future__ import annotations

import flow_environment  # noqa: F401 - sets what Metaflow reads when it is imported

# isort: split

from metaflow import card, current, retry, step  # noqa: TID253 - a flow is Metaflow's

from flow_parameters import FraudFlow, PartitionRange, SampleSize
from flow_task import CARD_SECONDS
from user_errors import explained, main


class IngestFlow(FraudFlow, SampleSize, PartitionRange):
    """Read or generate claims, quarantine what breaks the contract, write raw partitions.

    python flows/ingest_flow.py run --dataset vehicle_claims
    python flows/ingest_flow.py run --partition-start 2024-01 --partition-end 2024-03
    python flows/ingest_flow.py resume --origin-run-id ID
    """

    @retry(times=2, minutes_between_retries=0)
    @explained
    @step
    def start(self):
        """Pin every input: contract, range of partitions, time."""
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
            candidates=None,
            partition_start=self.partition_start,
            partition_end=self.partition_end,
            of_assets=["raw_zone"],
        )
        self.next(self.ingest)

    @card(type="blank", id="data", timeout=CARD_SECONDS)
    @retry(times=2, minutes_between_retries=0)
    @explained
    @step
    def ingest(self):
        """Write the partitions of the range; bad rows go to quarantine with the reason."""
        import flow_cards
        import flow_reports
        from fraud_mlops.pipeline.ingesting import as_of_reading, ingest, periods

        self.plan = as_of_reading(self.plan)
        self.ingested = ingest(self.plan)
        self.periods = periods(self.plan, self.ingested)
        flow_reports.raw_zone(self.plan, self.ingested, self.periods)
        flow_cards.data(self.ingested, self.periods)
        self.next(self.end)

    @retry(times=2, minutes_between_retries=0)
    @step
    def end(self):
        """Say what came out, and where."""
        from fraud_mlops.pipeline.ingesting import words_of_ingest

        print(words_of_ingest(self.plan, self.ingested))


if __name__ == "__main__":
    main(IngestFlow)
