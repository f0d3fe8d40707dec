"""A toy for clouds: it publishes two assets, and tests can hold it up, fail it and count its tasks.

Files in the folder that a parameter names tell a step what to do: `fail_STEP` (each line is one
failure), `hold_STEP` (it waits until the file is gone). Each execution is a line of `count`.
"""

import os
import sys
import time
from pathlib import Path

from metaflow import FlowSpec, Parameter, current, step  # noqa: TID253

from dagster_metaflow.reports import Materialization, write_report


class CloudToyFlow(FlowSpec):
    """Makes the assets first and second."""

    output_uri = Parameter("output-uri", default="lake")
    launch_id = Parameter("launch-id", default=None, type=str)
    size = Parameter("size", default=2, help="How many parts.")
    folder = Parameter("folder", default=".", help="Where it is told what to do.")
    seconds = Parameter("seconds", default=0.0, help="How long a part takes.")
    word = Parameter("word", default="toy", help="What to say.")

    @step
    def start(self):
        self.begins("start")
        self.parts = list(range(self.size))
        self.publish("first")
        self.next(self.work, foreach="parts")

    @step
    def work(self):
        self.begins("work")
        time.sleep(self.seconds)
        print(f"{self.word} works on part {self.input}")
        self.done = self.input
        self.next(self.join)

    @step
    def join(self, inputs):
        self.begins("join")
        self.total = sum(one.done for one in inputs)
        self.publish("second")
        self.next(self.end)

    @step
    def end(self):
        print(f"the total is {self.total}")

    def begins(self, name):
        folder = Path(self.folder)
        with (folder / "count").open("a") as count:
            count.write(f"{name}\n")
        (folder / f"python_{name}").write_text(sys.executable)
        while (folder / f"hold_{name}").exists():
            (folder / f"held_{name}").write_text(str(os.getpid()))
            time.sleep(0.05)
        fail = folder / f"fail_{name}"
        if fail.exists() and (left := fail.read_text().split()):
            fail.write_text("\n".join(left[1:]))
            raise ValueError(f"the toy breaks in {name}")

    def publish(self, name):
        run = f"{current.flow_name}/{current.run_id}/{current.step_name}/{current.task_id}"
        made = Materialization(data_version=f"{self.word}-{self.size}", metadata={"rows": 1})
        write_report(
            self.output_uri,
            current.flow_name,
            self.launch_id or current.run_id,
            [name],
            [made],
            run=run,
        )


if __name__ == "__main__":
    CloudToyFlow()
