"""A code location whose job runs a toy flow where the build says: on AWS or Databricks."""

# No `from __future__ import annotations`: Dagster reads the types of resources.

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg

from dagster_metaflow import MetaflowFlow, MetaflowResource, metaflow_assets

FOLDER = Path(os.environ["TOY_FOLDER"])
FLOW = MetaflowFlow(Path(os.environ["TOY_FLOW"]))


@metaflow_assets(flow=FLOW, assets=["first", "second"], name="toy")
def toy(context: dg.AssetExecutionContext, metaflow: MetaflowResource) -> Iterator[Any]:
    yield from metaflow.run(context, FLOW, {"folder": str(FOLDER), "size": 1}).stream()


defs = dg.Definitions(
    assets=[toy],
    jobs=[dg.define_asset_job("ingest_job", selection=[toy])],
    resources={
        "metaflow": MetaflowResource(
            ledger_root=str(FOLDER / "lake"), **json.loads(os.environ["TOY_BACKENDS"])
        )
    },
    executor=dg.in_process_executor,
)
