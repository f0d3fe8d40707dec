"""The project's whole code location, with one asset more, whose flow is the smallest."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg

from dagster_metaflow import MetaflowFlow, MetaflowResource, metaflow_assets
from fraud_assets import definitions as project

FLOW = MetaflowFlow(Path(__file__).with_name("launch_flow.py"), code=[])


@metaflow_assets(flow=FLOW, assets=["launched"])
def launched(context: dg.AssetExecutionContext, metaflow: MetaflowResource) -> Iterator[Any]:
    yield from metaflow.run(context, FLOW).stream()


def job(name: str, executor: dg.ExecutorDefinition | None = None) -> Any:
    return dg.define_asset_job(name, selection=["launched"], executor_def=executor)


defs = dg.Definitions.merge(
    project.defs,
    dg.Definitions(
        assets=[launched],
        jobs=[job("launch_job"), job("launch_job_by_default", dg.multi_or_in_process_executor)],
    ),
)
