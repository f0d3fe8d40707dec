"""Three parts: 0 ends well, 1 breaks unless `mended` is there, 2 goes on until `go` is there.

1 begins to break when 2 has begun. Files lie in the folder that a parameter names.
"""

import time
from pathlib import Path

from metaflow import FlowSpec, Parameter, step  # noqa: TID253


class PartsFlow(FlowSpec):
    output_uri = Parameter("output-uri", default="lake")
    launch_id = Parameter("launch-id", default=None, type=str)
    folder = Parameter("folder", default=".", help="Where it is told what to do.")

    @step
    def start(self):
        self.parts = [0, 1, 2]
        self.next(self.work, foreach="parts")

    @step
    def work(self):
        folder = Path(self.folder)
        with (folder / "count").open("a") as count:
            count.write(f"{self.input}\n")
        if self.input == 1 and not (folder / "mended").exists():
            wait_for(folder, "begun_2")
            raise ValueError("part 1 breaks")
        (folder / f"begun_{self.input}").touch()
        if self.input != 0:
            wait_for(folder, "begun_0")
        if self.input == 2:
            wait_for(folder, "go")
        self.done = self.input
        self.next(self.join)

    @step
    def join(self, inputs):
        (Path(self.folder) / "joined").write_text(str(sorted(one.done for one in inputs)))
        self.next(self.end)

    @step
    def end(self):
        pass


def wait_for(folder, name):
    while not (folder / name).exists():
        time.sleep(0.05)


if __name__ == "__main__":
    PartsFlow()
