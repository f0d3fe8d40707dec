"""The cloud toy with a card: two steps, and an asset of each."""

from cloud_toy_flow import CloudToyFlow
from metaflow import FlowSpec, Parameter, card, current, step  # noqa: TID253
from metaflow.cards import Markdown  # noqa: TID253


class CardFlow(FlowSpec):
    """Makes the assets first and second."""

    output_uri = Parameter("output-uri", default="lake")
    launch_id = Parameter("launch-id", default=None, type=str)
    folder = Parameter("folder", default=".", help="Where it is told what to do.")
    word, size = "card", 1
    begins, publish = CloudToyFlow.begins, CloudToyFlow.publish

    @card(type="blank", id="words")
    @step
    def start(self):
        self.begins("start")
        current.card.append(Markdown("# what it says"))
        self.publish("first")
        self.next(self.end)

    @step
    def end(self):
        self.begins("end")
        self.publish("second")


if __name__ == "__main__":
    CardFlow()
