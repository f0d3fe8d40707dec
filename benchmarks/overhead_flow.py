"""A flow that does next to nothing in five steps and eight parallel tasks: all time is overhead."""

# Metaflow has no types.
# mypy: disable-error-code="misc,untyped-decorator"

import time
from typing import Any

from metaflow import FlowSpec, Parameter, current, step


# Names without dashes, for metaflow-dagster makes identifiers of them.
class OverheadFlow(FlowSpec):
    """Makes the assets `parts` and `whole`, of one partition or of a range `p0`, `p1`, ..."""

    output_uri = Parameter("output_uri", default="lake", help="Where reports go.")
    launch_id = Parameter("launch_id", default="", help="Names the reports.")
    partition_start = Parameter("partition_start", default="")
    partition_end = Parameter("partition_end", default="")

    @step
    def start(self) -> None:
        self.parts = list(range(8))
        self.next(self.work, foreach="parts")

    @step
    def work(self) -> None:
        self.made = self.input
        self.next(self.join)

    @step
    def join(self, inputs: Any) -> None:
        self.total = sum(one.made for one in inputs)
        self.report("parts")
        self.next(self.publish)

    @step
    def publish(self) -> None:
        self.report("whole")
        self.next(self.end)

    @step
    def end(self) -> None:
        pass

    def report(self, name: str) -> None:
        from dagster_metaflow.reports import Materialization, write_report

        write_report(
            self.output_uri,
            current.flow_name,
            self.launch_id or current.run_id,
            [name],
            [
                Materialization(data_version="1", partition=one, metadata={"at": time.time()})
                for one in self.partitions()
            ],
            run=current.pathspec,
        )

    def partitions(self) -> list[str | None]:
        if not self.partition_start:
            return [None]
        first, last = int(self.partition_start[1:]), int(self.partition_end[1:])
        return [f"p{number}" for number in range(first, last + 1)]


if __name__ == "__main__":
    OverheadFlow()
