"""A flow of Metaflow's that says what it should not, in each way that a task has."""

import os
import subprocess
import sys

from metaflow import FlowSpec, step  # noqa: TID253


class TellingFlow(FlowSpec):
    @step
    def start(self):
        print("start has", os.environ["TOY_SECRET"])
        print("start has", os.environ["TOY_SECRET"], file=sys.stderr)
        self.next(self.end)

    @step
    def end(self):
        # Not Python's own output; and bytes that are no UTF-8.
        subprocess.run(["sh", "-c", "printf '\\377 end has %s\\n' \"$TOY_SECRET\""], check=True)


if __name__ == "__main__":
    TellingFlow()
