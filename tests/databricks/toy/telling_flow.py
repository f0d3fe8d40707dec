"""A flow of Metaflow's that says what it should not, in each way that a task has."""

import os
import subprocess
import sys

os.environ["METAFLOW_USER"] = "set-by-the-flow"  # before Metaflow is imported, which reads it then

from metaflow import FlowSpec, current, step  # noqa: TID253


class TellingFlow(FlowSpec):
    @step
    def start(self):
        print("start has", os.environ["TOY_SECRET"])
        print("start has", os.environ["TOY_SECRET"], file=sys.stderr)
        self.parts = [1]
        self.next(self.part, foreach="parts")

    @step
    def part(self):
        # Not Python's own output; and bytes that are no UTF-8.
        subprocess.run(["sh", "-c", "printf '\\377 part has %s\\n' \"$TOY_SECRET\""], check=True)
        self.next(self.join)

    @step
    def join(self, inputs):
        self.parts = len(list(inputs))
        self.next(self.end)

    @step
    def end(self):
        print("run by", current.username)


if __name__ == "__main__":
    TellingFlow()
