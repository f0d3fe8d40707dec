"""A step that leaves a card."""

from metaflow import FlowSpec, card, current, step  # noqa: TID253
from metaflow.cards import Markdown  # noqa: TID253


class CardFlow(FlowSpec):
    @card(type="blank", id="words")
    @step
    def start(self):
        current.card.append(Markdown("# what it says"))
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    CardFlow()
