"""The smallest flow that makes an asset. It says when its first task began."""

# Metaflow has no types.
# mypy: disable-error-code="misc,untyped-decorator"

import time
from pathlib import Path

from metaflow import FlowSpec, Parameter, current, step


class LaunchFlow(FlowSpec):
    """Makes the asset `launched`."""

    output_uri = Parameter("output-uri", help="Where reports go.")
    launch_id = Parameter("launch-id", help="Names the report.")
    mark = Parameter("mark", help="File for the time, in s since 1970, that the first task began.")

    @step
    def start(self) -> None:
        Path(self.mark).write_text(repr(time.time()))
        self.next(self.end)

    @step
    def end(self) -> None:
        from dagster_metaflow.reports import Materialization, write_report

        made = Materialization(data_version=self.launch_id)
        write_report(
            self.output_uri,
            current.flow_name,
            self.launch_id,
            ["launched"],
            [made],
            run=current.pathspec,
        )


if __name__ == "__main__":
    LaunchFlow()
