"""Steps of flows that train, from features to the winner: the same in each, said once."""

# Metaflow's decorators carry no types; the steps under them are a few calls into typed code.
# mypy: disable-error-code="no-untyped-def, untyped-decorator, misc"

from __future__ import annotations

import flow_environment  # noqa: F401 - sets what Metaflow reads when it is imported

# isort: split

from metaflow import (  # noqa: TID253 - this file is part of the flows
    card,
    catch,
    resources,
    retry,
    step,
    timeout,
)

from dagster_metaflow.reports import tell
from flow_parameters import Candidates, Engine, FraudFlow
from flow_task import CARD_SECONDS, TOLD_SECONDS
from user_errors import explained, said


class TrainingSteps(FraudFlow, Candidates, Engine):
    """Of flows that set `plan` and `raw` in a step before, and go on by a `validate_oot` of their
    own: where that leads to is for each to say, as Metaflow reads it from the code."""

    @resources(memory=8000)
    @retry(times=2, minutes_between_retries=0)
    @explained
    @step
    def prepare(self):
        """Features as of each claim's event time, in train, validation and OOT windows."""
        from fraud_mlops.pipeline.ingesting import prepare

        self.features = prepare(self.plan, self.raw)
        self.contestants = list(self.plan.candidates)
        self.next(self.train, foreach="contestants")

    @catch(var="failure", print_exception=False)
    @timeout(hours=2)
    @retry(times=1, minutes_between_retries=0)
    @resources(cpu=1, memory=4000)
    @explained
    @step
    def train(self):
        """Train one candidate and measure it on the validation window."""
        from fraud_mlops.pipeline.progress import paced
        from fraud_mlops.pipeline.training import train_candidate

        self.trained = train_candidate(self.input, self.features, paced(print))
        tell(self.trained.row.in_words)
        self.next(self.leaderboard)

    @card(type="blank", id="leaderboard", timeout=CARD_SECONDS)
    @retry(times=2, minutes_between_retries=0)
    @explained
    @step
    def leaderboard(self, inputs):
        """Choose the winner on the validation window only."""
        import flow_cards
        from fraud_mlops.pipeline.choosing import Result, choose

        self.plan, self.raw = inputs[0].plan, inputs[0].raw
        self.features = inputs[0].features
        self.choice = choose(
            self.plan,
            self.features,
            [Result(i.input, getattr(i, "trained", None), said(i.failure)) for i in inputs],
        )
        print(self.choice.leaderboard.to_text())
        for line in self.choice.leaderboard.in_words():
            tell(line)
        flow_cards.leaderboard(self.choice, self.features)
        self.next(self.refit)

    @timeout(hours=2)
    @retry(times=1, minutes_between_retries=0)
    @resources(memory=8000)
    @explained
    @step
    def refit(self):
        """Train the winner again on train and validation together."""
        from fraud_mlops.pipeline.choosing import refit_winner
        from fraud_mlops.pipeline.progress import paced

        self.model_files, self.refit_log = refit_winner(
            self.plan, self.choice, self.features, paced(tell, seconds=TOLD_SECONDS)
        )
        tell(f"{self.choice.winner.name} trained again in {self.refit_log.seconds:.0f} s")
        self.next(self.validate_oot)
