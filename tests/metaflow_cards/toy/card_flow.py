"""Two assets, and two steps with a card; TOY_CARD is the type of the first."""

import os

from metaflow import FlowSpec, Parameter, card, current, step  # noqa: TID253

from dagster_metaflow.reports import Materialization, write_report


class CardFlow(FlowSpec):
    """Makes two assets."""

    output_uri = Parameter("output-uri", default="lake")
    launch_id = Parameter("launch-id", default=None, type=str)

    @card(type=os.environ.get("TOY_CARD", "blank"), id="shape", save_errors=False)
    @step
    def start(self):
        from metaflow.cards import Markdown

        current.card["shape"].append(Markdown("a round thing"))
        self.publish("first")
        self.next(self.end)

    @card(type="blank", save_errors=False)
    @step
    def end(self):
        self.publish("second")

    def publish(self, name):
        made = [Materialization(data_version="1", metadata={"rows": 2})]
        launch = self.launch_id or current.run_id
        run = current.pathspec
        write_report(self.output_uri, current.flow_name, launch, [name], made, run=run)


if __name__ == "__main__":
    CardFlow()
