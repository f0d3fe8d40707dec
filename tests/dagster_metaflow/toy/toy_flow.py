"""A toy that publishes two assets, and that tests can hold up, fail and count.

Files in TOY_FOLDER tell a step what to do: `fail_STEP` (each line is one failure), `hold_STEP` (it
waits until the file is gone, and says so in `held_STEP`), `fail_published_ASSET` and
`hold_published_ASSET` (after it was published), `anew` (what is published again has another
content). Every execution of a step is a line of `count`; whoever publishes adds a line to
`published`.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from metaflow import FlowSpec, Parameter, current, step  # noqa: TID253

from dagster_metaflow.reports import Check, Materialization, write_report

FOLDER = Path(os.environ.get("TOY_FOLDER", "."))


def begins(name):
    with (FOLDER / "count").open("a") as count:
        count.write(f"{name}\n")
    if (FOLDER / "deaf").exists():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if (FOLDER / "daemon").exists():
        # Without our output: Metaflow waits for whoever may still write to that.
        command = [sys.executable, "-c", "import time; time.sleep(600)"]
        quiet = subprocess.DEVNULL
        subprocess.Popen(command, start_new_session=True, stdout=quiet, stderr=quiet)
    waits(name)
    fails(name)


def waits(name):
    while (FOLDER / f"hold_{name}").exists():
        (FOLDER / f"held_{name}").write_text(str(os.getpid()))
        time.sleep(0.02)


def fails(name):
    fail = FOLDER / f"fail_{name}"
    if fail.exists() and (left := fail.read_text().split()):
        fail.write_text("\n".join(left[1:]))
        raise ValueError(f"the toy breaks in {name}")


class ToyFlow(FlowSpec):
    """Makes the assets first and second."""

    output_uri = Parameter("output-uri", default="lake")
    launch_id = Parameter("launch-id", default=None, type=str)
    assets = Parameter("assets", default="first,second", help="Those to publish.")
    partition_start = Parameter("partition-start", default=None, type=str)
    partition_end = Parameter("partition-end", default=None, type=str)
    size = Parameter("size", default=2, help="How many parts.")
    rate = Parameter("rate", default=0.5, help="A share.")
    shout = Parameter("shout", default=False, type=bool, help="In capitals.")
    word = Parameter("word", default="toy", help="What to say.")
    prefix = Parameter("prefix", default=None, type=str, help="Of the assets' keys.")
    skip = Parameter("skip", default="", help="Partition that is forgotten.")

    @step
    def start(self):
        begins("start")
        self.parts = list(range(self.size))
        self.publish("first")
        self.next(self.work, foreach="parts")

    @step
    def work(self):
        begins("work")
        print(f"{self.word} works on part {self.input}")
        self.next(self.join)

    @step
    def join(self, inputs):  # noqa: ARG002
        begins("join")
        self.publish("second")
        self.next(self.end)

    @step
    def end(self):
        begins("end")

    def publish(self, name):
        if name not in self.assets.split(","):
            return
        with (FOLDER / "published").open("a") as published:
            published.writelines(f"{name} {partition}\n" for partition in self.partitions())
        made = [self.make(name, partition) for partition in self.partitions()]
        write_report(
            self.output_uri,
            current.flow_name,
            self.launch_id or current.run_id,
            [self.prefix, name] if self.prefix else [name],
            made,
            [Check(name="sound", passed=self.word != "unsound")],
            run=current.pathspec,
        )
        waits(f"published_{name}")
        fails(f"published_{name}")

    def make(self, name, partition):
        folder = Path(self.output_uri) / name
        folder.mkdir(parents=True, exist_ok=True)
        text = f"{self.word} {self.size} {self.rate:g} {partition}\n"
        if (FOLDER / "anew").exists():
            text = f"{(FOLDER / 'published').read_text().count(name)} {text}"
        temporary = folder / f".{os.getpid()}"
        temporary.write_text(text)
        temporary.replace(folder / f"{partition}.txt")
        return Materialization(
            data_version=text.strip().replace(" ", "-"),
            partition=partition,
            metadata={"rows": self.size, "month": partition},
        )

    def partitions(self):
        if self.partition_start is None:
            return [None]
        first, last = int(self.partition_start[-2:]), int(self.partition_end[-2:])
        months = [f"2024-{month:02}" for month in range(first, last + 1)]
        return [month for month in months if month != self.skip]


if __name__ == "__main__":
    ToyFlow()
